"""An ONNX file -> a plain graph: nodes with their attributes, known numbers, inputs and outputs.

The `onnx` package reads the file; nothing of it is seen behind this file, but that numbers known beforehand are
computed by its reference implementation.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnc.cli.bring.values import Inexpressible
from rnnc.cli.console import Refusal, Usage

KINDS = {"float": "real", "double": "real", "float16": "real", "bfloat16": "real", "int64": "label", "int32": "label",
         "int16": "label", "int8": "label", "uint8": "label", "bool": "flag"}


@dataclass(frozen=True)
class Node:
    """One operator. `place`: its number in the file; `inside`: what its branches read of the graph around them."""

    place: int
    op: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict
    domain: str = ""
    inside: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"node {self.name or self.outputs[0]} ({self.op})"


@dataclass(frozen=True)
class Port:
    """An input or output of the graph; a size is a number, a name, or None."""

    name: str
    kind: str                                  # "real", "label", "flag", or what ONNX calls any other type
    sizes: tuple[int | str | None, ...] | None

    def __str__(self) -> str:
        return "[" + ", ".join(str(s or "?") for s in self.sizes or ()) + "]"


@dataclass
class Network:
    """A graph with everything that is known beforehand."""

    nodes: list[Node]
    inputs: list[Port]
    outputs: list[Port]
    numbers: dict[str, np.ndarray]
    trained: set[str] = field(default_factory=set)      # of the numbers: initializers, which may have been learned
    opset: int = 20
    maker: str = ""
    folded: dict[str, list[np.ndarray]] = field(default_factory=dict)   # what follows from these numbers, by result

    def readers(self) -> dict[str, list[Node]]:
        """Who reads a value."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs + node.inside):
                found.setdefault(name, []).append(node)
        return found

    def needed(self) -> set[int]:
        """Nodes that an output depends on."""
        makers = {name: node for node in self.nodes for name in node.outputs if name}
        found, waiting = set(), [port.name for port in self.outputs]
        while waiting:
            node = makers.get(waiting.pop())
            if node is not None and node.place not in found:
                found.add(node.place)
                waiting += node.inputs + node.inside
        return found

    def read_inputs(self) -> list[Port]:
        """Inputs that some needed node reads, or that are outputs as they are."""
        needed = self.needed()
        read = {name for node in self.nodes if node.place in needed for name in node.inputs + node.inside}
        return [port for port in self.inputs if port.name in read | {p.name for p in self.outputs}]

    def borrowed(self) -> list[str]:
        """What a branch reads that it does not make."""
        made = {name for node in self.nodes for name in node.outputs} | set(self.numbers)
        made |= {port.name for port in self.inputs}
        read = [name for node in self.nodes for name in node.inputs + node.inside]
        return [name for name in [*read, *(port.name for port in self.outputs)] if name and name not in made]


def library():
    """The onnx package, or how to get it."""
    try:
        import onnx
    except ImportError:
        raise Usage("ONNX files are read by the onnx package, which is not installed",
                    hint="pip install 'rnnc[onnx]', or save the state dict of the model as .safetensors") from None
    return onnx


def read(path: Path) -> Network:
    """The graph of a file, its local functions written out."""
    onnx = library()
    if path.stat().st_size == 0:
        raise Refusal(f"{path}: no ONNX model: the file is empty")
    try:
        model = onnx.load(path)
    except FileNotFoundError as fault:
        raise Refusal(f"{path}: its weights are in a file of their own, which is not there ({_line(fault)})") from None
    except Exception as fault:                 # of many kinds, by what is wrong with the file
        raise Refusal(f"{path}: no ONNX model that can be read ({_line(fault)})") from None
    if not model.HasField("graph") or not model.graph.output:
        raise Refusal(f"{path}: no ONNX model: no graph with an output is in it")
    try:
        if model.functions:
            from onnx import inliner
            model = inliner.inline_local_functions(model)
        opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        maker = " ".join(text(part) for part in (model.producer_name, model.producer_version) if part)
        return _network(onnx, model.graph, opset, maker)
    except Refusal:
        raise
    except Exception as fault:
        raise Refusal(f"{path}: a damaged ONNX model ({_line(fault)})") from None


def _line(fault: Exception) -> str:
    lines = str(fault).strip().splitlines()
    return lines[0][:160] if lines else type(fault).__name__


def _network(onnx, graph, opset: int, maker: str = "") -> Network:
    numbers = {text(i.name): plain(onnx.numpy_helper.to_array(i)) for i in graph.initializer}
    trained = set(numbers)
    nodes = []
    for proto in graph.node:
        attributes = {text(a.name): _network(onnx, a.g, opset) if a.type == onnx.AttributeProto.GRAPH else
                      _attribute(onnx, a) for a in proto.attribute}
        inside = [name for part in attributes.values() if isinstance(part, Network) for name in part.borrowed()]
        if proto.op_type == "Constant" and proto.domain in ("", "ai.onnx"):
            (value,) = attributes.values()
            value = value.encode() if isinstance(value, str) else value
            numbers[text(proto.output[0])] = plain(np.asarray(value, np.float32 if isinstance(value, float) else None))
            continue
        nodes.append(Node(len(nodes), text(proto.op_type), text(proto.name), tuple(map(text, proto.input)),
                          tuple(map(text, proto.output)), attributes,
                          text(proto.domain) if proto.domain != "ai.onnx" else "", tuple(dict.fromkeys(inside))))
    return Network(nodes, [_port(onnx, i) for i in graph.input if text(i.name) not in numbers],
                   [_port(onnx, o) for o in graph.output], numbers, trained, opset, maker)


def _attribute(onnx, attribute):
    """As plain Python: texts for bytes, arrays for tensors."""
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.type == onnx.AttributeProto.TENSOR:
        return plain(onnx.numpy_helper.to_array(value))
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, (list, tuple)) or type(value).__name__.startswith("Repeated"):
        return [text(v) if isinstance(v, bytes) else v for v in value]
    return value


def text(name: str | bytes) -> str:
    """Names are UTF-8; those of a damaged file may be anything."""
    name = name.decode("utf-8", "replace") if isinstance(name, bytes) else name
    return "".join(c if c.isprintable() else "?" for c in name)


def _port(onnx, info) -> Port:
    tensor = info.type.tensor_type
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    sizes = None
    if tensor.HasField("shape"):
        sizes = tuple(d.dim_value if d.HasField("dim_value") else text(d.dim_param) or None for d in tensor.shape.dim)
    return Port(text(info.name), KINDS.get(kind, kind), sizes)


def plain(array: np.ndarray) -> np.ndarray:
    """Short real numbers as float32: NumPy cannot compute with some of them."""
    if array.dtype.kind in "iub" or array.dtype in (np.float32, np.float64):
        return array
    return array.astype(np.float32) if array.dtype.kind in "fV" else array


def computed(node: Node, arguments: list[np.ndarray | None], opset: int) -> list[np.ndarray]:
    """What a node makes of numbers that are all known."""
    onnx = library()
    from onnx.reference import ReferenceEvaluator
    attributes = {k: onnx.numpy_helper.from_array(v) if isinstance(v, np.ndarray) else v
                  for k, v in node.attributes.items()}
    made = onnx.helper.make_node(node.op, list(node.inputs), list(node.outputs), name=node.name, **attributes)
    given = {name: array for name, array in zip(node.inputs, arguments) if name}
    ports = [onnx.helper.make_tensor_value_info(name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape)
             for name, array in given.items()]
    results = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.UNDEFINED, None)
               for name in node.outputs if name]
    graph = onnx.helper.make_graph([made], "one", ports, results)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        found = ReferenceEvaluator(model).run(None, given)
    except Exception as fault:                 # of many kinds, by what does not fit
        raise Inexpressible(f"of the known numbers it is given it makes none ({_line(fault)})") from None
    return [np.asarray(value) for value in found]
