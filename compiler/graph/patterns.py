"""Rewrites of sparse matrices, so that only what is stored is computed; see simplify.py for what all rewrites hold to.

The derivative of a sparse parameter begins as that of a whole matrix, of which the stored numbers are taken: the
taking moves inwards, through elementwise operators up to the sum over frames, which is then made at the stored places
alone. What is done to every entry of a sparse matrix alike, and leaves zeros zero, is done to the stored numbers.
"""

from rnnc.graph.nodes import CONSTANT, Graph, Node
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.random import RANDOM
from rnnc.graph.patch import Patch

# Elementwise operators that leave zeros zero: of sparse matrices of one pattern alone, or with scalars beside one.
OF_ALL = ("neg", "abs", "sign", "relu", "tanh", "add", "sub", "mul")
OF_ONE = ("mul", "div", "quantize")            # the first, or either factor


def gather_early(graph: Graph) -> Graph:
    """gather(fold_outer(a, b)) is fold_sparse(a, b), gather(f(a, b)) f(gather(a), gather(b)), gather(scatter(v)) v."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if node.op != "gather":
            continue
        read, pattern = patch.arg(n), node.attr("pattern")
        inner = patch.at(read)
        if inner.op == "scatter" and inner.attr("pattern") == pattern:
            patch.replace_by(n, patch.read(inner.args[0]))
        elif inner.op == "fold_outer" and len(patch.at(patch.read(inner.args[0])).shape) == 1:
            patch.become(n, "fold_sparse", *map(patch.read, inner.args), pattern=pattern)
        elif read.node < len(graph) and is_elementwise(inner) and inner.op not in RANDOM \
                and _only_gathered(patch, read.node, pattern):
            parts = [patch.read(r) for r in inner.args]
            parts = [r if patch.nodes[r.node].shape == () else patch.make("gather", r, pattern=pattern, span=node.span)
                     for r in parts]
            patch.become(n, inner.op, *parts, **dict(inner.attrs))
    return patch.finish()


def _only_gathered(patch: Patch, n: int, pattern) -> bool:
    readers = [patch.graph[u] for u, _ in patch.graph.uses[n]]
    return patch.private(n) and all(r.op == "gather" and r.attr("pattern") == pattern for r in readers)


def scatter_late(graph: Graph) -> Graph:
    """f(scatter(v)) is scatter(f(v)), where f leaves zeros zero; the sum of all entries is that of the stored ones."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if node.domain != CONSTANT or not node.args:
            continue
        reads = [patch.read(r) for r in node.args]
        matrices = [patch.at(r) for r in reads]
        sparse = [m.op == "scatter" for m in matrices]
        if node.op == "sum" and node.attr("axis") is None and sparse[0]:
            patch.become(n, "sum", patch.read(matrices[0].args[0]), axis=None)
        elif any(sparse) and _leaves_zero(node, matrices, sparse):
            parts = [patch.read(m.args[0]) if s else r for m, s, r in zip(matrices, sparse, reads)]
            stored = patch.make(node.op, *parts, span=node.span, **dict(node.attrs))
            patch.become(n, "scatter", stored, pattern=matrices[sparse.index(True)].attr("pattern"))
    return patch.finish()


def _leaves_zero(node: Node, args: list[Node], sparse: list[bool]) -> bool:
    if all(sparse):
        return node.op in OF_ALL and len({a.attr("pattern") for a in args}) == 1
    alone = sum(sparse) == 1 and all(s or a.shape == () for a, s in zip(args, sparse))
    return alone and node.op in OF_ONE and (sparse[0] or node.op == "mul")
