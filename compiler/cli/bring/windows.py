"""Convolutions over time, and the padding that goes with them: each frame sees some of its neighbours.

A program has as many frames behind a convolution as before it. So the zeros with which a file pads time, and the frames
more that it has in between and cuts off again, are kept as a role of the axis, which nothing but these operators takes.
"""

import re

import numpy as np

from rnnc.cli.bring.calls import Call
from rnnc.cli.bring.draft import units
from rnnc.cli.bring.values import TIME, UNITS, Axis, Inexpressible, Value, rest

CONVOLUTION = """# Each frame sees k frames, `step` apart, the first `before` frames earlier; zeros where none are.
cell convolution(n, k, step, before)(x) {
    param W : [k, n, dim(x)]
    param b : [n] = 0

    return sum(i in 0..k : W[i] @ x[t+i*step-before]) + b
}"""
DEPTHWISE = """# As a convolution, but each unit sees itself alone.
cell depthwise(k, step, before)(x) {
    param W : [k, dim(x)]
    param b : [dim(x)] = 0

    return sum(i in 0..k : W[i] * x[t+i*step-before]) + b
}"""
PADDED, LONGER = "time with zeros around it", "time and some frames more"


def pad(call: Call) -> Value:
    """Zeros before and behind time; and units more, of any number."""
    value, amounts = call.signal(0), call.integers(1, "pads")
    fill = call.given(2)
    number = float(fill.data.reshape(-1)[0]) if fill is not None and fill.known else call.attribute("value", 0.0)
    if call.attribute("mode", "constant") != "constant":
        raise Inexpressible(f"padding by {call.attribute('mode')} has no counterpart; padding with zeros has")
    rank = len(value.axes)
    axes = [call.axis(a, rank) for a in call.integers(3) or range(rank)]
    if len(amounts) != 2 * len(axes):
        raise Inexpressible(f"{len(amounts)} amounts for {len(axes)} axes")
    around = {a: (before, behind) for a, before, behind in zip(axes, amounts, amounts[len(axes):]) if before or behind}
    for axis, (before, behind) in around.items():
        of = value.axes[axis]
        if of.roles != (TIME,) or number or min(before, behind) < 0:
            raise Inexpressible(f"it pads {of} by {before} and {behind}; time alone can be padded, with zeros, before "
                                "a convolution")
        marked = Axis(of.size, (PADDED,), (before, behind))
        value = rest(value, [marked if i == axis else a for i, a in enumerate(value.axes)], value.data)
    return value


def conv(call: Call) -> Value:
    """[batch, units, time], with a kernel [out, in, k]."""
    value, kernel, bias = call.signal(0), call[1], call.given(2)
    if not kernel.known or bias is not None and not bias.known:
        raise Inexpressible("its kernel is not known before a run")
    roles = value.axes[-1].roles if value.axes else ()
    if len(value.axes) != 3 or kernel.data.ndim != 3 or value.axes[1].roles or roles not in ((TIME,), (PADDED,)):
        raise Inexpressible(f"a convolution of {value}; one of [batch, units, time], over time, is wanted")
    w, group = kernel.data, call.attribute("group", 1)
    step, k = (call.attribute("dilations") or [1])[0], w.shape[2]
    if (call.attribute("strides") or [1])[0] != 1:
        raise Inexpressible("it leaves out frames (strides above 1); a program has as many behind it as before")
    before, behind = paddings(call, (k - 1) * step)
    if roles == (PADDED,):
        before, behind = before + value.axes[2].parts[0], behind + value.axes[2].parts[1]
    more = before + behind - (k - 1) * step
    if more < 0:
        raise Inexpressible(f"it has {-more} frames less than its input; a program has as many. Pad the input by "
                            f"{(k - 1) * step} in all")
    if value.kind != UNITS or has_start(call, value):
        raise Inexpressible("beyond the sequence its input is not zero here: it is a first state, or one value for all "
                            "frames")
    said, out = call.draft.say(value.data), len(w)
    weights = {"b": np.zeros(out, w.dtype) if bias is None else bias.data}
    if group == 1 and w.shape[1] == value.data.size:
        if before == k - 1 and step == 1:
            text, weights["W"] = f"conv({out}, {k})", w[:, :, ::-1].transpose(2, 0, 1)
        else:
            call.draft.cells["convolution"] = CONVOLUTION
            text, weights["W"] = f"convolution({out}, {k}, {step}, {before})", w.transpose(2, 0, 1)
    elif group == out == value.data.size and w.shape[1] == 1:
        call.draft.cells["depthwise"] = DEPTHWISE
        text, weights["W"] = f"depthwise({k}, {step}, {before})", w[:, 0].T
    else:
        raise Inexpressible(f"a kernel of shape {list(w.shape)} in {group} groups for {value.data.size} units")
    made = call.equation(f"{text}({said.text})", [], (out,), [said], weights, per="frame")
    base = value.axes[2].size
    time = Axis(None if base is None else base + more, (LONGER,), (0, more)) if more else Axis(base, (TIME,))
    axes = [value.axes[0], Axis(out), time]
    return units(axes, made.data if value.axes[0].roles else made.data[None])


def paddings(call: Call, whole: int) -> tuple[int, int]:
    """Zeros before and behind, of the node itself."""
    auto = call.attribute("auto_pad", "NOTSET")
    if auto == "SAME_UPPER":
        return whole // 2, whole - whole // 2
    if auto == "SAME_LOWER":
        return whole - whole // 2, whole // 2
    pads = call.attribute("pads") or [0, 0]
    return (0, 0) if auto == "VALID" else (pads[0], pads[1])


def has_start(call: Call, value: Value) -> bool:
    """Whether some unit comes from a cell whose first state is given, or is the same in all frames and beyond."""
    for line in call.draft.makers(value.data):
        if line.per != "frame":
            return True
        cell = re.match(r"(?:reversed\()?(\w+)\(", line.text) if line.kind == "equation" else None
        if cell and "    init " in call.draft.cells.get(cell[1], ""):
            return True
    return False


RULES = {"Pad": pad, "Conv": conv}
