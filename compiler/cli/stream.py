"""`rnnc run`: frames from stdin through a trained model to stdout, one by one, each answered before the next is read.

A frame is a line of numbers (all inputs in the order of their declaration, separated by spaces or commas; those with
one value per sequence in each frame as well), a line of JSON, raw little-endian numbers, or, for a text model, one
character.
"""

import codecs
import json
import sys
from pathlib import Path

import rnnc
from rnnc.cli.console import Refusal, Usage, json_line, patience
from rnnc.cli.generate import labels
from rnnc.cli.record import JOB, Job
from rnnc.cli.sources import add_model, add_progress, find, load, there
from rnnc.errors import InputError
from rnnc.runtime.words import short

FORMATS = ("numbers", "json", "raw", "label")


def add(commands) -> None:
    command = commands.add_parser("run", help="stream stdin through a trained model to stdout, frame by frame")
    command.add_argument("checkpoint", metavar="CHECKPOINT", type=Path, help="or, with --weights, a program")
    command.add_argument("--weights", metavar="FILE", type=Path,
                         help="parameters of a program: a .safetensors, or the folder of a training run")
    command.add_argument("--format", choices=FORMATS, default="numbers",
                         help="of frames and results; label: the likeliest class only (numbers)")
    command.add_argument("--output", action="append", metavar="NAME", help="only this output (may be repeated)")
    add_model(command)
    add_progress(command)
    command.set_defaults(run=run)


def run(options) -> int:
    import numpy as np
    net, vocabulary, dtype = trained(options)
    wanted = options.output or list(net.outputs)
    for name in wanted:
        if name not in net.outputs:
            raise Usage(f"the model has no output {name}", hint="it has " + ", ".join(net.outputs))
        if options.format == "label" and net.outputs[name].kind == "real" and not net.outputs[name].shape:
            raise Usage(f"the output {name} is one number, not a score for each class",
                        hint="--output names one that has scores, --format numbers shows all")
    for name, signal in net.inputs.items():
        if signal.kind == "labels":
            raise Refusal(f"the model takes lists of labels ({name}), which have no frames: use Python")
    state = net.state(streams=1)
    write = {"numbers": numbers, "json": as_json, "raw": raw, "label": likeliest}[options.format]
    with np.errstate(over="ignore"):           # what is too large for the net is infinite, as 1e999 is in the text
        for place, frame in frames(net, vocabulary, dtype, options.format):
            try:
                out = net.step(state, **frame)
            except InputError as fault:
                raise Refusal(f"{place}: {fault.message}{fault.typed}") from None
            write({name: out[name][0] for name in wanted}, vocabulary)
            sys.stdout.flush()
    return 0


def trained(options) -> tuple:
    """The net, its characters if it knows any, its type of numbers: of a checkpoint, or of a program and weights."""
    if options.weights is None:
        if options.checkpoint.is_file():
            raise Usage(f"{options.checkpoint} is a file, not a checkpoint", hint="--weights names its parameters")
        job = Job.read(options.checkpoint)
        if options.sizes or options.model:
            raise Usage(f"{options.checkpoint} is a checkpoint, with its own model and sizes")
        with patience("compiling", options.progress):
            return job.trained(options.checkpoint, gradient=None), job.vocabulary, job.dtype
    if (options.checkpoint / JOB).exists():
        raise Usage(f"{options.checkpoint} is a checkpoint, with its own weights")
    there(options.weights)
    program = find(str(options.checkpoint))
    with patience("compiling", options.progress):
        net = rnnc.compile(program.given, options.model, gradient=None, sizes=dict(options.sizes))
    load(net, options.weights)
    return net, None, net.dtype


# ------------------------------------------------------------------------------------------------ reading

def frames(net, vocabulary: str | None, dtype: str, form: str):
    """Where each frame stands, and a dictionary of arrays [1, ...]."""
    if vocabulary is not None and form != "raw":
        (name,) = net.inputs
        for number, character in enumerate(characters(), 1):
            yield f"stdin character {number}", {name: labels(character, vocabulary)}
    elif form == "raw":
        for number, frame in enumerate(raw_frames(net, dtype), 1):
            yield f"stdin frame {number}", frame
    else:
        read = json_frame if form == "json" else number_frame
        for number, data in enumerate(sys.stdin.buffer, 1):
            mark = "utf-8-sig" if number == 1 else "utf-8"          # as other systems begin a text
            line, place = data.decode(mark, "replace"), f"stdin line {number}"
            if line.strip():
                yield place, read(net, line, place)


def characters():
    """stdin as UTF-8, each character as soon as it is there."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        while byte := sys.stdin.buffer.read(1):
            yield from decoder.decode(byte)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Refusal("stdin is not UTF-8 text") from None


def width(signal) -> int:
    import numpy as np
    return int(np.prod(signal.shape, dtype=np.int64))


def number_frame(net, line: str, place: str) -> dict:
    import numpy as np
    try:
        values = [float(word) for word in line.replace(",", " ").split()]
    except ValueError as fault:
        raise Refusal(f"{place}: a line of numbers is wanted ({short(str(fault), 100)})") from None
    wanted = sum(width(s) for s in net.inputs.values())
    if len(values) != wanted:
        each = ", ".join(f"{width(s)} of {name}" for name, s in net.inputs.items())
        raise Refusal(f"{place}: got {len(values)} numbers, where a frame has {wanted}: {each}")
    frame, at = {}, 0
    for name, signal in net.inputs.items():
        part = np.array(values[at: at + width(signal)])
        frame[name] = shaped(part, signal)
        at += width(signal)
    return frame


def json_frame(net, line: str, place: str) -> dict:
    import numpy as np
    try:
        found = json.loads(line)
    except ValueError as fault:
        raise Refusal(f"{place}: this is not JSON ({short(str(fault), 100)})") from None
    if not isinstance(found, dict):
        raise Refusal(f"{place}: an object with one entry per input is wanted: {', '.join(net.inputs) or 'none'}")
    strange = next((name for name in found if name not in {**net.inputs, **net.targets}), None)   # data has targets
    if strange is not None:
        takes = ", ".join(net.inputs) or "none"
        raise Refusal(f"{place}: the model has no input {short(strange, 40)}; it takes {takes}")
    frame = {}
    for name, signal in net.inputs.items():
        if name not in found:
            raise Refusal(f"{place}: the input {name} is missing")
        try:
            values = np.array(found[name])
        except ValueError:                     # lists of different lengths
            values = np.array(None)
        if values.dtype.kind not in "fiub":    # null would become NaN
            raise Refusal(f"{place}: {name}: {short(json.dumps(found[name]), 40)} is not an array of numbers")
        if values.size != width(signal):
            raise Refusal(f"{place}: {name}: got shape {list(values.shape)}, wanted {list(signal.shape)}")
        frame[name] = shaped(values.astype(np.float64), signal)
    return frame


def raw_frames(net, dtype: str):
    """Numbers of the net's own type, labels as int32, flags as one byte, without anything between them."""
    import numpy as np
    kinds = {"class": np.dtype("<i4"), "flag": np.dtype("u1")}
    kind_of = lambda s: kinds.get(s.kind, np.dtype(dtype).newbyteorder("<"))
    size = sum(width(s) * kind_of(s).itemsize for s in net.inputs.values())
    while block := sys.stdin.buffer.read(size):
        if len(block) < size:
            raise Refusal(f"stdin ends inside a frame: {len(block)} of its {size} bytes are there")
        frame, at = {}, 0
        for name, signal in net.inputs.items():
            part = np.frombuffer(block, kind_of(signal), width(signal), at)
            frame[name] = shaped(part, signal)
            at += part.nbytes
        yield frame


def shaped(values, signal):
    """An array [1, ...] for one frame of one stream."""
    import numpy as np
    values = values.reshape((1, *signal.shape))
    return values.astype(np.int64) if signal.kind == "class" and np.all(values == np.floor(values)) else values


# ------------------------------------------------------------------------------------------------ writing

def numbers(out: dict, vocabulary: str | None) -> None:
    print(" ".join(f"{float(v):.9g}" for values in out.values() for v in values.ravel()))


def as_json(out: dict, vocabulary: str | None) -> None:
    print(json_line({name: values.tolist() for name, values in out.items()}))


def raw(out: dict, vocabulary: str | None) -> None:
    for values in out.values():
        sys.stdout.buffer.write(values.astype(values.dtype.newbyteorder("<")).tobytes())
    sys.stdout.buffer.flush()


def likeliest(out: dict, vocabulary: str | None) -> None:
    """The class with the highest score, as a character if the model knows characters; of a label, itself."""
    best = [int(values.argmax() if values.ndim else values) for values in out.values()]
    print(" ".join(repr(vocabulary[b])[1:-1] if vocabulary and b < len(vocabulary) else str(b) for b in best))
