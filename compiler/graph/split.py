"""Rewrites of products, slices, concatenations and pads; see simplify.py for what all rewrites hold to.

Products of concatenations come apart, so that the part that does not depend on a loop can leave it; slices move
through elementwise operators and products up to the parameters; in the gradient, sums of pads become concatenations.
"""

from rnnc.graph.nodes import CONSTANT, FRAME, Graph, Node, Read
from rnnc.graph.ops import is_elementwise
from rnnc.graph.ops.random import RANDOM
from rnnc.graph.patch import Patch

SMALL = 16                                     # columns of a product that are not worth a product of their own


def turn_products(graph: Graph) -> Graph:
    """A product reads a transposed operand as it lies; a product with a one-hot vector is a look-up. Between products,
    P S of a constant matrix and one that is a signal is (S' P')': the signal's rows go through it as they lie."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if node.op != "matmul":
            continue
        a, b, ta, tb = patch.arg(n, 0), patch.arg(n, 1), bool(node.attr("ta")), bool(node.attr("tb"))
        if len(node.shape) == 2 and patch.nodes[a.node].domain == CONSTANT and patch.nodes[b.node].domain == FRAME \
                and patch.private(n) and all(patch.nodes[u].op == "matmul" for u, _ in graph.uses[n]):
            turned = patch.make("matmul", b, a, span=node.span, **_turns(not tb, not ta))
            patch.become(n, "transpose", turned)
            continue
        turned_a, turned_b = patch.at(a).op == "transpose", patch.at(b).op == "transpose"
        if turned_a or turned_b:
            a = patch.arg(a.node) if turned_a else a
            b = patch.arg(b.node) if turned_b else b
            _become_product(patch, n, a, b, ta != turned_a, tb != turned_b)
        elif patch.at(b).op == "one_hot":
            patch.become(n, "take" if ta else "column", a, patch.arg(b.node))
    return patch.finish()


def _become_product(patch: Patch, n: int, a: Read, b: Read, ta: bool, tb: bool) -> None:
    patch.become(n, "matmul", a, b, **_turns(ta, tb))


def _turns(ta: bool, tb: bool) -> dict:
    """Attributes as one product has them, however it was made."""
    return {key: True for key, value in (("ta", ta), ("tb", tb)) if value}


def scale_vectors(graph: Graph) -> Graph:
    """s * outer(a, b) is outer(s * a, b), where nobody else reads the outer product, and c - outer(a, b) is
    c + outer(-a, b): fewer numbers, and one form."""
    patch = Patch(graph)
    alone = lambda read: patch.at(read).op == "outer" and read.node < len(graph) and patch.private(read.node) \
        and len(graph.uses[read.node]) == 1
    for n in range(len(graph)):
        node = patch.nodes[n]
        if node.op == "sub" and alone(patch.arg(n, 1)):
            a, b = map(patch.read, patch.at(patch.arg(n, 1)).args)
            negative = patch.make("outer", patch.make("neg", a, span=node.span), b, span=node.span)
            patch.become(n, "add", patch.arg(n, 0), negative)
        if node.op != "mul" or len(node.args) != 2:
            continue
        for scale, read in (node.args, node.args[::-1]):
            scale, read = patch.read(scale), patch.read(read)
            inner = patch.at(read)
            if alone(read) and patch.nodes[scale.node].shape == ():
                a, b = map(patch.read, inner.args)
                patch.become(n, "outer", patch.make("mul", scale, a, span=node.span), b)
                break
    return patch.finish()


def scale_products(graph: Graph) -> Graph:
    """(s * S) @ x is s * (S @ x) where the matrix is a signal and s a number, or a vector for its rows, and S @ (s * x)
    with one for its columns: fewer numbers, and a matrix that fades is asked as it was."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if not _asks(patch, n):
            continue
        scaled = patch.at(patch.arg(n, 0))
        if scaled.op != "mul" or len(scaled.shape) != 2:
            continue
        for factor, matrix in (map(patch.read, scaled.args), map(patch.read, scaled.args[::-1])):
            s, along = (factor, None) if patch.nodes[factor.node].shape == () else spread_vector(patch.nodes, factor)
            shape = patch.nodes[matrix.node].shape
            if len(shape) != 2 or patch.nodes[s.node].shape != (() if along is None else shape[along:along + 1]):
                continue
            x, attrs = node.args[1], dict(node.attrs)
            if along == (0 if attrs.get("ta") else 1):
                patch.become(n, "matmul", matrix, patch.make("mul", s, x, span=node.span), **attrs)
            else:
                patch.become(n, "mul", s, patch.make("matmul", matrix, x, span=node.span, **attrs))
            break
    return patch.finish()


def spread_vector(nodes: Graph | list[Node], read: Read) -> tuple[Read, int | None]:
    """Of a vector spread over a matrix the vector, and the axis along which it lies."""
    for op in ("broadcast", "reshape"):
        if nodes[read.node].op != op:
            return read, None
        shape, within = nodes[read.node].shape, nodes[read.node].args[0]
        read = Read(within.node, within.delay + read.delay)
    return read, shape.index(1) ^ 1 if len(nodes[read.node].shape) == 1 and len(shape) == 2 and 1 in shape else None


def slice_products(graph: Graph) -> Graph:
    """slice(W @ x) is slice(W) @ x, where every reader of the product takes a slice of its rows. A matrix that is a
    signal stays whole, here and below: nothing would leave a loop, and what is only asked may go in chunks."""
    patch = Patch(graph)
    for p in range(len(graph)):
        node = graph[p]
        if node.op not in ("matmul", "outer") or not _only_sliced(patch, p) or _sparse(patch, p) or _asks(patch, p):
            continue
        for n, _ in graph.uses[p]:
            cut = graph[n]
            axis, low, high = (cut.attr(key) for key in ("axis", "low", "high"))
            a, b = patch.arg(p, 0), patch.arg(p, 1)
            if node.op == "outer":
                parts = [_cut(patch, a, 0, low, high), b] if axis == 0 else [a, _cut(patch, b, 0, low, high)]
                patch.become(n, "outer", *parts)
                continue
            ta, tb = bool(node.attr("ta")), bool(node.attr("tb"))
            if axis == 0:
                a = _cut(patch, a, 1 if ta else 0, low, high)
            else:
                b = _cut(patch, b, 0 if tb else 1, low, high)
            _become_product(patch, n, a, b, ta, tb)
    return patch.finish()


def _sparse(patch: Patch, n: int) -> bool:
    """A product with a sparse matrix: parts of that would be no sparse matrices any more."""
    return patch.at(patch.arg(n)).op == "scatter"


def _only_sliced(patch: Patch, n: int) -> bool:
    """Nobody wants the whole. A vector outside loops of which several single numbers are read stays one: each would
    cost as much as a vector of them."""
    readers = [patch.graph[u] for u, _ in patch.graph.uses[n]]
    if not readers or not patch.private(n) or any(reader.op != "slice" for reader in readers):
        return False
    single = len(readers) > 1 and all(reader.size == 1 for reader in readers)
    small = len(patch.graph[n].shape) == 1 and patch.graph[n].size <= SMALL * len(readers)
    return not (single and small and len(patch.home[n]) == 1)


def _cut(patch: Patch, read: Read, axis: int, low: int, high: int) -> Read:
    if (low, high) == (0, patch.nodes[read.node].shape[axis]):
        return read
    return patch.make("slice", read, axis=axis, low=low, high=high, span=patch.nodes[read.node].span)


def move_slices(graph: Graph) -> Graph:
    """A slice of a slice, a concatenation, a pad, a broadcast or a transpose is taken inside; one of an elementwise
    operator too, where every reader takes a slice."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = graph[n]
        if node.op != "slice":
            continue
        inner_read = patch.arg(n)
        inner = patch.at(inner_read)
        axis, low, high = (node.attr(key) for key in ("axis", "low", "high"))
        if inner.op == "slice" and inner.attr("axis") == axis:
            start = inner.attr("low")
            patch.become(n, "slice", patch.read(inner.args[0]), axis=axis, low=start + low, high=start + high)
        elif inner.op == "concat" and inner.attr("axis") == axis:
            _slice_concat(patch, n, inner, low, high)
        elif inner.op == "pad" and inner.attr("axis") == axis:
            _slice_pad(patch, n, inner, low, high)
        elif inner.op == "broadcast" and patch.look(inner.args[0].node).shape == ():
            patch.become(n, "broadcast", patch.read(inner.args[0]))
        elif inner.op == "transpose":
            source = patch.read(inner.args[0])
            patch.become(n, "transpose", _cut(patch, source, 1 - axis, low, high))
        elif inner_read.node < len(graph) and inner is graph[inner_read.node] \
                and is_elementwise(inner) and inner.op not in RANDOM:
            if _only_sliced(patch, inner_read.node):
                parts = [patch.read(r) for r in inner.args]
                parts = [r if patch.nodes[r.node].shape == () else _cut(patch, r, axis, low, high) for r in parts]
                if any(patch.nodes[r.node].shape == node.shape for r in parts):
                    patch.become(n, inner.op, *parts, **dict(inner.attrs))
    return patch.finish()


def _slice_concat(patch: Patch, n: int, concat, low: int, high: int) -> None:
    axis, parts, start = concat.attr("axis"), [], 0
    for read in map(patch.read, concat.args):
        size = patch.nodes[read.node].shape[axis]
        first, last = max(low - start, 0), min(high - start, size)
        if first < last:
            parts.append((read, first, last))
        start += size
    if len(parts) == 1:
        read, first, last = parts[0]
        patch.become(n, "slice", read, axis=axis, low=first, high=last)
    elif parts:
        patch.become(n, "concat", *(_cut(patch, read, axis, first, last) for read, first, last in parts), axis=axis)


def _slice_pad(patch: Patch, n: int, pad, low: int, high: int) -> None:
    """Inside, or partly inside; a slice of nothing but zeros stays for `add` to drop."""
    axis, read = pad.attr("axis"), patch.read(pad.args[0])
    start, size = pad.attr("low"), patch.nodes[read.node].shape[axis]
    first, last = max(low - start, 0), min(high - start, size)
    if first >= last:
        return
    place = first + start - low
    if (place, last - first) == (0, high - low):
        patch.become(n, "slice", read, axis=axis, low=first, high=last)
    else:
        patch.become(n, "pad", _cut(patch, read, axis, first, last), axis=axis, low=place, size=high - low)


def split_products(graph: Graph) -> Graph:
    """W @ concat(a, b) is W[:, :n] @ a + W[:, n:] @ b; W @ pad(a) is the product with the columns that count."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if node.op != "matmul" or len(patch.nodes[patch.arg(n, 1).node].shape) != 1 or _sparse(patch, n) \
                or _asks(patch, n):
            continue
        w, ta = patch.arg(n, 0), bool(node.attr("ta"))
        vector = patch.at(patch.arg(n, 1))
        columns = 0 if ta else 1
        if vector.op == "pad":
            part = patch.read(vector.args[0])
            low = vector.attr("low")
            size = patch.nodes[part.node].shape[0]
            _become_product(patch, n, _cut(patch, w, columns, low, low + size), part, ta, False)
        elif vector.op == "concat":
            groups = _groups(patch, n, vector)
            if len(groups) < 2:
                continue
            parts, low = [], 0
            for group in groups:
                part = group[0] if len(group) == 1 else patch.make("concat", *group, axis=0, span=node.span)
                size = patch.nodes[part.node].shape[0]
                block = _cut(patch, w, columns, low, low + size)
                parts.append(patch.make("matmul", block, part, span=node.span, **_turns(ta, False)))
                low += size
            patch.become_sum(n, parts)
    return patch.finish()


def _asks(patch: Patch, n: int) -> bool:
    """Whether this is a product of a matrix that is a signal with a vector."""
    node = patch.nodes[n]
    return node.op == "matmul" and len(node.shape) == 1 and patch.nodes[patch.arg(n, 0).node].domain == FRAME


def _groups(patch: Patch, n: int, concat) -> list[list[Read]]:
    """The parts of a concatenation that product n should take one by one. Small neighbours stay together, unless one
    of them is made in the product's own loop and the other is not."""
    reads = [patch.read(read) for read in concat.args]
    small = [patch.nodes[read.node].shape[0] < SMALL for read in reads]
    inside = [few and read.node in patch.home[n] for few, read in zip(small, reads)]
    groups: list[list[Read]] = []
    for i, read in enumerate(reads):
        if i and small[i] and small[i - 1] and inside[i] == inside[i - 1]:
            groups[-1].append(read)
        else:
            groups.append([read])
    return groups


def join_pads(graph: Graph) -> Graph:
    """In a sum, pads that fill an axis without gap or overlap are one concatenation."""
    patch = Patch(graph)
    inside: set[int] = set()                   # sums that are terms of a larger sum
    for n in reversed(graph.order):
        if graph[n].op != "add" or n in inside:
            continue
        terms = _terms(patch, n, inside)
        groups: dict[tuple, list] = {}
        for place, read in enumerate(terms):
            pad = graph[read.node]
            if pad.op == "pad" and _moves(patch, read):
                key = (pad.attr("axis"), pad.attr("size"))
                groups.setdefault(key, []).append((pad.attr("low"), place, read))
        for (axis, size), pads in groups.items():
            chosen = _tiling(patch, axis, size, pads)
            if chosen is None:
                continue
            parts = [_unpadded(patch, read) for _, _, read in chosen]
            rest = [r for place, r in enumerate(terms) if place not in {place for _, place, _ in chosen}]
            if not rest:
                patch.become(n, "concat", *parts, axis=axis)
            else:
                total = patch.make("concat", *parts, axis=axis, span=graph[n].span)
                for read in rest[:-1]:
                    total = patch.make("add", total, read, span=graph[n].span)
                patch.become(n, "add", total, rest[-1])
            break
    return patch.finish()


def _terms(patch: Patch, n: int, inside: set[int]) -> list[Read]:
    """The terms of a sum, through sums that nobody else reads."""
    found, stack, shape = [], [Read(n)], patch.graph[n].shape
    while stack:
        read = stack.pop()
        node = patch.graph[read.node]
        alone = read.node == n or len(patch.graph.uses[read.node]) == 1 and patch.private(read.node) and not node.name
        if node.op == "add" and read.delay == 0 and alone and node.shape == shape:
            inside.add(read.node)
            stack.extend(reversed(node.args))
        else:
            found.append(read)
    return found


def _moves(patch: Patch, read: Read) -> bool:
    """pad(v) read with a delay is the pad of v read with it, if both are zero beyond a start and before the call."""
    inner = patch.graph[read.node].args[0]
    if read.delay == 0:
        return True
    return inner.delay == 0 and patch.plain(read.node) and patch.plain(inner.node) and \
        patch.graph[inner.node].domain == FRAME


def _unpadded(patch: Patch, read: Read) -> Read:
    inner = patch.graph[read.node].args[0]
    return Read(inner.node, inner.delay + read.delay)


def _tiling(patch: Patch, axis: int, size: int, pads: list) -> list | None:
    """The first pads, from low to high, that fill the axis exactly."""
    by_low: dict[int, tuple] = {}
    for low, place, read in sorted(pads, key=lambda p: p[:2]):
        by_low.setdefault(low, (low, place, read))
    chosen, at = [], 0
    while at < size:
        if at not in by_low:
            return None
        chosen.append(by_low[at])
        at += patch.graph[_unpadded(patch, chosen[-1][2]).node].shape[axis]
    return chosen if at == size else None
