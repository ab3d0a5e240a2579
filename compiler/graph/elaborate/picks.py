"""Type rules of what takes a part of a value: units, ranges and rows by brackets, and `take`."""

from rnnc.errors import Span
from rnnc.graph.elaborate.drafts import Draft, Size, Stop, Type, describe
from rnnc.graph.elaborate.rules import certain, refuse_label, types


def pick(draft: Draft) -> Type | None:
    """`v[2]`, `x[0:n]`, `S[i, 0:m]`: attrs["items"] holds an int or a (low, high) for each leading axis."""
    found = types(draft)
    if found is None or draft.args[0].draft.lacks_axes:
        return None
    refuse_label(found[0], draft.span)
    shape, items = found[0].shape, draft.attrs["items"]
    if len(items) > len(shape):
        raise Stop("E0304", f"{len(items)} indices for {describe(found[0])}", draft.span)
    kept = []
    for size, item in zip(shape, items):
        low, high = bounds(item, size, draft.span)
        if not isinstance(item, int):
            kept.append(Size(high - low, "this range", draft.span))
    return Type(tuple(kept) + shape[len(items):])


def bounds(item, size: Size, span: Span) -> tuple[int, int]:
    """First and one past the last entry that an index or a range takes; negative ones count from the end."""
    if isinstance(item, int):
        if not -size.value <= item < size.value:
            raise Stop("E0306", f"index {item} is out of range: the size is {size.told(span)}", span)
        low = item % size.value
        return low, low + 1
    low, high = ends(item, size.value)
    if not 0 <= low < high <= size.value:
        raise Stop("E0306", f"the range {low}:{high} does not lie inside the size {size.told(span)}", span)
    return low, high


def ends(item: tuple[int | None, int | None], size: int) -> tuple[int, int]:
    """First and one past the last of a range, counted from the start."""
    low, high = item
    return (0 if low is None else low + size if low < 0 else low,
            size if high is None else high + size if high < 0 else high)


@certain
def take(draft: Draft) -> Type | None:
    """Of whatever index, once it is known what from."""
    values, index = (ref.draft.known for ref in draft.args)
    if values is None or draft.args[0].draft.lacks_axes:
        return None
    refuse_label(values, draft.span)
    if not values.shape:
        raise Stop("E0304", "take needs a vector or a matrix to take from, not a scalar", draft.span)
    if index is not None and index.shape:
        raise Stop("E0304", f"take picks by one integer, not by {describe(index)}", draft.span)
    return Type(values.shape[1:])
