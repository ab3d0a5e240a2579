"""Operators on small vectors and matrices as C, entry by entry, where rows lie in lanes.

In: a node and the entries of its arguments, each a function of an index in C. Out: the same of the node itself, where
it only renames entries, or the statements that make them. Entry u of a value is a vector with a row in every lane;
loops over u and k are unrolled by the compiler, so an index costs nothing.
"""

from collections.abc import Callable, Sequence
from math import prod

from rnnc.errors import Broken
from rnnc.graph.nodes import Graph, Node
from rnnc.target.expressions import bare
from rnnc.target.mixing import around

Entries = Callable[[str], str]                 # of an index, as C
ZERO = "rn_all(0)"


def atom(text: str) -> str:
    """An index that may stand beside any operator."""
    return text if text.isidentifier() or text.isdigit() else f"({text})"


def strides(shape: Sequence[int]) -> list[int]:
    return [prod(shape[axis + 1:]) for axis in range(len(shape))]


def index(u: str, shape: Sequence[int], steps: Sequence[int], start: int = 0) -> str:
    """Entry u of a tensor of `shape` lies, each axis taken in its own step (0: repeated), at this place."""
    u = atom(u)
    real = [(size, own, step) for size, own, step in zip(shape, strides(shape), steps) if size > 1]
    parts = []
    if all(own == step for _, own, step in real):
        parts = [u]
    else:
        for axis, (size, own, step) in enumerate(real):
            if step:
                at = u if own == 1 else f"{u} / {own}"
                at = at if axis == 0 else f"{at} % {size}"
                parts.append(at if step == 1 else f"{step} * ({at})" if at != u else f"{step} * {u}")
    return " + ".join([*parts, *[str(start)] * bool(start)]) or "0"


def renamed(graph: Graph, n: int, of: Entries) -> Entries | None:
    """The entries of a value that only moves those of its argument; None: it does more."""
    node = graph[n]
    have = graph[node.args[0].node].shape if node.args else ()
    match node.op:
        case "reshape":
            return of
        case "transpose":
            return lambda u: of(index(u, node.shape, strides(have)[::-1]))
        case "broadcast":
            steps = [0] * (len(node.shape) - len(have)) + [
                0 if size == 1 else step for size, step in zip(have, strides(have))]
            return lambda u: of(index(u, node.shape, steps))
        case "slice":
            axis, low = int(node.attr("axis", 0)), int(node.attr("low", 0))
            return lambda u: of(index(u, node.shape, strides(have), low * strides(have)[axis]))
    return None


def declared(name: str, node: Node, value: Entries) -> list[str]:
    """A variable whose entries are found alike: one vector for a number, an array of them for all else."""
    if not node.shape:
        return [f"const rn_v {name} = {bare(value('0'))};"]
    return [f"rn_v {name}[{node.size}];", f"RN_FOR(u, {node.size}) {name}[u] = {bare(value('u'))};"]


class Maker:
    """The statements of one node. `name`: its variable; `args`: the entries of its arguments; `arrays`: the names of
    those that are arrays of vectors already; `place`: a whole number, as a vector."""

    def __init__(self, graph: Graph, n: int, name: str, args: list[Entries], arrays: list[str | None], place: str = ""):
        self.graph, self.node, self.name = graph, graph[n], name
        self.args, self.arrays, self.place = args, arrays, place
        self.shapes = [graph[read.node].shape for read in self.node.args]
        self.first = self.shapes[0] if self.shapes else ()

    def statements(self) -> list[str]:
        """A number becomes one vector, all else an array of them."""
        node = self.node
        match node.op:
            case "matmul":
                return self.product()
            case "outer":
                count = self.shapes[1][0]
                return self.each(lambda u: f"{self.args[0](f'{u} / {count}')} * {self.args[1](f'{u} % {count}')}")
            case "sum":
                return self.fold(ZERO, lambda so_far, next_: f"{so_far} + {next_}")
            case "max" | "min":
                worst = "rn_all(-RN_INFINITY)" if node.op == "max" else "rn_all(RN_INFINITY)"
                return self.fold(worst, lambda so_far, next_: f"rn_{node.op}({so_far}, {next_})")
            case "logsumexp" | "argmax" | "softmax" | "logsoftmax" | "surprisal":
                return self.lines()
            case "take" | "column":
                return self.taken()
            case "place":
                part = prod(node.shape[1:])
                return self.each(lambda u: f"rn_where(rn_eq({self.place}, rn_all((real)({u} / {part}))), "
                                           f"{self.args[0](f'{u} % {part}')}, {ZERO})")
            case "one_hot":
                return self.each(lambda u: f"rn_eq({self.place}, rn_all((real){u}))")
            case "concat" | "pad":
                return self.joined()
        raise Broken(f"no C for entries of {node.op}")

    # -------------------------------------------------------------------------------------------- all alike

    def each(self, value: Entries) -> list[str]:
        return declared(self.name, self.node, value)

    def sums(self, begin: str, count: int, join: Callable[[str, str], str],
             next_: Callable[[str, str], str]) -> list[str]:
        """Each entry u is joined of `next_` of u and k, k = 0 .. count - 1 in this order."""
        if not self.node.shape:
            return [f"rn_v {self.name} = {begin};",
                    f"RN_FOR(k, {count}) {self.name} = {join(self.name, next_('0', 'k'))};"]
        at = f"{self.name}[u]"
        return [f"rn_v {self.name}[{self.node.size}];", f"RN_FOR(u, {self.node.size}) {{", f"    {at} = {begin};",
                f"    RN_FOR(k, {count}) {at} = {join(at, next_('u', 'k'))};", "}"]

    # -------------------------------------------------------------------------------------------- sums

    def fold(self, begin: str, join: Callable[[str, str], str]) -> list[str]:
        outer, count, inner = around(self.node, self.first)

        def next_(u: str, k: str) -> str:
            if outer == inner == 1:
                return self.args[0](k)
            along = k if inner == 1 else f"{inner} * {k}"
            return self.args[0](f"{index(u, [outer, inner], [count * inner, 1])} + {along}")
        return self.sums(begin, count, join, next_)

    def product(self) -> list[str]:
        ta, tb = bool(self.node.attr("ta")), bool(self.node.attr("tb"))
        other = self.shapes[1]
        inner = self.first[0] if ta else self.first[1]
        columns = 1 if len(other) == 1 else other[0] if tb else other[1]
        left, right = (1, self.first[1]) if ta else (self.first[1], 1), (1, other[1]) if tb else (columns, 1)
        rows = self.node.size // columns
        along = lambda step, k: k if step == 1 else f"{step} * {k}"

        def next_(u: str, k: str) -> str:
            a = f"{index(u, [rows, columns], [left[0], 0])} + {along(left[1], k)}"
            b = f"{index(u, [rows, columns], [0, right[1]])} + {along(right[0], k)}"
            return f"{self.args[0](a)} * {self.args[1](b)}"
        return self.sums(ZERO, inner, lambda so_far, next_: f"{so_far} + {next_}", next_)

    def taken(self) -> list[str]:
        """Entries at a place that is found when running; zeros, where it is none."""
        if self.node.op == "column":
            rows, count = self.first
            at = lambda u, k: f"{count} * {u} + {k}"
        else:
            count, part = self.first[0], prod(self.first[1:])
            at = lambda u, k: k if part == 1 else f"{part} * {k} + {u}"
        here = f"rn_eq({self.place}, rn_all((real)k))"
        return self.sums(ZERO, count, lambda so_far, next_: f"rn_where({here}, {next_}, {so_far})",
                         lambda u, k: self.args[0](at(u, k)))

    def lines(self) -> list[str]:
        """What runtime/lanes.h makes of whole lines, which it wants as an array."""
        outer, count, inner = around(self.node, self.first)
        before, array = [], self.arrays[0]
        if array is None:
            array = f"{self.name}_from"
            before = [f"rn_v {array}[{prod(self.first)}];",
                      f"RN_FOR(u, {prod(self.first)}) {array}[u] = {self.args[0]('u')};"]
        if self.node.op == "surprisal":
            return [*before, f"const rn_v {self.name} = rn_each_surprisal({array}, {count}, {self.place});"]
        call = lambda to: f"rn_each_{self.node.op}({to}, {array}, {outer}, {count}, {inner});"
        if self.node.shape:
            return [*before, f"rn_v {self.name}[{self.node.size}];", call(self.name)]
        return [*before, f"rn_v {self.name};", call(f"&{self.name}")]

    # -------------------------------------------------------------------------------------------- pieces

    def joined(self) -> list[str]:
        node = self.node
        axis, shape = int(node.attr("axis", 0)), node.shape
        lines = [f"rn_v {self.name}[{node.size}];"]
        start = 0
        if node.op == "pad":
            lines.append(f"RN_FOR(u, {node.size}) {self.name}[u] = {ZERO};")
            start = int(node.attr("low", 0))
        for shape_of, entries in zip(self.shapes, self.args):
            to = index("u", shape_of, strides(shape), start * strides(shape)[axis])
            lines.append(f"RN_FOR(u, {prod(shape_of)}) {self.name}[{to}] = {bare(entries('u'))};")
            start += shape_of[axis]
        return lines
