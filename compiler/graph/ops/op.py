"""What a row of the operator table holds, and how a node is made from one.

In: an operator's name, the reads it is applied to, its static arguments. Out: a checked node in a builder. The one
idea: everything that is true of an operator stands in its row (shape rule, meaning, derivative), so that no pass asks
for an operator by name to know what it is. Derivatives are written as ordinary expressions of `Expr`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnnc.errors import Broken, Span
from rnnc.graph.nodes import CONSTANT, FRAME, INT, REAL, Builder, Node, Read, Shape, finest

LEAF, ELEMENTWISE, MIXING = "leaf", "elementwise", "mixing"
SPAN, FOLD = "span", "fold"                    # these see all frames of a sequence, of the whole call


@dataclass(frozen=True)
class Op:
    """One operator.

    infer     (args, attrs, wanted shape or None) -> (shape, kind); `Broken` if the arguments do not fit. Only
              operators that cannot know their shape from their arguments (leaves, broadcast, reshape, one_hot, place,
              fold_column) look at the wanted one.
    meaning   (node, *values) -> value, in NumPy. Values have one leading axis: streams, or sequences, or 1 for a
              constant; all rows for a fold, the frames of one sequence for a span (which gives a row for each frame, or
              one). Complex values must do, to first order in the imaginary part.
    pull      the derivative: for each argument a function (context, upstream adjoint) -> its adjoint, or None where
              there is none; for an operator of any number of arguments one function (context, upstream, position).
    domain    of a leaf (None: that of its attribute `domain`, else a frame's) and of a span; every other operator's
              follows from its arguments.
    """

    name: str
    family: str
    arity: int | None
    infer: Callable[[Sequence[Node], dict, Shape | None], tuple[Shape, str]]
    meaning: Callable | None = None
    pull: tuple | Callable | None = None
    domain: str | None = FRAME

    def differentiable(self, position: int) -> bool:
        """Whether a change of this argument changes the value at all."""
        if self.pull is None:
            return False
        return callable(self.pull) or self.pull[position] is not None


OPS: dict[str, Op] = {}


def is_elementwise(node: Node) -> bool:
    """Whether a node is made number by number."""
    return OPS[node.op].family == ELEMENTWISE


def row(op: Op) -> Op:
    if op.name in OPS:
        raise Broken(f"two rows for {op.name}")
    OPS[op.name] = op
    return op


def need(condition: bool, message: str) -> None:
    if not condition:
        raise Broken(message)


def need_kinds(name: str, args: Sequence[Node], *kinds: str) -> None:
    found = tuple(a.kind for a in args)
    need(found == kinds, f"{name} wants {', '.join(kinds)} and got {', '.join(found)}")


def infer(name: str, args: Sequence[Node], attrs: dict, shape: Shape | None = None,
          kind: str | None = None) -> tuple[Shape, str, str]:
    """Shape, kind and domain of an operator applied to `args`; `Broken` if that is not allowed."""
    op = OPS.get(name)
    need(op is not None, f"no operator {name}")
    need(op.arity is None or op.arity == len(args), f"{name} takes {op.arity} arguments, not {len(args)}")
    shape, natural = op.infer(args, attrs, shape)
    if op.family == LEAF:
        return shape, kind or natural, op.domain or attrs.get("domain", FRAME)
    if op.family == FOLD:
        return shape, natural, CONSTANT
    return shape, natural, op.domain if op.family == SPAN else finest(a.domain for a in args)


def make(builder: Builder, name: str, /, *reads: Read | int, shape: Shape | None = None, kind: str | None = None,
         path: str | None = None, span: Span | None = None, **attrs) -> int:
    """Adds the node `name(*reads)`, with shape, kind and domain by the operator's rule; returns its number.
    `shape` for the operators that cannot know it, `kind` for leaves; `path` names the signal; the rest are attrs."""
    reads = tuple(Read(r) if isinstance(r, int) else r for r in reads)
    args = [builder.look(r.node) for r in reads]
    shape, kind, domain = infer(name, args, attrs, None if shape is None else tuple(shape), kind)
    return builder.add(Node(name, reads, shape, kind, domain, tuple(sorted(attrs.items())), path, span))


@dataclass(frozen=True)
class Expr:
    """A read that can be computed with: `a * b + 1` adds nodes to the builder."""

    builder: Builder
    read: Read
    span: Span | None = None

    @property
    def node(self) -> Node:
        return self.builder.look(self.read.node)

    @property
    def shape(self) -> Shape:
        return self.node.shape

    def __call__(self, name: str, /, *others, **attrs) -> "Expr":
        """`x("matmul", y, ta=True)` is the operator applied to x, then the others."""
        others = [o if isinstance(o, Expr) else self.number(o) for o in others]
        made = make(self.builder, name, self.read, *(o.read for o in others), span=self.span, **attrs)
        return Expr(self.builder, Read(made), self.span)

    def number(self, value: float) -> "Expr":
        made = make(self.builder, "number", kind=REAL, value=float(value), span=self.span)
        return Expr(self.builder, Read(made), self.span)

    def __add__(self, other): return self("add", other)
    def __sub__(self, other): return self("sub", other)
    def __mul__(self, other): return self("mul", other)
    def __truediv__(self, other): return self("div", other)
    def __radd__(self, other): return self.number(other)("add", self)
    def __rsub__(self, other): return self.number(other)("sub", self)
    def __rmul__(self, other): return self.number(other)("mul", self)
    def __neg__(self): return self("neg")

    def sum(self, axis: int | None = None) -> "Expr":
        return self("sum", axis=axis)

    def spread(self, shape: Shape, axis: int | None = None) -> "Expr":
        """The adjoint of a reduction: this value at every place along the axis (or everywhere) of `shape`."""
        if axis is not None and self.shape != shape:
            kept = tuple(1 if i == axis else n for i, n in enumerate(shape))
            return self("reshape", shape=kept)("broadcast", shape=shape)
        return self if self.shape == shape else self("broadcast", shape=shape)


@dataclass(frozen=True)
class Context:
    """The node being differentiated: `out` its value, `args` what it reads, as expressions at its own frame."""

    builder: Builder
    number: int

    @property
    def node(self) -> Node:
        return self.builder.look(self.number)

    @property
    def span(self) -> Span | None:
        return self.node.span

    @property
    def out(self) -> Expr:
        return Expr(self.builder, Read(self.number), self.span)

    def arg(self, position: int) -> Expr:
        return Expr(self.builder, self.node.args[position], self.span)

    @property
    def a(self) -> Expr:
        return self.arg(0)

    @property
    def b(self) -> Expr:
        return self.arg(1)

    @property
    def c(self) -> Expr:
        return self.arg(2)

    def attr(self, key: str, default=None):
        return self.node.attr(key, default)


def pull(builder: Builder, number: int, up: int, position: int) -> int | None:
    """The adjoint that node `number`, whose own adjoint is node `up`, sends to its argument at `position`: a node at
    the same frame, of the argument's shape. None if the argument has no derivative (labels, conditions, ...)."""
    node = builder.look(number)
    op = OPS[node.op]
    arg = builder.look(node.args[position].node)
    if arg.kind == INT or not op.differentiable(position):
        return None
    context, adjoint = Context(builder, number), Expr(builder, Read(up), node.span)
    found = op.pull(context, adjoint, position) if callable(op.pull) else op.pull[position](context, adjoint)
    if found is None:
        return None
    if op.family == ELEMENTWISE and arg.shape == () and found.shape != ():
        found = found.sum()                    # a scalar operand went to every unit
    need(found.read.delay == 0, f"the derivative of {node.op} is a delayed read")
    need(found.shape == arg.shape, f"the derivative of {node.op} has shape {found.shape}, not {arg.shape}")
    return found.read.node


def evaluate(node: Node, values: Sequence):
    """The meaning of one node on arrays with one leading axis each (1 or the same length)."""
    op = OPS[node.op]
    need(op.meaning is not None, f"{node.op} has no meaning of its own: it is a leaf")
    if op.family == ELEMENTWISE:               # a scalar operand goes to every unit
        rank = len(node.shape)
        values = [v.reshape(len(v), *[1] * rank) if v.ndim == 1 else v for v in values]
    return op.meaning(node, *values)
