"""What names mean: scopes, what they hold, and arguments that are looked at again under every delay.

A `Scope` belongs to one application of a cell or function, one model, or one turn of a repetition. An `At` is a spot in
it: which equation is being elaborated, read how many frames ago. Arguments are `Thunk`s, because a delay of an
argument is a delay of the signals in it.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from rnnc.errors import Span
from rnnc.front import tree
from rnnc.graph.elaborate.drafts import Draft, Ref, Stop
from rnnc.graph.elaborate.hints import value_meant
from rnnc.graph.elaborate.places import Place, Store


@dataclass(eq=False)
class Signal:
    """An equation, an input, or what a cell returns: a value with a name, which may be read with delays.

    `alias`: the name of an application's result; reads go to the result itself unless `v` has an `init` of its own."""

    name: str
    draft: Draft
    place: Place | None
    span: Span
    value: Ref | None = None
    alias: Ref | None = None
    application: "Application | None" = None
    elaborated: bool = False
    starts: dict[int | None, tuple[Ref, Span]] = field(default_factory=dict)
    spare: bool = False                        # named by an application, not by the text: an equation may take it over


@dataclass(eq=False)
class Application:
    """A layer applied once: the scope of its body, or the copies of a stack, and what it returns."""

    word: str
    span: Span
    scope: "Scope | None" = None
    parts: list["Application"] = field(default_factory=list)
    results: list[Ref] = field(default_factory=list)


@dataclass(eq=False)
class Layer:
    """A value that can be applied. kind: cell, stack, share, reversed, instance."""

    kind: str
    word: str                                  # the cell's name, used in paths
    span: Span
    cell: tree.Cell | None = None
    definitions: object = None                 # where the cell was written
    sizes: dict[str, object] = field(default_factory=dict)
    inner: "Layer | None" = None
    count: int = 1
    store: Store | None = None                 # an instance's parameters
    later: "Thunk | None" = None               # an instance: what it is an instance of, until that is known
    busy: bool = False

    def base(self) -> "Layer":
        return self if self.inner is None else self.inner.base()


Value = Ref | int | float | list | np.ndarray | Layer


@dataclass(eq=False)
class Constant:
    """A `const`, computed when first asked for."""

    statement: tree.Const
    scope: "Scope"
    value: object = None
    busy: bool = False


@dataclass(frozen=True)
class Doubt:
    """Brackets in the equation at `place` that may mean something else than was meant: told where a loop has no order.
    Either says what a size in them is, or what they are where `of` is read (`hint`)."""

    place: Place | None
    span: Span
    said: str = ""
    hint: str = ""
    of: Place | None = None


@dataclass(eq=False)
class Parameter:
    name: str
    draft: Draft
    place: Place
    span: Span
    trainable: bool
    rank: int
    initialiser: tuple | None = None
    share: float = 0.0                         # of the entries that are zero for good


@dataclass(eq=False)
class Scope:
    """Names of one body. `direction` is -1 inside a reversed layer; `sites` remembers what each spot of the text has
    become, since an expression is elaborated once per delay under which it is read."""

    work: object
    definitions: object
    parent: "Scope | None" = None
    names: dict[str, object] = field(default_factory=dict)
    direction: int = 1
    place: Place | None = None
    store: Store | None = None
    function: str | None = None                # inside a function of this name
    title: str = ""
    trail: tuple[tuple[str, Span], ...] = ()   # the applications that led here, the innermost first
    sites: dict[object, object] = field(default_factory=dict)

    def find(self, name: str):
        scope = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.parent
        return self.definitions.constant(name)

    def visible(self) -> list[str]:
        found, scope = [], self
        while scope is not None:
            found += scope.names
            scope = scope.parent
        return found + self.definitions.constants()

    def child(self, **fields) -> "Scope":
        """A scope inside this one that sees all of it: a turn of a repetition, the entries of a constant."""
        return Scope(self.work, self.definitions, self, {}, self.direction, self.place, self.store, self.function,
                     self.title, self.trail, **fields)


@dataclass(frozen=True, eq=False)
class At:
    """A spot of the text being elaborated. `place` and `home` are the equation's in the trees of signals and of
    parameters (one tree, unless parameters are shared); `key` orders the cells inside it."""

    scope: Scope
    label: str = ""
    place: Place | None = None
    home: Place | None = None
    key: tuple = ()
    delay: int = 0
    static: bool = False                       # a number is needed now: wait rather than leave a gap

    def later(self, delay: int) -> "At":
        return self if delay == 0 else replace(self, delay=self.delay + delay)

    def under(self, delay: int, static: bool) -> "At":
        return self if (delay, static) == (self.delay, self.static) else replace(self, delay=delay, static=static)

    def inside(self, scope: Scope, *key) -> "At":
        return replace(self, scope=scope, key=self.key + key)


@dataclass(eq=False)
class Thunk:
    """An argument: an expression and the spot where it was written; or the result of the layer before it."""

    expr: tree.Expr
    at: At
    result: Ref | None = None
    known: dict[int, object] = field(default_factory=dict)
    busy: bool = False                         # being looked at: to meet it again is a circle
    hint: str = ""                             # where a number is needed and it is none


def wrong_name(name: str, span: Span, scope: Scope) -> Stop:
    return Stop("E0201", f"nothing here is called {name}", span, hint=value_meant(name, scope.visible()))
