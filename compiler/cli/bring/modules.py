"""The weights of an ONNX graph by module, as `foreign.placed` wants them.

Recurrent nodes of one scope are the layers of one module, in their order: an exporter makes them of one nn.LSTM. A
matrix that a product reads is the weight of the module it stands in, with a row for each unit, whatever the exporter
called it; everything else keeps its name.
"""

import numpy as np

from rnnc.cli.bring.calls import module, scope
from rnnc.cli.bring.cells import GATES, directions, parameters
from rnnc.cli.bring.file import Network, Node, computed
from rnnc.cli.bring.foreign import Modules
from rnnc.cli.bring.values import Inexpressible


def of_onnx(network: Network) -> Modules:
    known, trained = dict(network.numbers), set(network.trained)
    layers: dict[str, dict] = {}
    rest: dict[str, np.ndarray] = {}
    used: set[str] = set()
    for node in network.nodes:
        if node.domain:
            continue
        if node.op in GATES:
            _layer(network, node, known, layers)
            used |= set(node.inputs)
        elif node.op in ("MatMul", "Gemm") and len(node.inputs) > 1 and node.inputs[1] in trained:
            matrix = known[node.inputs[1]]
            if matrix.ndim == 2:
                rows = matrix if node.op == "Gemm" and node.attributes.get("transB", 0) else matrix.T
                name = _weight(network, node)
                rest[name if name not in rest else node.inputs[1]] = np.ascontiguousarray(rows)
                used.add(node.inputs[1])
        elif any(name in trained for name in node.inputs) and all(name in known for name in node.inputs if name):
            try:                               # weights that are turned, cut or put together before they are used
                made = computed(node, [known.get(name) for name in node.inputs], network.opset)
            except Inexpressible:              # what it is for says the node that reads it, if one does
                continue
            known.update(zip(node.outputs, made))
            trained |= set(node.outputs)
            used |= set(node.inputs)
    rest |= {name: known[name] for name in network.trained if name not in used and name not in rest
             and known[name].dtype.kind == "f" and known[name].size}
    if not layers and not rest:
        raise Inexpressible("no weights are in it")
    return Modules(layers, rest)


def _layer(network: Network, node: Node, known: dict, layers: dict) -> None:
    names = [*node.inputs, *[""] * 8]
    chosen = [names[i] for i in (1, 2, 3)] + [names[7] if node.op == "LSTM" else ""]
    missing = next((name for name in chosen if name and name not in known), None)
    try:
        if missing is not None:
            raise Inexpressible(f"its weights {missing} are not known before a run")
        made = parameters(node.op, [known[name] if name else None for name in chosen], node.attributes)
    except Inexpressible as fault:
        raise Inexpressible(f"{node}: {fault}") from None
    found = layers.setdefault(module(network, node), {})
    number = 1 + max((n for n, _ in found), default=-1)
    found |= {(number, back): part for back, part in zip(directions(node.attributes), made)}


def _weight(network: Network, node: Node) -> str:
    """The name of the matrix of a product: its own, where that means something, else its module's, as the bias has."""
    own = node.inputs[1]
    if own.endswith(".weight"):
        return own
    if path := scope(node):
        return f"{path}.weight"
    for reader in network.nodes:
        if reader.op == "Add" and set(reader.inputs) & set(node.outputs):
            bias = next((name for name in reader.inputs if name in network.trained and name.endswith(".bias")), None)
            if bias:
                return f"{bias.removesuffix('.bias')}.weight"
    return own
