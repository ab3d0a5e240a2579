"""The same meaning in fewer and plainer equations.

In: any graph. Out: one that computes the same values (rounding aside), for every start, state and NaN. Each rewrite
is one function from graph to graph which hands back the same object when it finds nothing; `simplify` runs them to a
fixed point. No rewrite moves through a delayed read, changes what a state holds, or turns x * 0 into 0.
The rewrites of products, slices and pads are in split.py.
"""

from dataclasses import replace

import numpy as np

from rnnc.errors import Broken
from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, Graph, Read
from rnnc.graph.ops import OPS, evaluate, is_elementwise
from rnnc.graph.patch import Patch, tidy
from rnnc.graph.patterns import gather_early, scatter_late
from rnnc.graph.split import (
    join_pads,
    move_slices,
    scale_products,
    scale_vectors,
    slice_products,
    split_products,
    turn_products,
)

ROUNDS = 50                                    # far more than any program has needed
MOST_FACTORS = 8                               # of a power: three squares, 3.5 units in the last place
COMMUTATIVE = {"add", "mul", "eq", "ne", "and", "or"}
GROWING = {"broadcast", "outer", "concat", "pad", "one_hot", "place"}   # of constants: cheaper made than stored


def simplify(graph: Graph) -> Graph:
    """Before: any checked graph. After: no rewrite finds anything more to do."""
    graph = tidy(graph)
    for _ in range(ROUNDS):
        before = graph
        for rewrite in REWRITES:
            graph = rewrite(graph)
        if graph is before:
            return graph
    raise Broken("simplification does not come to rest")


def fold_numbers(graph: Graph) -> Graph:
    """What is made of numbers and tables alone is a number or a table, unless it is not finite, or larger."""
    patch = Patch(graph)
    for n in graph.order:
        node = patch.nodes[n]
        if node.domain != CONSTANT or not node.args or node.op in GROWING or OPS[node.op].meaning is None:
            continue
        args = [patch.nodes[patch.arg(n, i).node] for i in range(len(node.args))]
        if not all(a.op in ("number", "table") for a in args) or OPS[node.op].family == "fold":
            continue
        values = []
        for a in args:
            data = patch.tables[a.attr("index")] if a.op == "table" else a.attr("value")
            values.append(np.asarray(data, np.int64 if a.kind == INT else np.float64).reshape(1, *a.shape))
        with np.errstate(all="ignore"):
            value = evaluate(node, values)[0]
        if not np.all(np.isfinite(value)):
            continue
        if node.shape == ():
            patch.become(n, "number", value=int(value) if node.kind == INT else float(value))
        elif node.kind == REAL:
            patch.become(n, "table", index=patch.table(value))
    return patch.finish()


def drop_identities(graph: Graph) -> Graph:
    """x + 0, x * 1, -(-x), where(c, x, x), shapes that change nothing, and the like."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        rule = _IDENTITIES.get(node.op)
        if rule is not None and n not in patch.instead:
            rule(patch, n, node)
    return patch.finish()


def _number(patch: Patch, n: int, position: int):
    """The number that an argument is, if it is one."""
    node = patch.nodes[patch.arg(n, position).node]
    return node.attr("value") if node.op == "number" else None


def _is_zero(patch: Patch, read: Read) -> bool:
    """Zero at every place, whatever the numbers are."""
    node = patch.nodes[read.node]
    if node.op == "number":
        return node.attr("value") == 0
    if read.delay or node.kind == INT:
        return False
    if node.op in ("broadcast", "pad", "reshape", "transpose"):
        return _is_zero(patch, patch.read(node.args[0]))
    if node.op == "mul":                       # of a whole number and zero: a zero with a value at each frame
        kinds = [patch.nodes[patch.read(r).node].op for r in node.args]
        return "real" in kinds and any(r.delay == 0 and _is_zero(patch, patch.read(r)) for r in node.args)
    if node.op == "slice":
        inner = patch.nodes[patch.read(node.args[0]).node]
        if inner.op == "pad" and patch.read(node.args[0]).delay == 0 and inner.attr("axis") == node.attr("axis"):
            low, size = inner.attr("low"), patch.look(inner.args[0].node).shape[inner.attr("axis")]
            return node.attr("high") <= low or node.attr("low") >= low + size
    return False


def _negated(patch: Patch, n: int, position: int) -> Read | None:
    """What an argument is the negative of."""
    node = patch.at(patch.arg(n, position))
    return patch.read(node.args[0]) if node.op == "neg" else None


def _add(patch, n, node):
    for one, other in ((0, 1), (1, 0)):
        if _is_zero(patch, patch.arg(n, one)) and patch.replace_by(n, patch.arg(n, other)):
            return
    for one, other in ((1, 0), (0, 1)):
        minus = _negated(patch, n, one)
        if minus is not None:
            return patch.become(n, "sub", patch.arg(n, other), minus)


def _sub(patch, n, node):
    if _is_zero(patch, patch.arg(n, 1)) and patch.replace_by(n, patch.arg(n)):
        return
    minus = _negated(patch, n, 1)
    if minus is not None:
        patch.become(n, "add", patch.arg(n), minus)
    elif _number(patch, n, 0) == 0:
        patch.become(n, "neg", patch.arg(n, 1))


def _mul(patch, n, node):
    for one, other in ((0, 1), (1, 0)):
        value = _number(patch, n, one)
        if value == 1 and patch.replace_by(n, patch.arg(n, other)):
            return
        if value == -1 and patch.nodes[patch.arg(n, other).node].shape == node.shape:
            return patch.become(n, "neg", patch.arg(n, other))
        minus = _negated(patch, n, one)
        if minus is not None:                  # signs move outwards, where sums absorb them
            if value is None and _number(patch, n, other) is not None:
                made = patch.make("number", kind=node.kind, value=-_number(patch, n, other))
                return patch.become(n, "mul", minus, made)
            product = patch.make("mul", minus, patch.arg(n, other), span=node.span)
            return patch.become(n, "neg", product)


def _div(patch, n, node):
    if _number(patch, n, 1) == 1:
        patch.replace_by(n, patch.arg(n))


def _pow(patch, n, node):
    power, base = _number(patch, n, 1), patch.arg(n)
    factors = abs(power) if power is not None and abs(power) <= MOST_FACTORS and power == int(power) else 0
    if power == 1:
        patch.replace_by(n, base)
    elif power == factors > 1:
        patch.become(n, "mul", *_two_factors(patch, base, factors, node))
    elif factors and power == -factors and node.kind == REAL:
        product = base if factors == 1 else patch.make("mul", *_two_factors(patch, base, factors, node), span=node.span)
        patch.become(n, "div", patch.number(1.0), product)


def _two_factors(patch: Patch, base: Read, factors: int, like) -> tuple[Read, Read]:
    """A product of several times the same, by squaring: the last two that are multiplied."""
    if factors == 2:
        return base, base
    half = factors // 2 if factors % 2 == 0 else factors - 1
    made = patch.make("mul", *_two_factors(patch, base, half, like), span=like.span)
    return (made, made) if factors % 2 == 0 else (made, base)


def _neg(patch, n, node):
    inner = patch.at(patch.arg(n))
    if inner.op == "neg":
        patch.replace_by(n, patch.read(inner.args[0]))
    elif inner.op == "sub" and len(graph_uses(patch, patch.arg(n).node)) == 1:
        patch.become(n, "sub", *(patch.read(r) for r in reversed(inner.args)))


def graph_uses(patch: Patch, n: int):
    return patch.graph.uses[n] if n < len(patch.graph) else ()


def _holds_always(patch: Patch, read: Read) -> bool:
    """`mod(t, 1) == 0`: the clock of a module that is not slow."""
    node = patch.at(read)
    if node.op != "eq":
        return False
    count, zero = (patch.at(patch.read(r)) for r in node.args)
    return count.op == "mod" and count.kind == INT and zero.op == "number" and zero.attr("value") == 0 \
        and patch.at(patch.read(count.args[1])).attr("value") == 1


def _where(patch, n, node):
    yes, no, value = patch.arg(n, 1), patch.arg(n, 2), _number(patch, n, 0)
    if _holds_always(patch, patch.arg(n)):
        value = 1
    if yes == no:
        patch.replace_by(n, yes)
    elif value is not None and not patch.replace_by(n, yes if value != 0 else no):
        patch.become(n, "identity", yes if value != 0 else no)


def _identity(patch, n, node):
    """A copy gives way to what it copies; if it may not (a state holds it), what it copies gives way to it."""
    read = patch.arg(n)
    source = patch.nodes[read.node]
    if patch.replace_by(n, read) or read.delay or not source.args or source.domain != node.domain:
        return
    equation = replace(source, name=node.name or source.name, span=node.span or source.span)
    if read.node not in patch.graph.state and patch.replace_by(read.node, Read(n)):
        patch.nodes[n] = equation


def _same_shape(patch, n, node):
    """reshape, broadcast, slice, pad that keep the shape; a reshape of a reshape."""
    if patch.nodes[patch.arg(n).node].shape == node.shape:
        patch.replace_by(n, patch.arg(n))
    elif node.op == "reshape" and patch.at(patch.arg(n)).op == "reshape":
        patch.become(n, "reshape", patch.read(patch.at(patch.arg(n)).args[0]))


def _of_one(patch, n, node):
    """The sum, or largest, of a single number."""
    if patch.nodes[patch.arg(n).node].size == 1 and node.shape == ():
        patch.become(n, "reshape", patch.arg(n))


def _concat(patch, n, node):
    """Of one thing; of slices of one thing that lie side by side."""
    if len(node.args) == 1:
        patch.replace_by(n, patch.arg(n))
        return
    axis, parts = node.attr("axis"), []        # (source, low, high), or (read, None, None)
    for read in map(patch.read, node.args):
        inner = patch.at(read)
        cut = (read, None, None)
        if inner.op == "slice" and inner.attr("axis") == axis:
            cut = (patch.read(inner.args[0]), inner.attr("low"), inner.attr("high"))
        if parts and cut[1] is not None and parts[-1][0] == cut[0] and parts[-1][2] == cut[1]:
            parts[-1] = (cut[0], parts[-1][1], cut[2])
        else:
            parts.append(cut)
    if len(parts) < len(node.args):
        reads = [source if low is None else patch.make("slice", source, axis=axis, low=low, high=high, span=node.span)
                 for source, low, high in parts]
        patch.become(n, "concat", *reads, axis=axis)


def _transpose(patch, n, node):
    inner = patch.at(patch.arg(n))
    if inner.op == "transpose":
        patch.replace_by(n, patch.read(inner.args[0]))


_IDENTITIES = {
    "add": _add, "sub": _sub, "mul": _mul, "div": _div, "pow": _pow, "neg": _neg, "where": _where,
    "identity": _identity, "reshape": _same_shape, "broadcast": _same_shape, "slice": _same_shape,
    "pad": _same_shape, "sum": _of_one, "max": _of_one, "min": _of_one, "concat": _concat, "transpose": _transpose,
}


def spread_late(graph: Graph) -> Graph:
    """An elementwise operator takes a scalar as it is: broadcast(s) * v is s * v."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        if not is_elementwise(node) or len(node.args) < 2 or node.shape == ():
            continue
        args = [patch.arg(n, i) for i in range(len(node.args))]
        spread = [a for a in args if patch.at(a).op == "broadcast" and _of_scalar(patch, a)]
        if spread and any(a not in spread and patch.nodes[a.node].shape == node.shape for a in args):
            thin = [patch.read(patch.nodes[a.node].args[0]) if a in spread else a for a in args]
            patch.become(n, node.op, *thin, **dict(node.attrs))
    return patch.finish()


def thin_frames(graph: Graph) -> Graph:
    """What is the same in a whole sequence, or call, is spread over frames late, as adjoints of sums over time are:
    (a + 0 t) * v is a * v, W @ (a + 0 t) is W @ a + 0 t."""
    patch = Patch(graph)
    for n in range(len(graph)):
        node = patch.nodes[n]
        family = OPS[node.op].family
        if node.domain != FRAME and family != "fold" or family == "span" or n in patch.instead:
            continue
        args = [patch.arg(n, i) for i in range(len(node.args))]
        thin = [_unspread(patch, read) for read in args]
        if not any(thin) or _spread(patch, Read(n)):
            continue
        others = [read for read, inner in zip(args, thin) if inner is None]
        attrs = dict(node.attrs)
        if any(patch.nodes[read.node].domain == FRAME for read in others):
            patch.become(n, node.op, *(inner or read for read, inner in zip(args, thin)), **attrs)
        elif node.domain == FRAME and node.kind == REAL:
            made = patch.make(node.op, *(inner or read for read, inner in zip(args, thin)), shape=node.shape,
                              span=node.span, **attrs)
            zero = patch.make("mul", patch.make("real", patch.make("frame_index")), patch.make("number", value=0.0))
            if node.shape:
                zero = patch.make("broadcast", zero, shape=node.shape)
            patch.become(n, "add", made, zero)
    return patch.finish()


def _spread(patch: Patch, read: Read) -> bool:
    """0 t, of any shape."""
    node = patch.at(read)
    if node.op == "broadcast":
        return _spread(patch, patch.read(node.args[0]))
    if node.op != "mul":
        return False
    count, zero = (patch.at(patch.read(r)) for r in node.args)
    return count.op == "real" and patch.at(patch.read(count.args[0])).op == "frame_index" and \
        zero.op == "number" and zero.attr("value") == 0


def _unspread(patch: Patch, read: Read) -> Read | None:
    """a, where a read is of a + 0 t and `a` is no frame's."""
    node = patch.at(read)
    if node.op != "add":
        return None
    a, zero = (patch.read(r) for r in node.args)
    found = patch.nodes[a.node].domain != FRAME and patch.nodes[a.node].shape == node.shape and _spread(patch, zero)
    return a if found else None


def _of_scalar(patch: Patch, read: Read) -> bool:
    return patch.nodes[patch.read(patch.nodes[read.node].args[0]).node].shape == ()


def merge_equal(graph: Graph) -> Graph:
    """Two nodes with one equation are one, unless delayed reads tell them apart (`Patch.replace_by` knows)."""
    patch = Patch(graph)
    seen: dict[tuple, int] = {}
    tables = {}
    for index, data in enumerate(graph.tables):
        tables[index] = tables.setdefault((data.shape, data.tobytes()), index)
    for n in graph.order:
        node = graph[n]
        args = tuple(patch.read(read) for read in node.args)
        if node.op in COMMUTATIVE:
            args = tuple(sorted(args))
        attrs = (("index", tables[node.attr("index")]),) if node.op == "table" else node.attrs
        key = (node.op, args, node.shape, node.kind, node.domain, attrs)
        kept = seen.setdefault(key, n)
        if kept == n:
            continue
        if not patch.replace_by(n, Read(kept)) and kept not in graph.state and patch.private(kept):
            if patch.replace_by(kept, Read(n)):
                seen[key] = n
    return patch.finish()


REWRITES = [                                   # cheap and shrinking ones first
    merge_equal, drop_identities, fold_numbers, spread_late, thin_frames,
    turn_products,                             # transposes into the products that read them
    scale_vectors, scale_products,             # factors of matrices to vectors
    slice_products, move_slices,               # slices towards the parameters
    split_products,                            # products of concatenations, so that what can leave a loop does
    join_pads,                                 # the adjoints of slices, put together again
    gather_early, scatter_late,                # of sparse matrices only what is stored
]
