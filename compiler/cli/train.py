"""`rnnc train`: a program and data to a trained checkpoint, with a log and a curve. The same command goes on where it
was stopped.

`rnnc train charlm` with nothing else learns the documentation inside this Python.
"""

import argparse
import contextlib
import math
import shlex
from dataclasses import replace
from pathlib import Path

import rnnc
from rnnc.cli import dataset, held, report
from rnnc.cli.build import fingerprint
from rnnc.cli.console import Refusal, Usage, note, patience, takes_files, writable, write
from rnnc.cli.curve import draw
from rnnc.cli.numbers import add_numbers, numbers
from rnnc.cli.record import JOB, Job, digest, keep_program, own
from rnnc.cli.sources import add_program, find, load, positive, real, seed, there
from rnnc.errors import InputError
from rnnc.runtime.words import figure

OPTIMIZERS = {name.lower(): name for name in ("SGD", "Momentum", "Nesterov", "RMSprop", "Adadelta", "Adam", "AdamW",
                                              "SGDSaI", "Apollo", "GaLore")}
# Chosen so that `rnnc train charlm` learns well in a few minutes on two cores.
DEFAULTS = {"epochs": 10, "frames": 64, "streams": None, "batch": 16, "optimizer": "adam", "lr": 3e-3,
            "schedule": "cosine", "clip_norm": 1.0, "seed": 0, "held_out": 0.1, "window": None, "step": None,
            "threads": None}
LAST = 0.05                                    # share of the learning rate with which the cosine ends


def add(commands) -> None:
    command = commands.add_parser("train", help="a trained checkpoint from a program and data")
    add_program(command)
    data = command.add_argument_group("data (a text model without any learns the documentation inside Python)")
    data.add_argument("--text", metavar="F", help="a text, for a model of characters")
    data.add_argument("--data", metavar="F.npz", help="arrays by signal (.npz), or a table (.csv); one called weight "
                                                      "weighs the frames in the loss")
    data.add_argument("--set", metavar="NAME=FILE", type=signal_file, action="append", help="a .wav or .npy by signal")
    data.add_argument("--held-out", type=share, metavar="SHARE", help="of the data, at its end, for scoring (0.1)")
    how = command.add_argument_group("training")
    how.add_argument("--epochs", type=positive, help=f"({DEFAULTS['epochs']})")
    how.add_argument("--streams", type=positive, help="parallel streams the data is cut into (up to 32)")
    how.add_argument("--frames", type=positive, help=f"per update and stream ({DEFAULTS['frames']})")
    how.add_argument("--batch", type=positive, help=f"sequences per update, of data in sequences ({DEFAULTS['batch']})")
    how.add_argument("--window", type=positive, help="frames an update looks back over (as --frames)")
    how.add_argument("--step", type=positive, help="new frames per update (as --window)")
    how.add_argument("--optimizer", choices=sorted(OPTIMIZERS), help=f"({DEFAULTS['optimizer']})")
    how.add_argument("--lr", type=real, help=f"learning rate ({DEFAULTS['lr']})")
    how.add_argument("--schedule", choices=("constant", "cosine"), help=f"of the rate ({DEFAULTS['schedule']})")
    how.add_argument("--clip-norm", type=real, help=f"of the whole gradient ({DEFAULTS['clip_norm']})")
    how.add_argument("--seed", type=seed, help="of the first weights (0)")
    how.add_argument("--weights", metavar="FILE", type=Path,
                     help="first weights: a .safetensors, as rnnc import makes, or the folder of a training run")
    add_numbers(how)
    how.add_argument("--threads", type=positive, help="(chosen by the planner)")
    out = command.add_argument_group("results")
    out.add_argument("--checkpoint", metavar="DIR", type=Path, help="where everything goes (./NAME-run)")
    out.add_argument("--plot", metavar="FILE", type=picture, help="the curve, .png or .svg (DIR/curve.png)")
    out.add_argument("--log", metavar="FILE", type=Path, help="the numbers of the curve (DIR/log.csv)")
    command.set_defaults(run=train)


def signal_file(text: str) -> tuple[str, str]:
    """An argument type: `x=dry.wav`."""
    name, equals, path = text.partition("=")
    if not equals or not name or not path:
        raise argparse.ArgumentTypeError(f"{text!r}: write it as SIGNAL=FILE, for example x=dry.wav")
    return name, path


def picture(text: str) -> Path:
    """An argument type: asked before the training, not told after it."""
    if Path(text).suffix.lower() not in (".png", ".svg"):
        raise argparse.ArgumentTypeError(f"{text!r}: the curve is a .png or an .svg")
    return Path(text)


def share(text: str) -> float:
    """An argument type: at least 0, less than 1."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return value


def train(options) -> int:
    program = find(options.file)
    folder = options.checkpoint or Path(f"{program.stem}-run")
    there(options.weights)
    for result in (options.log, options.plot):
        if result is not None:
            writable(result)
    if folder.exists() and not folder.is_dir():
        raise Usage(f"{folder} is a file, not a folder")
    takes_files(folder)
    stored = Job.read(folder) if (folder / JOB).exists() and began(folder) else None
    job, data, corpus, sources = prepare(options, program, stored)
    if stored is not None and (changed := stored.differences(job)):
        raise Refusal(f"{folder} holds a run with different settings, which cannot go on like this: "
                      f"{'; '.join(changed)}\n  hint: --checkpoint names another folder")
    job = save_job(job, folder, sources, data)
    with patience(f"compiling {program.stem}", options.progress):
        net = job.net(folder, "parameters")
        if options.weights and stored is None:
            load(net, options.weights)
    if corpus:
        report.tell(corpus.summary())
    report.tell(summary(job, net, data))
    learn(options, job, net, data, folder)
    return finish(options, job, net.name, folder)


# ------------------------------------------------------------------------------------------------ what is asked

def began(folder: Path) -> bool:
    """Whether there is anything to go on from: a run that was refused, or stopped before its first checkpoint, has
    settled nothing."""
    from rnnc.runtime.checkpoint import exists
    return exists(folder)


def prepare(options, program, stored: Job | None):
    """The job that flags, stored run and defaults make, its data, its corpus if that is a text, the program's files."""
    from rnnc import pipeline
    names = size_names(program.source, options.model)
    where = dataset.place(options, names, stored.source if stored else None)
    if where is None:
        raise Usage(f"what should {program.stem} learn from?", hint="--text, --data or --set names it")
    training = settled(options, stored.training if stored else {})
    kept = {k: v for k, v in stored.sizes.items() if k in names} if stored else {}     # another program may have others
    sizes = kept | dict(options.sizes)
    corpus = dataset.read_corpus(where) if where.kind == dataset.TEXT else None
    if corpus and "vocab" in names:
        sizes = {"vocab": len(corpus.vocabulary)} | sizes
    model = options.model or (stored.model if stored else None)
    read = pipeline.read(program.source, model, sizes)
    sources = own(read.sources)
    chosen = numbers(options, **stored.numbers if stored else {})
    data = (dataset.from_text(corpus, read.graph, training) if corpus
            else dataset.from_files(where, read.graph, training, chosen["dtype"]))
    fits(training, data)
    job = Job(program="", digest=digest(sources), model=model, sizes=sizes, **chosen,
              source=dataset.facts(where, data, corpus), vocabulary=data.vocabulary if corpus else None,
              training=training)
    return job, data, corpus, sources


def settled(options, stored: dict) -> dict:
    """Each setting from its flag, from the run that goes on, or from the defaults, in this order."""
    given = {key: getattr(options, key) for key in DEFAULTS if getattr(options, key) is not None}
    given |= {"first weights": fingerprint(options.weights)} if options.weights else {}
    return DEFAULTS | stored | given


def fits(training: dict, data) -> None:
    """Refuses a window and a step that rnnc.fit would refuse, before there is a folder."""
    from rnnc.runtime.fit import spans
    try:
        spans(training["window"], training["step"], data)
    except InputError as fault:
        raise Usage(f"--window, --step: {str(fault).partition(': ')[2]}") from None


def size_names(source, model: str | None) -> set[str]:
    """The sizes that a program's model can be given."""
    from rnnc.front.parse import parse
    from rnnc.front.tree import Model
    return {formal.name.id for item in parse(source).items
            if isinstance(item, Model) and model in (None, item.name.id) for formal in item.sizes}


def save_job(job: Job, folder: Path, sources: list, data) -> Job:
    """Everything that later commands need, before the first update."""
    job = replace(job, program=keep_program(folder, sources))
    if data.held is not None:
        held.keep(data.held, folder)
    job.write(folder)
    return job


def epochs(count: int) -> str:
    return f"{count} epoch{'s' * (count != 1)}"


def summary(job: Job, net, data) -> str:
    sizes = ", ".join(f"{k} = {v}" for k, v in job.sizes.items())
    t = job.training
    form = f"{data.streams} streams x {data.frames} frames" if data.carries else f"{data.batch_size} sequences"
    lines = [f"{net.name}({sizes}): {net.theta.size:,} parameters, {net.dtype}",
             f"{epochs(t['epochs'])} of {updates_of_an_epoch(t, data)} updates ({form}), {t['optimizer']}, "
             f"learning rate {t['lr']:g} ({t['schedule']}), gradient clipped at {t['clip_norm']:g}"]
    if data.held is not None:
        lines.append(f"held out: the last {t['held_out']:.0%}, {data.held.total:,} "
                     f"{'characters' if job.vocabulary else 'frames'}")
    return "\n".join(lines)


# ------------------------------------------------------------------------------------------------ learning

def learn(options, job: Job, net, data, folder: Path) -> None:
    """The training itself; a row of the report after every epoch."""
    text = job.vocabulary is not None
    total = job.training["epochs"]

    def after_epoch(row: dict) -> None:
        report.tell(report.line(row, total, text))
        write_log(options, folder)

    try:
        rnnc.fit(net, data, optimizer(job, net, data), epochs=total, window=job.training["window"],
                 step=job.training["step"], validate=data.held, checkpoint=folder, resume=True,
                 progress=options.progress, callback=after_epoch)
    except KeyboardInterrupt:
        with contextlib.suppress(OSError):
            write_log(options, folder)
        raise KeyboardInterrupt(f"the same command goes on from {folder}") from None


def updates_of_an_epoch(training: dict, data) -> int:
    """A window moves on by its step, which may be fewer frames than the data comes in."""
    step = training["step"] or training["window"]
    return -(-data.length // step) if step and data.carries else len(data)


def optimizer(job: Job, net, data):
    t = job.training
    kind = getattr(rnnc, OPTIMIZERS[t["optimizer"]])
    rate = t["lr"]
    if t["schedule"] == "cosine":
        updates = t["epochs"] * updates_of_an_epoch(t, data)
        rate = lambda update: t["lr"] * (LAST + (1 - LAST) * (1 + math.cos(math.pi * min(1, update / updates))) / 2)
    return kind(net, learning_rate=rate, clip_norm=t["clip_norm"])


def position(folder: Path) -> dict:
    from rnnc.runtime.checkpoint import Checkpoint
    return Checkpoint.read(folder).record["position"]


def write_log(options, folder: Path) -> str:
    """Returns what stands in it: where it went, a pipe perhaps, nothing may be read."""
    at = position(folder)
    text = report.log(at["rows"], at["curve"])
    write(options.log or folder / "log.csv", text)
    return text


def finish(options, job: Job, name: str, folder: Path) -> int:
    """The log, the curve, and what to do next."""
    text, rows = job.vocabulary is not None, position(folder)["rows"]
    log, picture = options.log or folder / "log.csv", options.plot or folder / "curve.png"
    drawn = draw(write_log(options, folder), picture, name, report.unit(text), report.scale(text))
    if drawn != picture and options.plot:
        note(f"matplotlib is not installed: the curve is {drawn} (pip install 'rnnc[plot]' brings PNG)")
    report.tell(f"checkpoint {folder}, log {log}, curve {drawn}")
    if rows and report.HELD in rows[-1]:
        report.tell(f"held out: {figure(rows[-1][report.HELD] * report.scale(text))} {report.unit(text)} "
                    f"after {epochs(rows[-1]['epoch'])}")
    if text:
        prompt = " --prompt 'The '" if set("The ") <= set(job.vocabulary) else ""
        report.tell(f"to generate:  rnnc generate {shlex.quote(str(folder))}{prompt} --length 500")
    return 0
