"""Shapes known in part, for loops in which one size of a matrix follows from another.

In `S = S[t-1] + outer(x, tanh(S[t-1] @ q))` the rows of S are those of x, and `S[t-1] @ q` needs no more than the rows
of S to have a size. The rules of types know a shape or nothing; here None stands for each size that is still open, and
what comes out whole is handed to the engine, whose last look judges it by the rules.
"""

from rnnc.graph.elaborate.drafts import Draft, Engine, Type

Sketch = tuple                                 # of a Size or None for each axis


def settle(engine: Engine, ones: bool = False) -> bool:
    """Give each value whose sketch is whole the type of it. `ones`: a size of 1 counts although what it is put together
    with is not known, as it may then turn out larger."""
    found = draw(engine.drafts, ones)
    whole = [draft for draft, sketch in found.items() if draft.type is None and None not in sketch]
    for draft in whole:
        draft.attrs["sketch"] = Type(found[draft])
        engine.update(draft)
    engine.run()
    return bool(whole)


def draw(drafts: list[Draft], ones: bool) -> dict[Draft, Sketch]:
    """What can be told of every value whose type is open, round loops too."""
    found: dict[Draft, Sketch] = {}

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
    if not before or not now or len(before) != len(now):
        return before or now
    return tuple(new if old is None else old for old, new in zip(before, now))


def joined(parts: list[Sketch | None], ones: bool) -> Sketch | None:
    """Equal ranks, scalars fit any; a size that is known stands for all, one of 1 only where no other can come."""
    shaped = [part for part in parts if part]
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


SKETCHES = {"product": _product, "outer": _outer, "transpose": _transpose, "softmax": _along, "logsoftmax": _along,
            **dict.fromkeys(("sum", "mean", "max", "min", "logsumexp"), _reduce)}
