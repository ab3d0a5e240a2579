"""`rnnc import`: parameters that PyTorch learned, as a file for `rnnc build --weights` and `net.load`."""

import argparse
from pathlib import Path

from rnnc.cli.console import Refusal, Usage, patience, write
from rnnc.cli.sources import add_program, find
from rnnc.errors import InputError


def add(commands) -> None:
    command = commands.add_parser("import", help="weights from PyTorch's state dicts", description=(
        "Reads a state dict (.safetensors; .pt and .pth where PyTorch is installed) and writes the parameters of a "
        "program. nn.LSTM, nn.GRU (as gru_after), nn.RNN, nn.Linear, nn.Embedding and nn.LayerNorm are laid out anew; "
        "modules of the same name meet, --map joins others: --map encoder=h, or --map both=h.lstm,h.lstm_2."))
    command.add_argument("state", metavar="STATE", type=Path, help="state.safetensors or model.pt")
    add_program(command)
    command.add_argument("-o", "--output", metavar="FILE", type=Path, required=True, help="a .safetensors file")
    command.add_argument("--map", metavar="THERE=HERE", dest="places", type=place, action="append", default=[],
                         help="the path of a module or array of the state dict in the program")
    command.set_defaults(run=bring)


def place(text: str) -> tuple[str, list[str]]:
    """An argument type: `encoder=h` or `both=h.lstm,h.lstm_2`."""
    there, equals, here = text.partition("=")
    paths = [path.strip() for path in here.split(",")]
    if not equals or not all(paths):
        raise argparse.ArgumentTypeError(f"{text!r}: write it as THERE=HERE, for example encoder=h")
    return there.strip(), paths


def bring(options) -> int:
    from rnnc import pipeline
    from rnnc.cli.foreign import converted
    arrays = read(options.state)
    program = find(options.file)
    with patience(f"reading {program.stem}", options.progress):
        graph = pipeline.elaborated(program.source, options.model, dict(options.sizes))
    sparse = next((p.name for p in graph.params if p.pattern is not None), None)
    if sparse is not None:
        raise Refusal(f"{sparse} is sparse, which nothing in a state dict is; net.parameters takes its numbers")
    shapes = {p.name: tuple(p.shape) for p in graph.params}
    try:
        found = converted(arrays, dict(options.places), shapes, met_by_labels(graph))
    except InputError as fault:
        raise Refusal(f"{options.state}: {fault}") from None
    from rnnc.runtime.storage import encoded
    write(options.output, encoded(found, graph.name, pipeline.hash_of(pipeline.forward(graph))))
    print(options.output)
    return 0


def read(path: Path) -> dict:
    """Arrays by name, in float32 or float64."""
    if not path.is_file():
        raise Usage(f"no such file: {path}")
    if path.suffix == ".onnx":
        raise Usage("ONNX files are not read yet", hint="save the state dict of the model as .safetensors")
    if path.suffix in (".pt", ".pth"):
        arrays = unpacked(path)
    elif path.suffix == ".safetensors":
        from rnnc.runtime.storage import read as stored
        arrays = stored(path)[0]
    else:
        raise Usage(f"{path}: a .safetensors or .pt file is wanted")
    wrong = next((name for name, array in arrays.items() if array.dtype.kind != "f"), None)
    if wrong is not None:
        raise Refusal(f"{path}: {wrong} holds {arrays[wrong].dtype}; real numbers are wanted")
    return {name: array if array.itemsize > 2 else array.astype("float32") for name, array in arrays.items()}


def unpacked(path: Path) -> dict:
    """A file of torch.save: a state dict, or a dict with one in it."""
    try:
        import torch
    except ImportError:
        raise Usage(f"{path.suffix} files are read by PyTorch, which is not installed",
                    hint="pip install 'rnnc[torch]', or save the state dict as .safetensors") from None
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:                 # of many kinds, by what is wrong with the file
        raise Refusal(f"{path}: no state dict that can be read safely ({str(fault).splitlines()[0][:120]})") from None
    tensors = lambda d: isinstance(d, dict) and bool(d) and all(isinstance(v, torch.Tensor) for v in d.values())
    inner = [found, *found.values()] if isinstance(found, dict) else []
    state = next((d for d in inner if tensors(d)), None)
    if state is None:
        raise Refusal(f"{path}: no state dict is in it; torch.save(model.state_dict(), ...) writes one")
    return {name: (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t).numpy() for name, t in state.items()}


def met_by_labels(graph) -> set[str]:
    """Parameters whose columns labels choose."""
    kinds = {i.name: i.kind for i in graph.inputs}

    def label(n: int) -> bool:
        node = graph[n]
        return node.op == "input" and kinds.get(node.attr("name")) == "class"
    return {graph[a.node].attr("name") for node in graph.nodes for a in node.args
            if graph[a.node].op == "param" and any(label(b.node) for b in node.args)}
