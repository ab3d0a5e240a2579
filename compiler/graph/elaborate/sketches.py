"""Shapes known in part, for loops in which one size of a matrix follows from another.

In `S = S[t-1] + outer(x, tanh(S[t-1] @ q))` the rows of S are those of x, and `S[t-1] @ q` needs no more than the rows
of S to have a size. In `S = g * concat(reshape(x, [1, n]), S[t-1][0:3, :])` the concat tells that S has two axes, and
so what the range takes. The rules of types know a shape or nothing; here None stands for each size that is still open,
and what comes out whole is handed to the engine, whose last look judges it by the rules.
"""

from rnnc.graph.elaborate.drafts import Draft, Engine, Size, Type, shaped_by
from rnnc.graph.elaborate.picks import ends
from rnnc.graph.elaborate.rules import ONE

Sketch = tuple                                 # of a Size or None for each axis


def settle(engine: Engine, ones: bool = False) -> bool:
    """Give each value whose sketch is whole the type of it. `ones`: a size of 1 counts although what it is put together
    with is not known, as it may then turn out larger."""
    found = draw(engine.drafts, ones)
    return hand(engine, {draft: sketch for draft, sketch in found.items() if draft.type is None})


def axes(engine: Engine) -> bool:
    """What a loop only picks from has the axes that are picked along, and no more: `s[t-1][1]` is a number, and
    `q[t-1][0:3]` a vector. Those with the most are looked at first, as they may tell of the others."""
    found = draw(engine.drafts, False)
    picked = {"pick": lambda draft: len(draft.attrs["items"]), "take": lambda draft: 1}
    open_ = {draft: picked[draft.op](draft) for draft in engine.drafts if draft.op in picked and draft.type is None}
    for most in sorted(set(open_.values()), reverse=True):
        told = {}
        for draft, count in open_.items():
            inner = draft.args[0].draft
            if count == most and inner.known is None and inner not in found:
                inner.attrs["axes"] = max(most, inner.attrs.get("axes", 0))
                told[draft] = SKETCHES[draft.op](draft, (None,) * most)
        if hand(engine, told):
            return True
    return False


def fit_in(engine: Engine) -> bool:
    """A loop that would be settled as a number, for nothing in it is larger, is a vector where it has to be one: in
    `g = g[t-1] + dot(g[t-1], x)` as long as x, in `W @ g[t-1]` as W is wide, as logits as many as there are classes."""
    closed = engine.closed()
    for draft in engine.drafts:
        if draft.op in PARTNERS:
            for ref, size in PARTNERS[draft.op](draft):
                made = looped(ref.draft, closed) if size is not None and size.value != 1 else None
                if made is not None and "fits" not in made.attrs:
                    made.attrs["fits"] = Type((size,))
                    engine.update(made)
                    engine.run()
                    return True
    return False


def looped(draft: Draft, closed: set[Draft]) -> Draft | None:
    """The signal of a loop of numbers that a value has its shape from, if there is one alone."""
    made, seen = None, set()
    while draft not in seen and draft.known is None and draft in closed and draft.is_elementwise \
            and not draft.type.shape:
        seen.add(draft)
        made = draft if draft.op == "signal" else made
        more = {ref.draft for ref in draft.binding if ref.draft.known is None}
        if len(more) != 1:
            break
        draft = more.pop()
    return made if made is not None and made in shaped_by([made]) else None


def _first(draft: Draft) -> Size | None:
    return draft.known.shape[0] if draft.known is not None and len(draft.known.shape) == 1 else None


def _dotted(draft: Draft):
    a, b = draft.args
    return (a, _first(b.draft)), (b, _first(a.draft))


def _multiplied(draft: Draft):
    left = draft.args[0].draft.known
    return ((draft.args[1], left.shape[1] if left is not None and left.rank == 2 else None),)


def _chosen(draft: Draft):
    label = draft.args[1].draft.known
    return ((draft.args[0], label.classes if label is not None else None),)


PARTNERS = {"dot": _dotted, "product": _multiplied,
            **dict.fromkeys(("cross_entropy", "hinge", "squared_hinge"), _chosen)}


def hand(engine: Engine, found: dict[Draft, Sketch]) -> bool:
    """Whole sketches become types."""
    whole = [draft for draft, sketch in found.items() if None not in sketch]
    for draft in whole:
        draft.attrs["sketch"] = Type(found[draft])
        engine.update(draft)
    engine.run()
    return bool(whole)


def draw(drafts: list[Draft], ones: bool) -> dict[Draft, Sketch]:
    """What can be told of every value whose type is open, round loops too. A type that may grow keeps its rank."""
    found: dict[Draft, Sketch] = {
        draft: tuple(size if size.value != 1 else None for size in draft.type.shape)
        for draft in drafts if draft.known is None and draft.type is not None and draft.type.shape}

    def of(draft: Draft) -> Sketch | None:
        return draft.known.shape if draft.known is not None and not draft.known.wrong else found.get(draft)

    waiting = [draft for draft in reversed(drafts) if draft.known is None and "sketch" not in draft.attrs]
    open_ = set(waiting)
    while waiting:
        draft = waiting.pop()
        parts = [of(ref.draft) for ref in draft.binding]
        if draft.is_elementwise:
            sketch = joined(parts, ones)
        else:
            sketch = SKETCHES[draft.op](draft, *parts) if draft.op in SKETCHES else None
        more = refined(found.get(draft), sketch)
        if more != found.get(draft):
            found[draft] = more
            waiting += [user for user in draft.users if user in open_]
    return found


def refined(before: Sketch | None, now: Sketch | None) -> Sketch | None:
    """What was told once is not taken back, so that an end is reached."""
    if before is None or now is None or len(before) != len(now):
        return now if before is None else before
    return tuple(new if old is None else old for old, new in zip(before, now))


def joined(parts: list[Sketch | None], ones: bool) -> Sketch | None:
    """Equal ranks, scalars fit any; a size that is known stands for all, one of 1 only where no other can come."""
    shaped = [part for part in parts if part]
    if parts and all(part == () for part in parts):
        return ()
    if not shaped or any(len(part) != len(shaped[0]) for part in shaped):
        return None
    sizes = []
    for column in zip(*shaped):
        known = [size for size in column if size is not None]
        larger = [size for size in known if size.value != 1]
        alone = ones or None not in parts and None not in column
        sizes.append(larger[0] if larger else known[0] if known and alone else None)
    return tuple(sizes)


def _product(draft: Draft, left: Sketch | None, right: Sketch | None) -> Sketch | None:
    return left[:-1] + right[1:] if left and right is not None else None


def _outer(draft: Draft, *parts: Sketch | None) -> Sketch:
    return tuple(part[0] if part else None for part in parts)


def _transpose(draft: Draft, inner: Sketch | None) -> Sketch | None:
    return inner[::-1] if inner else (None, None)


def _reduce(draft: Draft, inner: Sketch | None) -> Sketch | None:
    axis = draft.attrs.get("axis")
    if inner is None or axis is None or not -len(inner) <= axis < len(inner):
        return None
    return tuple(size for place, size in enumerate(inner) if place != axis % len(inner))


def _along(draft: Draft, inner: Sketch | None) -> Sketch | None:
    return inner


def _concat(draft: Draft, *parts: Sketch | None) -> Sketch | None:
    told = [part or (ONE,) for part in parts if part is not None]
    axis = draft.attrs["axis"]
    if not told or any(len(part) != len(told[0]) for part in told) or not -len(told[0]) <= axis < len(told[0]):
        return None
    sizes = [next((size for size in column if size is not None), None) for column in zip(*told)]
    along = [part[axis] for part in told]
    open_ = len(told) < len(parts) or None in along
    sizes[axis] = None if open_ else Size(sum(size.value for size in along), "concat", draft.span)
    return tuple(sizes)


def _pick(draft: Draft, inner: Sketch | None) -> Sketch | None:
    items = draft.attrs["items"]
    if inner is None or len(items) > len(inner):
        return None
    return (*(_range(item, size, draft) for item, size in zip(items, inner) if not isinstance(item, int)),
            *inner[len(items):])


def _range(item: tuple[int | None, int | None], size: Size | None, draft: Draft) -> Size | None:
    """How many a range takes: one that counts from the start, and has an end, tells it by itself."""
    low, high = item
    if size is None and (high is None or high < 0 or (low or 0) < 0):
        return None
    low, high = ends(item, size.value if size is not None else 0)
    return Size(high - low, "this range", draft.span) if high > low else None


def _take(draft: Draft, values: Sketch | None, index: Sketch | None = None) -> Sketch | None:
    return values[1:] if values else None


SKETCHES = {"product": _product, "outer": _outer, "transpose": _transpose, "softmax": _along, "logsoftmax": _along,
            "concat": _concat, "pick": _pick, "take": _take,
            **dict.fromkeys(("sum", "mean", "max", "min", "logsumexp"), _reduce)}
