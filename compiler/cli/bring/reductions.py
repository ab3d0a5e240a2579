"""Operators over the units of a frame, or over the frames of a sequence."""

import numpy as np

from rnnc.cli.bring.calls import Call, each_row, few, rows
from rnnc.cli.bring.draft import label, literal, units
from rnnc.cli.bring.values import NUMBERS, Axis, Inexpressible, Value, inserted, numbers, together

# Over the units of a vector, and over time.
REDUCE = {
    "ReduceSum": ("sum({0})", "sum_over(t, {0})"), "ReduceMean": ("mean({0})", "mean_over(t, {0})"),
    "ReduceMax": ("max({0})", "max_over(t, {0})"), "ReduceMin": ("min({0})", "-max_over(t, -{0})"),
    "ReduceL2": ("norm({0})", "sqrt(sum_over(t, {0} ^ 2))"), "ReduceL1": ("sum(abs({0}))", "sum_over(t, abs({0}))"),
    "ReduceSumSquare": ("sum({0} ^ 2)", "sum_over(t, {0} ^ 2)"), "ReduceLogSumExp": ("logsumexp({0})", None),
}
# Of several vectors, unit by unit: a list of them, their sum, their number.
ACROSS = {"sum({0})": "{1}", "mean({0})": "({1}) / {2}", "max({0})": "max({0})", "min({0})": "min({0})"}


def reduce(call: Call) -> Value:
    value = call.signal(0)
    given = call.integers(1, "axes")
    if not given and call.attribute("noop_with_empty_axes", 0):
        return value
    rank = len(value.axes)
    axes = sorted({call.axis(a, rank) for a in given}) if given else list(range(rank))
    return reduced(call, value, axes, bool(call.attribute("keepdims", 1)), *REDUCE[call.node.op])


def pooled(call: Call) -> Value:
    """The mean, or the largest, over everything after the second axis."""
    value = call.signal(0)
    of = {"GlobalAveragePool": "ReduceMean", "GlobalMaxPool": "ReduceMax"}[call.node.op]
    return reduced(call, value, list(range(2, len(value.axes))), True, *REDUCE[of])


def reduced(call: Call, value: Value, axes: list[int], keep: bool, text: str, over_time: str | None) -> Value:
    if value.kind == NUMBERS:
        raise Inexpressible(f"it is taken of numbers that are repeated over {' and '.join(sorted(value.roles()))}")
    for i in axes:
        if value.axes[i].roles and not value.axes[i].time:
            raise Inexpressible(f"it is taken over {value.axes[i]}; streams do not see each other")
    kept, made = list(range(len(value.axes))), value
    time = [i for i in axes if value.axes[i].roles]
    for i in time:
        if over_time is None or len(axes) > 1:
            raise Inexpressible(f"it is taken over time{' and units at once' if len(axes) > 1 else ''}")
        said = call.simple(call.draft.say(made.data), made.data.size) if over_time.count("{0}") > 1 else \
            call.draft.say(made.data)
        rest = [a for k, a in enumerate(made.axes) if k != i]
        made = call.equation(over_time.format(said.text), rest, made.data.shape, [said], per="sequence",
                             number=said.number)
        return inserted(made, i) if keep else made
    within = [value.within(i) for i in axes]
    found = over_units(call, value.data, within, text)
    made = units([value.axes[i] for i in kept if i not in axes], found)
    for i in axes if keep else ():
        made = inserted(made, i)
    return made


def over_units(call: Call, data: np.ndarray, axes: list[int], text: str) -> np.ndarray:
    """One unit for each row of units that lie along some axes."""
    shape = [n for i, n in enumerate(data.shape) if i not in axes]
    table = rows(data, axes)
    across = ACROSS.get(text)
    if across and 1 < table.shape[1] < len(table):              # few long vectors: unit by unit
        few(table.shape[1], "vectors")
        said = [call.draft.say(column) for column in table.T]
        made = call.equation(across.format(", ".join(s.text for s in said), " + ".join(s.text for s in said),
                                           len(said)), [Axis(len(table))], (len(table),), said)
        return made.data.reshape(shape)
    few(len(table), "rows of units")
    said = [call.draft.say(row) for row in table]
    texts = [text.format(s.text) for s in said]
    one = len(texts) == 1
    made = call.equation(texts[0] if one else f"concat({', '.join(texts)})", [Axis(len(table))], (len(table),), said,
                         number=one)
    return made.data.reshape(shape)


def softmax(call: Call) -> Value:
    value = call.signal(0)
    name = {"Softmax": "softmax", "LogSoftmax": "logsoftmax"}[call.node.op]
    old = call.network.opset < 13
    axis = call.axis(call.attribute("axis", 1 if old else -1), len(value.axes))
    axes = list(range(axis, len(value.axes))) if old else [axis]
    if len(axes) == 1 and value.axes[axis].time:
        said = call.draft.say(value.data)
        text = f"softmax_over(t, {said.text})"
        return call.equation(text if name == "softmax" else f"log({text})", list(value.axes), value.data.shape, [said],
                             number=said.number)
    over = mixed(value, axes)
    if over is not None:
        raise Inexpressible(f"it is taken over {over}" + (" and units at once" if len(axes) > 1 else ""))
    return of_rows(call, value, axes, lambda row: f"{name}({row})")


def of_rows(call: Call, value: Value, axes: list[int], text, weights=None) -> Value:
    """An operator on vectors that keeps their length, for each row of units that lie along some axes."""
    within = [value.within(i) for i in axes]
    table = rows(value.data, within)
    order = [i for i in range(value.data.ndim) if i not in within] + within
    made = each_row(call, table, text, table.shape[1], weights).reshape([value.data.shape[i] for i in order])
    return units(list(value.axes), made.transpose(np.argsort(order)))


def mixed(value: Value, axes: list[int]) -> Axis | None:
    """An axis of frames or streams among these."""
    return next((value.axes[i] for i in axes if value.axes[i].roles), None)


def layer_normalization(call: Call) -> Value:
    value, gain = call.signal(0), call[1]
    bias, epsilon = call.given(2), np.float32(call.attribute("epsilon", 1e-5))
    axes = list(range(call.axis(call.attribute("axis", -1), len(value.axes)), len(value.axes)))
    over = mixed(value, axes)
    if over is not None:
        raise Inexpressible(f"it normalises over {over}")
    if not gain.known or bias is not None and not bias.known:
        raise Inexpressible("its gain is not known before a run")
    size = int(np.prod([value.axes[i].size for i in axes]))
    spread = lambda v, fill: np.full(size, fill, np.float32) if v is None else np.broadcast_to(
        v.data, [value.axes[i].size for i in axes]).ravel()
    weights = {"g": spread(gain, 1), "b": spread(bias, 0)}
    layer = "layer_norm()" if epsilon == np.float32(1e-5) else f"layer_norm({literal(epsilon)})"
    return of_rows(call, value, axes, lambda row: f"{layer}({row})" if row else layer, weights)


def batch_normalization(call: Call) -> Value:
    """As in a run: a gain and a shift for each unit of the second axis."""
    value = call.signal(0)
    parts = [call[i] for i in range(1, 5)]
    if call.attribute("training_mode", 0) or not all(p.known for p in parts):
        raise Inexpressible("its means and variances are those of the batch")
    if len(value.axes) < 2 or value.axes[1].roles:
        raise Inexpressible(f"the second axis of {value} is no axis of units")
    gain, shift, mean, variance = (p.data.astype(np.float64) for p in parts)
    gain = gain / np.sqrt(variance + call.attribute("epsilon", 1e-5))
    shift, kind = shift - mean * gain, parts[0].data.dtype
    shape = [-1] + [1] * (len(value.axes) - 2)
    axes, (x, a, b) = together([value, *(numbers(v.astype(kind).reshape(shape)) for v in (gain, shift))])
    said = [call.draft.say(x), *(call.draft.say(call.parameter(i, np.array(v).ravel(), True))
                                 for i, v in ((1, a), (2, b)))]
    return call.equation("{1} * {0} + {2}".format(*(s.text for s in said)), axes, x.shape, said)


def argmax(call: Call) -> Value:
    value = call.signal(0)
    axis = call.axis(call.attribute("axis", 0), len(value.axes))
    if value.axes[axis].roles:
        raise Inexpressible(f"it is taken over {value.axes[axis]}")
    if value.data.size != value.axes[axis].size:
        raise Inexpressible("several labels in one frame: a program has one")
    if call.attribute("select_last_index", 0):
        raise Inexpressible("of equal units it takes the last, argmax of a program the first")
    said = call.draft.say(value.data)
    made = call.draft.equation(call.label, f"argmax({said.text})", (), said.needs)
    call.reading.classes[call.draft.maker(int(made)).name] = value.data.size
    keep = call.attribute("keepdims", 1)
    axes = [a for a in value.axes if a.roles]
    found = label(axes, made)
    for i, a in enumerate(value.axes):
        if not a.roles and (i != axis or keep):
            found = inserted(found, i)
    return found


RULES = {op: reduce for op in REDUCE} | {
    "GlobalAveragePool": pooled, "GlobalMaxPool": pooled, "Softmax": softmax, "LogSoftmax": softmax,
    "LayerNormalization": layer_normalization, "BatchNormalization": batch_normalization, "ArgMax": argmax}
