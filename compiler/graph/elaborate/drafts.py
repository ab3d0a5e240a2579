"""Drafts: equations whose sizes are still being worked out, and the engine that works them out.

A draft becomes a node once its type is known. Types flow from what is declared (inputs, parameters, constants) along
the reads, round loops too, until nothing moves: a draft without a type yet says nothing about its readers, so
`h = tanh(x + h[t-1])` takes the size of x. What then still waits only on itself is settled as it stands; what nothing
fixes is a fault. A size that is not known never becomes 1 on the way.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from rnnc.errors import Diagnostic, Faults, Note, Span

ROUNDS = 100                                   # a size that has changed so often will not settle


@dataclass(frozen=True)
class Size:
    """A dimension: its value, and whose it is, for messages. Two sizes are equal when their values are."""

    value: int
    origin: str = field(default="", compare=False)
    span: Span | None = field(default=None, compare=False)

    def told(self, near: Span | None = None) -> str:
        """`64 (hidden, line 3)`; the file is named where it is not that of the message."""
        if self.span is None:
            return f"{self.value} ({self.origin})" if self.origin else str(self.value)
        place = f"line {self.span.line}"
        if near is not None and self.span.source.name != near.source.name:
            place += f" of {self.span.source.name}"
        return f"{self.value} ({self.origin}, {place})" if self.origin else f"{self.value} ({place})"


@dataclass(frozen=True)
class Type:
    """Shape of one value; `classes` is set for labels, whose shape is (), and for lists of labels."""

    shape: tuple[Size, ...] = ()
    classes: Size | None = None
    lists: bool = False
    wrong: bool = False                        # a fault was reported: readers keep silent

    @property
    def rank(self) -> int:
        return len(self.shape)


SCALAR = Type()
WRONG = Type(wrong=True)


class Stop(Exception):
    """A fault of the program met while elaborating one statement; it becomes a diagnostic there."""

    def __init__(self, code: str, message: str, span: Span, notes: tuple[Note, ...] = (), hint: str | None = None):
        super().__init__(message)
        self.fault = Diagnostic(code, message, span, tuple(notes), hint)
        self.trail: tuple[tuple[str, Span], ...] = ()
        self.tell: Callable[[Span], str] | None = None     # the message, for those that depend on where they are told

    def inside(self, name: str, span: Span) -> "Stop":
        """The same fault, met in the body of what is applied at `span`."""
        self.trail += ((name, span),)
        return self

    def advised(self, hint: str) -> "Stop":
        """The same fault, where more is known of what was meant."""
        self.fault = replace(self.fault, hint=hint)
        return self


class Silent(Exception):
    """The same, when the fault has been reported already."""


class NotYet(Exception):
    """A number is needed that depends on a size still being worked out, or on a part not yet elaborated."""

    def __init__(self, what: str, span: Span, draft: "Draft | None" = None, hint: str | None = None):
        super().__init__(what)
        self.what, self.span, self.draft, self.hint = what, span, draft, hint


@dataclass(frozen=True)
class Ref:
    """A draft read `delay` frames ago."""

    draft: "Draft"
    delay: int = 0


Rule = Callable[["Draft"], "Type | None"]


class Draft:
    """One value. `op` is an operator of the graph or one that emission spells out; `rule` gives the type."""

    __slots__ = ("op", "args", "attrs", "span", "rule", "type", "final", "firm", "users", "number", "signal", "scope")

    def __init__(self, op: str, args: tuple[Ref, ...], span: Span, rule: Rule | None, attrs: dict):
        self.op, self.args, self.span, self.rule, self.attrs = op, args, span, rule, attrs
        self.type: Type | None = None
        self.final = False                     # the type can no longer change
        self.firm = False                      # it can no longer grow by broadcasting, as far as is known
        self.users: list[Draft] = []
        self.number = -1
        self.signal = None                     # the Signal of which this draft is the value, if any
        self.scope = None                      # where it was made, to tell which application a fault is about

    def __repr__(self) -> str:
        return f"<{self.op} {self.type}>"

    @property
    def is_elementwise(self) -> bool:
        """Whether it has the shape of its arguments, or of the largest."""
        return getattr(self.rule, "elementwise", False)

    @property
    def shaped_by_parts(self) -> bool:
        return self.is_elementwise or self.op in ("softmax", "logsoftmax")

    @property
    def binding(self) -> tuple[Ref, ...]:
        """The arguments that must be settled first: a signal's value, not what it was before the start."""
        return self.args[:1] if self.op == "signal" else self.args

    @property
    def known(self) -> Type | None:
        """The type, if those who need every size of it may use it: it can no longer grow by broadcasting."""
        return self.type if self.final or self.firm else None

    def holds(self, type_: Type) -> bool:
        """Whether a type of this draft is firm: it has no size that broadcasting makes larger, or nothing is open of
        which it could become larger."""
        if "assumed" in self.attrs or "sketch" in self.attrs or type_.classes is not None:
            return True
        if type_.shape and all(size.value != 1 for size in type_.shape):
            return True
        return getattr(self.rule, "certain", False) or all(ref.draft.known is not None for ref in self.binding)

    @property
    def lacks_axes(self) -> bool:
        """Whether the type so far has fewer axes than what picks from it takes it to have."""
        return not self.final and self.type is not None and self.type.rank < self.attrs.get("axes", 0)


class Engine:
    """Every draft of a program, and the work still to do on their types."""

    def __init__(self, faults: Faults, report: Callable):
        self.faults, self.report = faults, report
        self.drafts: list[Draft] = []
        self.moved: list[Draft] = []

    def add(self, draft: Draft) -> Draft:
        draft.number = len(self.drafts)
        self.drafts.append(draft)
        for ref in draft.args:
            ref.draft.users.append(draft)
        self.update(draft)
        return draft

    def give(self, draft: Draft, args: tuple[Ref, ...]) -> None:
        """Arguments for a draft that was made before they were known."""
        for ref in args[len(draft.args):]:
            ref.draft.users.append(draft)
        draft.args = args
        self.update(draft)
        self.run()

    def update(self, draft: Draft) -> None:
        if draft.final:
            return
        firm = False
        if any(ref.draft.type is WRONG for ref in draft.args):
            found, final = WRONG, True
        else:
            try:
                refuse_lists(draft)
                found = draft.rule(draft) or draft.attrs.get("sketch")
                final = found is not None and all(ref.draft.final for ref in draft.binding)
                firm = found is not None and (draft.firm and found == draft.type or draft.holds(found))
            except NotYet as wait:
                draft.attrs["waits"] = wait.draft
                return
            except Silent:
                found, final = WRONG, True
            except Stop as stop:
                self.report(stop, draft.scope)
                found, final = WRONG, True
        if (found, final, firm) != (draft.type, draft.final, draft.firm):
            draft.type, draft.final, draft.firm = found, final, firm
            self.moved.extend(draft.users)

    def run(self) -> None:
        rounds: Counter[Draft] = Counter()
        while self.moved:
            draft = self.moved.pop()
            before = draft.type
            self.update(draft)
            if draft.type == before:           # looked at as often as it has parts
                continue
            rounds[draft] += 1
            if rounds[draft] > ROUNDS and not draft.final and _reads_itself(draft):
                self.report(growth(draft), draft.scope)
                draft.type, draft.final = WRONG, True
                self.moved.extend(draft.users)
                rounds.clear()                 # its readers hear of it first

    def closed(self) -> set[Draft]:
        """What waits only on itself: every draft in sight of it has some type."""
        waiting = {d for d in self.drafts if d.type is not None and not d.final}
        while True:
            held = {d for d in waiting
                    if d.lacks_axes or any(r.draft not in waiting and not r.draft.final for r in d.binding)}
            if not held:
                return waiting
            waiting -= held

    def commit(self) -> bool:
        """Settle what waits only on itself. True if anything was settled."""
        waiting = self.closed()
        for draft in waiting:
            draft.final = True
            self.moved.extend(draft.users)
        self.run()
        return bool(waiting)

    def guess(self) -> bool:
        """Where a product with a known matrix is all that a loop goes through, the other factor is a vector; but not
        where it is made by an operator that makes matrices, as long as there is something else to try."""
        open_ = []
        for draft in self.drafts:
            if draft.op == "product" and draft.type is None and "guess" not in draft.attrs \
                    and getattr(draft.args[1].draft.attrs.get("parameter"), "rank", 1) == 1:    # as declared
                left = draft.args[0].draft.known
                if left is not None and left.rank == 2:
                    open_.append(draft)
        vector = next((draft for draft in open_ if not _makes_matrices(draft.args[1].draft)), None)
        if open_ and vector is None and self.assume():
            return True
        if open_:
            draft = vector or open_[0]
            draft.attrs["guess"] = True
            self.update(draft)
            self.run()
        return bool(open_)

    def fit(self) -> bool:
        """Noise of one deviation takes the shape of what it is put together with."""
        moved = False
        for draft in self.drafts:
            if draft.op == "noise" and draft.type is None and "fit" not in draft.attrs:
                found = _around(draft)
                if found is not None:
                    draft.attrs["fit"] = moved = found
                    self.update(draft)
        self.run()
        return bool(moved)

    def lone(self) -> bool:
        """Noise that is put together with nothing is one number."""
        open_ = [d for d in self.drafts if d.op == "noise" and d.type is None and "fit" not in d.attrs]
        for draft in open_[:1]:
            draft.attrs["fit"] = SCALAR
            self.update(draft)
            self.run()
        return bool(open_)

    def assume(self) -> bool:
        """The last resort of loops with sizes of 1, and then of scalars that no matrix goes into: one that others wait
        for is taken as it is, unless a concat is open that tells its size. If it grows after all, whoever took it is
        looked at again."""
        measured = {d.attrs.get("waits") for d in self.drafts if d.type is None}       # by dim(...)
        told = shaped_by([d for d in self.drafts if d.op == "concat" and d.type is None])
        waited_for = [d for d in self.drafts if d.known is None and d.type and not d.lacks_axes and
                      (any(u.type is None for u in d.users) and d not in told or d in measured and d.type.shape)]
        taken = [d for d in waited_for if d.type.shape] or [d for d in waited_for if not _makes_matrices(d)]
        for draft in taken[:1]:
            draft.attrs["assumed"] = True
            self.update(draft)
            self.run()
        return bool(taken)

    def verify(self) -> None:
        """Every type again, strictly, now that all are known: what was settled in a loop must agree with itself."""
        for draft in self.drafts:
            if draft.type is None or draft.type.wrong or any(r.draft.type is None or r.draft.type.wrong
                                                             for r in draft.args):
                continue
            try:
                again = draft.rule(draft)
            except Stop as stop:
                self.report(stop, draft.scope)
                continue
            except (Silent, NotYet):
                continue
            if again is not None and again != draft.type:
                self.report(Stop("E0301", f"this is {describe(again)} on one way round the loop and "
                                          f"{describe(draft.type)} on another", draft.span), draft.scope)


def _reads_itself(draft: Draft) -> bool:
    seen, waiting = set(), [draft]
    while waiting:
        for ref in waiting.pop().binding:
            if ref.draft is draft:
                return True
            if ref.draft not in seen:
                seen.add(ref.draft)
                waiting.append(ref.draft)
    return False


def _around(draft: Draft) -> "Type | None":
    """The shape of the elementwise values that a draft goes into, or what a known matrix before it wants; none where it
    goes into several, as a number may."""
    seen, waiting = {draft}, [draft]
    found: dict[tuple, tuple[Size, ...]] = {}

    def note(shape: tuple[Size, ...]) -> None:
        found.setdefault(tuple(size.value for size in shape), shape)

    while waiting:
        here = waiting.pop()
        for user in here.users:
            if user.op == "product" and user.args[1].draft is here:
                matrix = user.args[0].draft.known
                if matrix is not None and matrix.rank == 2:
                    note(matrix.shape[1:])
            if user in seen or not user.is_elementwise or user.type is WRONG:
                continue
            seen.add(user)
            if user.type is not None and user.type.shape:
                note(user.type.shape)
            else:
                waiting.append(user)
    return Type(found.popitem()[1]) if len(found) == 1 else None


def _makes_matrices(draft: Draft) -> bool:
    """Whether a draft that is not known yet goes through an operator that makes matrices."""
    seen, waiting = set(), [draft]
    while waiting:
        draft = waiting.pop()
        if draft.known is None and draft not in seen:
            if draft.op in ("outer", "transpose"):
                return True
            seen.add(draft)
            waiting += [ref.draft for ref in draft.args]
    return False


def shaped_by(sources: list[Draft]) -> set[Draft]:
    """The drafts not known yet that have, unit by unit, the shape of one of these or a larger one."""
    found, waiting = set(), list(sources)
    while waiting:
        here = waiting.pop()
        for user in here.users:
            if user not in found and user.known is None and user.shaped_by_parts \
                    and any(ref.draft is here for ref in user.binding):
                found.add(user)
                waiting.append(user)
    return found


def grows(draft: Draft) -> bool:
    """Whether this puts together itself and more."""
    parts = {ref.draft for ref in draft.args}
    return draft.op == "concat" and len(draft.args) > 1 and not parts.isdisjoint(shaped_by([draft]))


def growth(draft: Draft) -> Stop:
    return Stop("E0301", "the size of this would change each time round the loop", draft.span,
                hint="h[t-1] has the size of h; of what is put together take a part, as in concat(x, h[t-1])[0:n]")


def refuse_lists(draft: Draft) -> None:
    """Lists of labels are no values: they go from their declaration to ctc, and nowhere else."""
    given = [ref.draft.type for ref in draft.args]
    if draft.op not in ("ctc", "gap") and any(type_ is not None and type_.lists for type_ in given):
        raise Stop("E0308", "lists of labels belong in ctc, and nowhere else", draft.span)


def describe(type_: Type | None) -> str:
    """A type in words: `a vector of 64`, `a 64 x 32 matrix`, `a scalar`, `a label of 128`."""
    if type_ is None:
        return "of unknown size"
    if type_.lists:
        return f"a list of labels out of {type_.classes.value}"
    if type_.classes is not None:
        return f"a label out of {type_.classes.value}"
    sizes = [str(s.value) for s in type_.shape]
    if not sizes:
        return "a scalar"
    if len(sizes) == 1:
        return f"a vector of {sizes[0]}"
    return f"a matrix of {' x '.join(sizes)}" if len(sizes) == 2 else f"an array of {' x '.join(sizes)}"
