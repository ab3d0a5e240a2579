"""Type rules: what each operator does to shapes, and what it says when they do not fit.

One function per family. A rule gets a draft and gives its type, or None while it waits for an argument's; it raises
`Stop` with both sides of a conflict, each with the place where its size was declared.
"""

from math import prod

from rnnc.errors import Note, Span
from rnnc.graph.elaborate.drafts import SCALAR, WRONG, Draft, Size, Stop, Type, describe
from rnnc.graph.elaborate.hints import matrix_and_vector, number_and_vector

ONE = Size(1)


def joins(rule):
    """Marks the rules of values that have the shape of their arguments, or of the largest of them."""
    rule.elementwise = True
    return rule


def certain(rule):
    """Marks the rules that give a type before their arguments have one only where no argument can change it."""
    rule.certain = True
    return rule


def types(draft: Draft) -> list[Type] | None:
    """The arguments' types once all are known for good, else None."""
    found = [ref.draft.known for ref in draft.args]
    return None if any(f is None for f in found) else found


def differ(a: Size, b: Size, span: Span, what: str = "the two sides", hint: str | None = None) -> Stop:
    notes = tuple(Note(s.span, f"{s.value} comes from here") for s in (a, b) if s.span is not None)
    stop = Stop("E0301", f"{what} differ", span, notes, hint)
    stop.tell = lambda there: f"{what} differ: {a.told(there)} and {b.told(there)}"
    return stop


def refuse_label(type_: Type, span: Span) -> None:
    if type_.classes is not None:
        raise Stop("E0308", "a label is not a number to compute with", span,
                   hint="one_hot(x) is its vector; W @ x takes a label as it is")


def join(parts: list[Type], span: Span, what: str = "the two sides", made: Draft | None = None) -> Type:
    """The type of an elementwise operation: equal shapes, scalars fit anything, a size of 1 stretches. `made`: what is
    made of the parts, for hints."""
    best: Type | None = None
    for part in parts:
        refuse_label(part, span)
        if best is None or not best.shape:
            best = part
        elif part.shape:
            if part.rank != best.rank:
                raise Stop("E0302", f"{what} differ in rank: {describe(best)} and {describe(part)}", span,
                           hint=matrix_and_vector(made) if made is not None else None)
            sizes = []
            for a, b in zip(best.shape, part.shape):
                if a.value != b.value and 1 not in (a.value, b.value):
                    raise differ(a, b, span, what)
                sizes.append(b if a.value == 1 else a)
            best = Type(tuple(sizes))
    return best or SCALAR


@joins
def elementwise(draft: Draft) -> Type | None:
    """Arguments without a type yet are passed over: they may only make the result larger."""
    seen = [ref.draft.type for ref in draft.args if ref.draft.type is not None]
    return join(seen, draft.span, made=draft) if seen else None


@joins
def choose(draft: Draft) -> Type | None:
    """where(condition, a, b): two labels may stand for a and b."""
    condition, *sides = [ref.draft.type for ref in draft.args]
    labels = [s for s in sides if s is not None and s.classes is not None]
    if not labels:
        return elementwise(draft)
    if condition is not None and condition.shape:
        raise Stop("E0302", f"a choice between labels needs a scalar condition, not {describe(condition)}", draft.span)
    for side in sides:
        if side is not None and side.classes is None:
            refuse_label(labels[0], draft.span)
        if side is not None and side.classes != labels[0].classes:
            raise differ(labels[0].classes, side.classes, draft.span)
    return labels[0]


@joins
def compare(draft: Draft) -> Type | None:
    """Comparisons take labels too: of one another, or of a label and a number."""
    a, b = (ref.draft.type for ref in draft.args)
    if a is not None and b is not None and a.classes is not None and b.classes is not None and a.classes != b.classes:
        raise differ(a.classes, b.classes, draft.span)
    seen = [Type(t.shape) for t in (a, b) if t is not None]
    return join(seen, draft.span) if seen else None


def product(draft: Draft) -> Type | None:
    """`a @ b`. A scalar on the right counts as [1]; a label on the right takes a column."""
    left, right = (ref.draft.known for ref in draft.args)
    if left is None:
        return None
    refuse_label(left, draft.span)
    if left.rank not in (1, 2):
        raise Stop("E0304", f"the left side of @ is {describe(left)}, not a matrix", draft.span,
                   hint="use * for products with a scalar; @ binds tighter than * and /" if not left.shape else None)
    if right is None:
        if not draft.attrs.get("guess") or left.rank != 2:
            return None
        seen = draft.args[1].draft.type                      # perhaps with a size of 1 that may still grow
        return Type(left.shape[:1] + (seen.shape[1:] if seen is not None else ()))
    if right.classes is not None:
        if left.rank != 2:
            raise Stop("E0304", f"the left side of @ is {describe(left)}, not a matrix", draft.span)
        if left.shape[1] != right.classes:
            raise differ(left.shape[1], right.classes, draft.span, "columns and classes")
        return Type(left.shape[:1])
    shape = right.shape or (Size(1, "a scalar", draft.args[1].draft.span),)
    if len(shape) > 2:
        raise Stop("E0304", f"the right side of @ is {describe(right)}", draft.span)
    if left.shape[-1] != shape[0]:
        raise differ(left.shape[-1], shape[0], draft.span, "the inner sizes of @", number_and_vector(draft))
    return Type(left.shape[:-1] + shape[1:])


@certain
def dot(draft: Draft) -> Type:
    found = types(draft)
    if found is None:
        return SCALAR
    for part in found:
        refuse_label(part, draft.span)
        if part.rank > 1:
            raise Stop("E0304", f"dot takes two vectors, not {describe(part)}", draft.span)
    a, b = ((p.shape or (ONE,))[0] for p in found)
    if a != b:
        raise differ(a, b, draft.span, hint=number_and_vector(draft))
    return SCALAR


def outer(draft: Draft) -> Type | None:
    found = types(draft)
    if found is None:
        return None
    for part in found:
        refuse_label(part, draft.span)
        if part.rank > 1:
            raise Stop("E0304", f"outer takes two vectors, not {describe(part)}", draft.span)
    return Type(tuple((p.shape or (ONE,))[0] for p in found))


def transpose(draft: Draft) -> Type | None:
    found = types(draft)
    if found is None:
        return None
    if found[0].rank != 2:
        raise Stop("E0304", f"transpose takes a matrix, not {describe(found[0])}", draft.span,
                   hint="of two vectors outer(a, b) makes a matrix, dot(a, b) a number" if found[0].rank == 1 else None)
    return Type(found[0].shape[::-1])


def axis_of(draft: Draft, rank: int) -> int | None:
    """The axis asked for, counted from the end where negative."""
    axis = draft.attrs.get("axis")
    if axis is None:
        return None
    if not -rank <= axis < rank:
        raise Stop("E0305", f"there is no axis {axis}: the value has rank {rank}", draft.span)
    return axis % rank


@certain
def reduce(draft: Draft) -> Type | None:
    found = types(draft)
    if found is None:
        return SCALAR if draft.attrs.get("axis") is None and draft.op != "argmax" else None
    refuse_label(found[0], draft.span)
    axis = axis_of(draft, found[0].rank)
    if axis is None:
        return SCALAR
    return Type(found[0].shape[:axis] + found[0].shape[axis + 1:])


def argmax(draft: Draft) -> Type | None:
    """The place of the largest entry: a label, when it is one number."""
    left = reduce(draft)
    if left is None:
        return None
    given = draft.args[0].draft.known
    axis = axis_of(draft, given.rank)
    if axis is None and given.rank > 1:
        raise Stop("E0305", "argmax of a matrix needs axis = 0 or axis = 1", draft.span)
    return left if left.shape else Type((), (given.shape or (ONE,))[axis or 0])


def along(draft: Draft) -> Type | None:
    """softmax and logsoftmax keep the shape."""
    found = types(draft)
    if found is None:
        return None
    refuse_label(found[0], draft.span)
    if axis_of(draft, found[0].rank) is None and found[0].rank > 1:
        raise Stop("E0305", f"softmax of {describe(found[0])} needs axis = 0 or axis = 1", draft.span)
    return found[0]


def concat(draft: Draft) -> Type | None:
    found = types(draft)
    if found is None:
        return None
    shapes = []
    for part in found:
        refuse_label(part, draft.span)
        shapes.append(part.shape or (ONE,))
    first = shapes[0]
    axis = axis_of(draft, len(first)) or 0
    for shape in shapes[1:]:
        if len(shape) != len(first):
            raise Stop("E0302", f"the parts of concat differ in rank: {describe(Type(first))} and "
                                f"{describe(Type(shape))}", draft.span)
        for k, (a, b) in enumerate(zip(first, shape)):
            if k != axis and a != b:
                raise differ(a, b, draft.span, "the parts of concat")
    if len(shapes) == 1:
        return Type(first)
    total = Size(sum(shape[axis].value for shape in shapes), "concat", draft.span)
    return Type(first[:axis] + (total,) + first[axis + 1:])


@certain
def reshape(draft: Draft) -> Type:
    """The shape that the text gives, whatever it is of."""
    found, wanted = types(draft), draft.attrs["sizes"]()
    if found is None:
        return Type(wanted)
    refuse_label(found[0], draft.span)
    have, want = (prod(size.value for size in sizes) for sizes in (found[0].shape, wanted))
    if have != want:
        raise Stop("E0307", f"{describe(found[0])} has {have} numbers, the new shape {want}", draft.span)
    return Type(wanted)


def declared(draft: Draft) -> Type | None:
    """Parameters and filled arrays: sizes that the text gives."""
    return Type(draft.attrs["sizes"]())


def labels(draft: Draft) -> Type | None:
    """An input of labels, or of lists of labels: a scalar with a number of classes."""
    return Type((), draft.attrs["sizes"]()[0], lists=draft.attrs["kind"] == "labels")


@certain
def one_hot(draft: Draft) -> Type | None:
    given = draft.args[0].draft.known
    if given is None:
        return Type(draft.attrs["sizes"]()) if "sizes" in draft.attrs else None
    if "sizes" in draft.attrs:
        if given.shape:
            raise Stop("E0308", f"one_hot takes a label, not {describe(given)}", draft.span)
        return Type(draft.attrs["sizes"]())
    if given.classes is None:
        raise Stop("E0308", f"one_hot takes a label, not {describe(given)}", draft.span,
                   hint="give the number of classes of a computed integer: one_hot(i, n)")
    return Type((given.classes,))


@certain
def labelled(draft: Draft) -> Type:
    """Losses on logits and a label."""
    found = types(draft)
    if found is None:
        return SCALAR
    logits, label = found
    if logits.classes is not None and label.classes is None:
        raise Stop("E0308", "a label is not a number to compute with", draft.span,
                   hint=f"the logits come first, then the label: {draft.attrs['turned']}")
    refuse_label(logits, draft.span)
    if logits.rank != 1:
        raise Stop("E0304", f"{draft.attrs['name']} takes a vector of logits, not {describe(logits)}", draft.span)
    if label.shape:
        raise Stop("E0308", f"{draft.attrs['name']} takes a label, not {describe(label)}", draft.span)
    if label.classes is not None and label.classes != logits.shape[0]:
        raise differ(logits.shape[0], label.classes, draft.span, "logits and classes")
    return SCALAR


@joins
def same(draft: Draft) -> Type | None:
    """stop_gradient and the like: the type of the argument."""
    return draft.args[0].draft.type


def noise(draft: Draft) -> Type | None:
    """The shape of its deviations; of a single one that of what it goes into, once that has been found."""
    std = draft.args[0].draft.type
    if std is None:
        return None
    refuse_label(std, draft.span)
    return Type(std.shape) if std.shape else draft.attrs.get("fit")


@joins
def gap(draft: Draft) -> Type | None:
    """A part of an expression that waits for a size: nothing, then what it turned out to be."""
    return draft.args[0].draft.type if draft.args else None


def agree(draft: Draft) -> Type | None:
    """A parameter declared again by another application that shares it: the sizes must be the same."""
    first = draft.args[0].draft.known
    if first is None:
        return None
    again = draft.attrs["sizes"]()
    if len(again) == len(first.shape):
        for a, b in zip(first.shape, again):
            if a != b:
                raise differ(a, b, draft.span, "the sizes of a shared parameter")
    return SCALAR


def measured(draft: Draft) -> Type | None:
    """A loss or a metric is one number per frame."""
    found = draft.args[0].draft.known if draft.args else None
    if found is None:
        return None
    refuse_label(found, draft.span)
    if found.shape:
        raise Stop("E0602", f"{draft.attrs['label']} must be a scalar, and this is {describe(found)}", draft.span,
                   hint="sum(...) or mean(...) makes one number of it")
    return SCALAR


@joins
def signal(draft: Draft) -> Type | None:
    """An equation: its right side. While that is open, the value before the start says how large it is at least, or
    what it has to fit (`sketches.fit_in`)."""
    if not draft.args:
        return None
    value = draft.args[0].draft
    if value.known is not None or value.type is not None and value.type.shape:
        return value.type
    starts = [r.draft.type for r in draft.args[1:] if r.draft.type is not None and r.draft.type.shape]
    if starts and starts[0] is not WRONG:
        return starts[0]
    return value.type if value.type is None else draft.attrs.get("fits", value.type)


def fixed(draft: Draft) -> Type | None:
    """Leaves: the type was given when the draft was made."""
    return draft.attrs["type"]
