"""Operators that move units about, or choose some: NumPy does it with the numbers of the units."""

import numpy as np

from rnnc.cli.bring.calls import Call, at_time
from rnnc.cli.bring.values import (
    BACK,
    BATCH,
    LABEL,
    NUMBERS,
    SIZES,
    TIME,
    UNITS,
    WRITTEN_OUT,
    Axis,
    Inexpressible,
    Misplaced,
    Size,
    Value,
    inserted,
    reshaped,
    rest,
    same_along,
    sizes,
    together,
    transposed,
    without,
)
from rnnc.cli.bring.windows import LONGER


def identity(call: Call) -> Value:
    return call[0]


def dropout(call: Call) -> tuple:
    """In a run it is nothing. Its mask has no counterpart."""
    training = call.given(2)
    if training is not None and not (training.known and not training.data.any()):
        raise Inexpressible("it draws random numbers in a run, too; export the model in its evaluating mode")
    return call[0], None


def transpose(call: Call) -> Value:
    value = call[0]
    order = call.attribute("perm") or list(range(len(value.axes)))[::-1]
    return transposed(value, list(order))


def squeeze(call: Call) -> Value:
    value = call[0]
    given = call.integers(1, "axes")
    rank = len(value.axes)
    axes = [call.axis(a, rank) for a in given] if given is not None else \
        [i for i, a in enumerate(value.axes) if a.size == 1]
    for i in sorted(axes, reverse=True):
        if value.axes[i].size != 1:
            raise Inexpressible(f"it drops an axis of {value}, which is not 1 long")
        value = without(value, i)
    return value


def unsqueeze(call: Call) -> Value:
    value, axes = call[0], call.integers(1, "axes")
    rank = len(value.axes) + len(axes)
    for i in sorted(call.axis(a, rank) for a in axes):
        value = inserted(value, i)
    return value


def reshape(call: Call) -> Value:
    value, target = call[0], call.integers(1, "shape")
    keep = not call.attribute("allowzero", 0)
    if keep and any(isinstance(n, int) and n == 0 and i >= len(value.axes) for i, n in enumerate(target)):
        raise Inexpressible(f"it keeps an axis that {value} has not")
    target = [value.axes[i] if isinstance(n, int) and n == 0 and keep else n for i, n in enumerate(target)]
    try:
        return reshaped(value, target)
    except Inexpressible:
        found = reshaped(value, target, fixed=True)
        call.reading.fixed |= {(axis.roles, n): str(call.node) for axis, n in zip(found.axes, target)
                               if axis.roles and isinstance(n, int) and n > 0}
        return found


def flatten(call: Call) -> Value:
    value = call[0]
    at = call.attribute("axis", 1) % (len(value.axes) + 1)
    roles = [a for a in value.axes[:at] if a.roles]
    lengths = [a.size for a in value.axes[:at] if not a.roles]
    if not roles:
        return reshaped(value, [int(np.prod(lengths, dtype=np.int64)), -1])
    whole = Axis(None, sum((a.roles for a in roles), ()))
    return reshaped(value, [whole, -1])


def concat(call: Call) -> Value:
    values = [v for v in call.arguments if v is not None]
    kinds = {v.kind for v in values}
    if SIZES in kinds:
        return sizes([entry for v in values for entry in v.data.ravel().tolist()])
    if LABEL in kinds:
        raise Inexpressible("labels side by side are no label")
    rank = len(values[0].axes)
    at = call.axis(call.attribute("axis", 1), rank)
    for v in values:
        if len(v.axes) != rank or v.axes[at].roles:
            raise Inexpressible(f"it joins values along {v.axes[at] if len(v.axes) == rank else 'different axes'}, "
                                "of which a program sees one frame at a time")
    axes, parts = aligned(call, values, at)
    axes[at] = Axis(sum(p.shape[-1] for p in parts))
    joined = np.moveaxis(np.concatenate(parts, axis=-1), -1, sum(not a.roles for a in axes[:at]))
    kind = UNITS if UNITS in kinds else NUMBERS
    return Value(tuple(axes), joined, kind, any(v.trained for v in values))


def aligned(call: Call, values: list[Value], at: int) -> tuple[list[Axis], list[np.ndarray]]:
    """The common axes, and for each value its data with the joined axis last; numbers become lines where others are
    units."""
    axes: list[Axis] = []
    for i in range(len(values[0].axes)):
        found = list({v.axes[i].roles: v.axes[i] for v in values if v.axes[i].roles or v.kind != NUMBERS}.values())
        if len(found) > 1:
            raise Misplaced(f"axis {i} is {found[0]} in one value and {found[1]} in another")
        axes.append(found[0] if found else values[0].axes[i])
    mixed = {v.kind for v in values} == {UNITS, NUMBERS}
    parts = []
    for k, v in enumerate(values):
        v = over_frames(v, axes)
        data = v.data
        if mixed and v.kind == NUMBERS:
            data = call.parameter(k, np.ascontiguousarray(data).ravel(), v.trained).reshape(data.shape)
        parts.append(np.moveaxis(data, v.within(at), -1))
    return axes, parts


def over_frames(value: Value, axes: list[Axis]) -> Value:
    """Numbers written out for all frames and streams of the others, where they are the same in all."""
    for i, axis in enumerate(axes):
        if axis.roles and not value.axes[i].roles:
            if not same_along(value.data, value.within(i)):
                raise Inexpressible(f"its shape {value} differs along {axis}, which one frame does not see")
            data = value.data.take(0, value.within(i))
            value = rest(value, [*value.axes[:i], axis, *value.axes[i + 1:]], data)
    return value


def split(call: Call) -> list[Value]:
    value = call[0]
    at = call.axis(call.attribute("axis", 0), len(value.axes))
    if value.axes[at].roles:
        raise Inexpressible(f"it cuts {value.axes[at]} into parts, of which a program sees one frame at a time")
    lengths = call.integers(1, "split")
    if lengths is None:
        count = call.attribute("num_outputs", len(call.node.outputs))
        part = -(-value.axes[at].size // count)
        lengths = [min(part, value.axes[at].size - part * i) for i in range(count)]
    ends = np.cumsum(lengths)
    if ends[-1] != value.axes[at].size:
        raise Inexpressible(f"parts of {lengths} are not what {value} has")
    return [rest(value, list(value.axes), part)
            for part in np.split(value.data, ends[:-1], axis=value.within(at))]


def slice_(call: Call) -> Value:
    value = call[0]
    starts, ends = call.integers(1, "starts"), call.integers(2, "ends")
    axes = call.integers(3, "axes") or list(range(len(starts)))
    steps = call.integers(4) or [1] * len(starts)
    for start, end, axis, step in sorted(zip(starts, ends, axes, steps), key=lambda part: part[2]):
        value = _cut(call, value, call.axis(axis, len(value.axes)), start, end, step)
    return value


def _cut(call: Call, value: Value, axis: int, start, end, step) -> Value:
    of = value.axes[axis]
    if not of.roles:
        if any(isinstance(n, Size) for n in (start, end, step)):
            raise Inexpressible("how many units it takes depends on a length")
        where = [slice(None)] * value.data.ndim
        end = None if step < 0 and end < -of.size else end
        where[value.within(axis)] = slice(start, end, step)
        return rest(value, list(value.axes), value.data[tuple(where)])
    whole = isinstance(end, Size) and end.roles == of.roles or not isinstance(end, Size) and (
        end >= (of.size or 2 ** 31 - 1))
    first = start == 0 or isinstance(start, int) and of.size is not None and start == -of.size
    if first and step == 1 and whole:
        return value
    if of.roles == (LONGER,) and first and step == 1 and end == -of.parts[1]:
        return replaced(value, axis, Axis(None if of.size is None else of.size - of.parts[1], (TIME,)))
    if of.time and step == -1 and (start == -1 or isinstance(start, int) and start >= (of.size or 2 ** 31) - 1) \
            and isinstance(end, int) and end < -(of.size or 2 ** 31 - 1):
        return turned(value, axis)
    if of.time and step == 1:
        if isinstance(start, int) and (start == -1 or of.size is not None and start == of.size - 1) and whole:
            return inserted(at_time(call, value, axis, first=False), axis)
        if first and end == 1:
            return inserted(at_time(call, value, axis, first=True), axis)
    raise cut(of, f"takes a part of {of} ({start} to {end}{'' if step == 1 else f', step {step}'})")


def replaced(value: Value, axis: int, by: Axis) -> Value:
    return rest(value, [by if i == axis else a for i, a in enumerate(value.axes)], value.data)


def turned(value: Value, axis: int) -> Value:
    """The same frames, of which the last comes first."""
    of = value.axes[axis]
    return replaced(value, axis, Axis(of.size, (TIME,) if of.roles == (BACK,) else (BACK,)))


def reverse_sequence(call: Call) -> Value:
    """Time turned round within each sequence; its length is that of all frames, or comes from outside."""
    value, lengths = call[0], call[1]
    time = call.attribute("time_axis", 0)
    if not value.axes[time].time:
        raise Misplaced(f"it turns {value.axes[time]} round")
    makers = call.draft.makers(lengths.data) if lengths.kind in (LABEL, UNITS) else []
    if any(line.kind != "input" for line in makers):
        raise Inexpressible(f"the lengths of its sequences are computed ({call.node.inputs[1]})")
    size = value.axes[time].size
    if lengths.kind == NUMBERS and size is not None and (lengths.data != size).any():
        raise Inexpressible("it turns round a part of the frames only")
    return turned(value, time)


def cut(of: Axis, what: str) -> Inexpressible:
    hint = f"; of a sequence, only its first and its last frame can be taken. {WRITTEN_OUT}" if of.time else \
        "; streams do not see each other"
    return Inexpressible(f"it {what}{hint}")


def gather(call: Call) -> Value:
    value, index = call[0], call[1]
    at = call.axis(call.attribute("axis", 0), len(value.axes))
    if index.kind != NUMBERS or index.roles():
        raise Inexpressible(f"which entries it takes is not known before a run ({call.node.inputs[1]})")
    of, chosen = value.axes[at], index.data.astype(np.int64)
    if not of.roles:
        if chosen.size and not (-of.size <= chosen.min() and chosen.max() < of.size):
            raise Inexpressible(f"an entry outside of {value}")
        data = np.asarray(value.data.take(chosen, value.within(at)), value.data.dtype)
        axes = [*value.axes[:at], *(Axis(n) for n in chosen.shape), *value.axes[at + 1:]]
        return rest(value, axes, data)
    entry = int(chosen.flat[0]) if chosen.size == 1 else None
    last = entry == -1 or of.size is not None and entry == of.size - 1
    if of.roles == (BATCH,) and of.size == 1 and entry in (0, -1):
        found = without(value, at)
    elif of.time and (last or entry == 0):
        found = at_time(call, value, at, first=not last)
    else:
        raise cut(of, f"takes entries of {of}")
    for _ in range(chosen.ndim):
        found = inserted(found, at)
    return found


# ------------------------------------------------------------------------------------------------ shapes

def shape(call: Call) -> Value:
    entries = [Size(a.roles, a.size) if a.roles else a.size for a in call[0].axes]
    return sizes(entries[slice(call.attribute("start", 0), call.attribute("end"))])


def constant_of_shape(call: Call) -> Value:
    entries = call.integers(0)
    fill = call.attribute("value", np.zeros(1, np.float32))
    return _filled(np.asarray(fill).reshape(-1)[0], entries)


def _filled(number, entries: list) -> Value:
    axes = tuple(Axis(e.size, e.roles) if isinstance(e, Size) else Axis(e) for e in entries)
    return Value(axes, np.full([a.size for a in axes if not a.roles], number), NUMBERS)


def expand(call: Call) -> Value:
    """Single entries repeated; over time and batch they stay what they are."""
    value, target = call[0], call.integers(1)
    axes, (data, _) = together([value, _filled(0, target)])
    return Value(tuple(axes), np.array(data), value.kind, value.trained)


def tile(call: Call) -> Value:
    value, repeats = call[0], call.integers(1)
    for i, count in enumerate(repeats):
        if count == 1:
            continue
        of = value.axes[i]
        if isinstance(count, Size) and not of.roles and of.size == 1:      # one entry, again in every frame or stream
            axes = [Axis(count.size, count.roles) if k == i else a for k, a in enumerate(value.axes)]
            value = rest(value, axes, np.squeeze(value.data, value.within(i)))
        elif of.roles or isinstance(count, Size):
            raise Inexpressible(f"it repeats {of} {count} times")
        else:
            times = [count if k == value.within(i) else 1 for k in range(value.data.ndim)]
            value = rest(value, list(value.axes), np.tile(value.data, times))
    return value


RULES = {"Identity": identity, "Dropout": dropout, "Transpose": transpose,
         "Squeeze": squeeze, "Unsqueeze": unsqueeze, "Reshape": reshape, "Flatten": flatten, "Concat": concat,
         "Split": split, "Slice": slice_, "Gather": gather, "ReverseSequence": reverse_sequence, "Shape": shape,
         "ConstantOfShape": constant_of_shape, "Expand": expand, "Tile": tile}
