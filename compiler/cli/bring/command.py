"""`rnnc import`: parameters that another framework learned, for a program; or its whole network as a program."""

import argparse
import contextlib
from pathlib import Path

from rnnc.cli.console import Refusal, Usage, note, patience, writable, write
from rnnc.cli.sources import OneValue, add_progress, find, not_a_file, size
from rnnc.errors import InputError

LOSSES = ("mse", "mae", "huber", "cross_entropy", "binary_cross_entropy", "hinge", "squared_hinge")
DESCRIPTION = """\
With PROGRAM, the weights of a model become parameters of that program, in one .safetensors file. nn.LSTM, nn.GRU (as
gru_after), nn.RNN, nn.Linear, nn.Embedding and nn.LayerNorm, and the LSTM, GRU and RNN of ONNX, are laid out anew;
modules of the same name meet, --map joins others: --map encoder=h, or --map both=h.lstm,h.lstm_2.

Without PROGRAM, the network itself becomes a program, OUT.rnn, with its weights beside it, OUT.safetensors: an ONNX
file of recurrent and dense layers, embeddings and functions of one frame; or a state dict that holds one recurrent
module, an embedding before it or none, and a linear layer behind it or none."""


def add(commands) -> None:
    command = commands.add_parser(
        "import", help="weights and networks from ONNX files and PyTorch's state dicts", description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter, epilog=(
            "examples: rnnc import model.onnx -o net.rnn; rnnc import state.safetensors net.rnn -o net.safetensors"))
    command.add_argument("state", metavar="MODEL", type=Path, help="model.onnx, state.safetensors or model.pt")
    command.add_argument("file", metavar="PROGRAM", nargs="?",
                         help="a program that takes the weights: a path, the name of a shipped sample, or - for stdin")
    command.add_argument("--model", help="which model, if PROGRAM has several")
    command.add_argument("-D", dest="sizes", metavar="NAME=VALUE", type=size, action=OneValue, default=[],
                         help="a size of PROGRAM's model: -D hidden=512")
    command.add_argument("-o", "--output", metavar="OUT", type=Path, required=True,
                         help="a .safetensors file; without PROGRAM, a .rnn file")
    command.add_argument("--map", metavar="THERE=HERE", dest="places", type=place, action=OneValue, default=[],
                         help="the path of a module or array of the model in PROGRAM")
    command.add_argument("--carry", action="store_true", help=(
        "first states that are inputs and last states that are outputs are left to the net, whose own state goes on "
        "from frame to frame"))
    command.add_argument("--loss", choices=LOSSES, help="what the network is to learn: a target for its first output")
    add_progress(command)
    command.set_defaults(run=bring)


def place(text: str) -> tuple[str, list[str]]:
    """An argument type: `encoder=h` or `both=h.lstm,h.lstm_2`."""
    there, equals, here = text.partition("=")
    paths = [path.strip() for path in here.split(",")]
    if not equals or not there.strip() or not all(paths):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as THERE=HERE, for example encoder=h")
    return there.strip(), paths


def bring(options) -> int:
    if not options.state.is_file():
        raise Usage(not_a_file(options.state, "file"))
    writable(options.output)
    if options.file is None:
        return whole(options)
    if options.carry or options.loss:
        raise Usage(f"--{'carry' if options.carry else 'loss'} is for whole networks, without PROGRAM")
    from rnnc import pipeline
    from rnnc.cli.bring.foreign import placed
    with told_of(options.state):
        modules = read(options.state)
    program = find(options.file)
    with patience(f"reading {program.stem}", options.progress):
        graph = pipeline.elaborated(program.source, options.model, dict(options.sizes))
    sparse = next((p.name for p in graph.params if p.pattern is not None), None)
    if sparse is not None:
        raise Refusal(f"{sparse} is sparse, which nothing in such a file is; in Python "
                      "net.parameters takes its numbers")
    shapes = {p.name: tuple(p.shape) for p in graph.params}
    with told_of(options.state):
        found = placed(modules, dict(options.places), shapes, met_by_labels(graph))
    from rnnc.runtime.storage import encoded
    write(options.output, encoded(found, graph.name, pipeline.hash_of(pipeline.forward(graph))))
    print(options.output)
    return 0


@contextlib.contextmanager
def told_of(path: Path):
    """A fault found here is one of this file, which its message names once."""
    try:
        yield
    except InputError as fault:
        raise Refusal(f"{path}: {str(fault).removeprefix(f'{path}: ')}") from None


def read(path: Path):
    """The modules of a file."""
    from rnnc.cli.bring import states
    from rnnc.cli.bring.foreign import of_pytorch
    if path.suffix.lower() != ".onnx":
        return of_pytorch(states.read(path))
    from rnnc.cli.bring.file import read as network
    from rnnc.cli.bring.modules import of_onnx
    return of_onnx(network(path))


def whole(options) -> int:
    """A network as a program with its weights; both are known to be right before the first is written."""
    import numpy as np

    from rnnc import pipeline
    from rnnc.errors import CompileError, Source
    from rnnc.runtime.storage import encoded
    out = options.output
    if out.suffix != ".rnn":
        raise Usage(f"{out}: a network is written as a .rnn file",
                    hint=f"-o {out.with_suffix('.rnn')}; or name the PROGRAM that takes the weights, before -o")
    if options.places or options.sizes or options.model:
        raise Usage("--map, -D and --model say how weights meet a PROGRAM, and none is named")
    weights = out.with_suffix(".safetensors")
    if weights.resolve() == options.state.resolve():
        raise Usage(f"{weights} would be written over", hint="-o takes another name")
    with patience(f"reading {options.state}", options.progress):
        with told_of(options.state):
            made = written(options, weights)
        try:
            graph = pipeline.elaborated(Source(str(out), made.text))
        except CompileError as fault:
            raise AssertionError(f"the program that was made of {options.state} does not hold: {fault}") from None
    shapes = {p.name: tuple(p.shape) for p in graph.params}
    arrays = {path: np.ascontiguousarray(made.weights[path]).reshape(shape) for path, shape in shapes.items()}
    if set(made.weights) != set(shapes):
        raise AssertionError(f"parameters {sorted(set(made.weights) ^ set(shapes))} on one side only")
    write(weights, encoded(arrays, graph.name, pipeline.hash_of(pipeline.forward(graph))))
    write(out, made.text)
    for line in made.notes:
        note(f"note: {line}")
    print(out)
    print(weights)
    return 0


def written(options, weights: Path):
    """The program of a file, as text, with its parameters."""
    from rnnc.cli.bring.draft import Draft
    path, model = options.state, Draft().name(options.output.stem)
    if path.suffix.lower() != ".onnx":
        from rnnc.cli.bring import standard, states
        if options.carry or options.loss:
            raise Usage(f"--{'carry' if options.carry else 'loss'} is for ONNX files; add to {options.output} what you "
                        "want of it")
        title = f"Made by rnnc import from {path.name}; weights: {weights.name}."
        return standard.program(states.read(path), model, title)
    from rnnc.cli.bring.file import read as network
    from rnnc.cli.bring.reading import program
    found = network(path)
    maker = f" ({found.maker})" if found.maker else ""
    title = (f"Made by rnnc import from {path.name}{maker}; weights: {weights.name}.\n"
             "Arrays here are [time, batch, units]; of a value per sequence, [sequences, units].")
    return program(found, model, title, options.carry, options.loss)


def met_by_labels(graph) -> set[str]:
    """Parameters whose columns labels choose."""
    kinds = {i.name: i.kind for i in graph.inputs}

    def label(n: int) -> bool:
        node = graph[n]
        return node.op == "input" and kinds.get(node.attr("name")) == "class"
    return {graph[a.node].attr("name") for node in graph.nodes for a in node.args
            if graph[a.node].op == "param" and any(label(b.node) for b in node.args)}
