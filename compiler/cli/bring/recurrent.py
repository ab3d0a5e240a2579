"""LSTM, GRU and RNN of ONNX as cells: a standard one where there is one, else one written into the program."""

from dataclasses import dataclass

import numpy as np

from rnnc.cli.bring.calls import Call, at_end, at_time
from rnnc.cli.bring.cells import ACTIVATIONS, PEEPHOLES, directions, parameters
from rnnc.cli.bring.draft import Said, literal, units
from rnnc.cli.bring.units import activation
from rnnc.cli.bring.values import BACK, BATCH, LABEL, NUMBERS, TIME, UNITS, Axis, Inexpressible, Misplaced, Value

SLOTS = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}          # inputs that hold first states
STATES = {"LSTM": ("h", "c"), "GRU": ("h",), "RNN": ("h",)}
STANDARD = {("LSTM", False): "lstm", ("LSTM", True): "peephole_lstm", ("GRU", False): "gru", ("GRU", True): "gru_after",
            ("RNN", False): "rnn"}


@dataclass(frozen=True)
class Form:
    """What a layer computes, but for its size and its numbers. `option`: peepholes, or the reset after the product."""

    op: str
    option: bool
    activations: tuple[str, ...]               # texts with {0}
    clip: float
    starts: tuple[bool, ...]                   # which first states are given

    @property
    def standard(self) -> bool:
        usual = tuple(activation(name, None, None) for name in ACTIVATIONS[self.op])
        return self.activations == usual and not self.clip and not any(self.starts)


def recurrent(call: Call) -> list[Value]:
    """The output in all frames, and the last states."""
    op, attributes = call.node.op, call.node.attributes
    backward, x = directions(attributes), call.signal(0)
    if attributes.get("input_forget", 0):
        raise Inexpressible("input_forget = 1 joins two gates in a way that frameworks disagree on")
    arrays = [weight(call, i) for i in (1, 2, 3)] + [weight(call, 7) if op == "LSTM" else None]
    made = parameters(op, arrays, attributes)
    batch_first = bool(attributes.get("layout", 0))
    time, batch = (1, 0) if batch_first else (0, 1)
    check_axes(x, time, batch, arrays[0].shape[2])
    lengths(call)
    n = arrays[1].shape[2]
    starts = [first_states(call, i, len(backward), n, batch_first) for i in SLOTS[op]]
    of_streams = x.axes[batch]
    turned = x.axes[time].roles == (BACK,)
    outputs, states = [], [[] for _ in STATES[op]]
    option = arrays[3] is not None if op == "LSTM" else bool(attributes.get("linear_before_reset", 0)) and op == "GRU"
    for d, back in enumerate(backward):
        given = [s[d] for s in starts]
        form = Form(op, option, functions(op, attributes, d, len(backward)), float(attributes.get("clip", 0.0)),
                    tuple(g is not None for g in given))
        h = layer(call, form, n, back != turned, call.draft.say(x.data), given, made[d])
        outputs.append(h)
        name = call.draft.maker(int(h[0])).name
        for k, state in enumerate(STATES[op]):
            if call.node.outputs[1 + k: 2 + k] not in ((), ("",)):
                states[k].append(last(call, name, h, state, back != turned))
    T, one = x.axes[time], [Axis(len(backward))]
    data = np.stack(outputs)
    stream = [] if of_streams.roles else [1]
    frames = [of_streams, T] if batch_first else [T]
    both = [Axis(len(backward)), Axis(n)] if batch_first else [Axis(len(backward)), of_streams, Axis(n)]
    shape = stream + [len(backward), n] if batch_first else [len(backward), *stream, n]
    found = [units([*frames, *both], data.reshape(shape))]
    for parts in states:
        axes = [of_streams, *one, Axis(n)] if batch_first else [*one, of_streams, Axis(n)]
        found.append(units(axes, np.stack(parts).reshape(shape)) if parts else None)
    return found


def weight(call: Call, i: int) -> np.ndarray | None:
    value = call.given(i)
    if value is None:
        return None
    if not value.known:
        raise Inexpressible(f"its weights {call.node.inputs[i]} are not known before a run")
    return value.data


def check_axes(x: Value, time: int, batch: int, width: int) -> None:
    right = len(x.axes) == 3 and x.kind == UNITS and x.axes[time].time and not x.axes[2].roles \
        and (x.axes[batch].roles == (BATCH,) or not x.axes[batch].roles and x.axes[batch].size == 1)
    if not right or x.axes[2].size != width:
        order = "[batch, time, units]" if batch == 0 else "[time, batch, units]"
        raise Misplaced(f"its input has the axes {x}, where {order} with {width} units is wanted")


def lengths(call: Call) -> None:
    """Lengths of the sequences of a batch: here sequences of different lengths are given as such."""
    value = call.given(4)
    if value is None:
        return
    name = call.node.inputs[4]
    makers = call.draft.makers(value.data) if value.kind in (LABEL, UNITS) else []
    if makers and all(line.kind == "input" for line in makers):
        name = makers[0].name
        call.draft.notes.append(f"{name} is left out: sequences of different lengths are a list in Python, or follow "
                                "one another with starts; what ONNX writes behind their ends, zeros, there is not")
    elif not (value.known or value.kind == NUMBERS):
        raise Inexpressible(f"the lengths of its sequences are computed ({name}); make them an input of the model, or "
                            "leave them out")


def functions(op: str, attributes: dict, d: int, count: int) -> tuple[str, ...]:
    """The activations of one direction, as texts."""
    usual = ACTIVATIONS[op]
    names = attributes.get("activations") or usual * count
    if len(names) != len(usual) * count:
        raise Inexpressible(f"{len(names)} activations for {count} direction{'s' * (count > 1)}")
    # Their numbers stand in order, but only for functions that have some.
    alphas, betas = list(attributes.get("activation_alpha") or []), list(attributes.get("activation_beta") or [])
    takes = lambda name, kind: name.lower() in (
        ("affine", "scaledtanh", "hardsigmoid") if kind == "beta"
        else ("affine", "leakyrelu", "thresholdedrelu", "scaledtanh", "hardsigmoid", "elu"))
    made = []
    for name in names:
        alpha = alphas.pop(0) if alphas and takes(name, "alpha") else None
        beta = betas.pop(0) if betas and takes(name, "beta") else None
        made.append(activation(name, alpha, beta))
    return tuple(made[d * len(usual): (d + 1) * len(usual)])


def first_states(call: Call, i: int, count: int, n: int, batch_first: bool) -> list[tuple[Said, bool] | None]:
    """The first state of each direction, or None where it is zero."""
    value = call.given(i)
    if value is None:
        return [None] * count
    axes = list(value.axes)
    batch = 0 if batch_first else 1
    if len(axes) != 3 or axes[1 - batch].roles or axes[2].roles or value.roles() - {BATCH} or axes[2].size != n:
        raise Inexpressible(f"its first state {call.node.inputs[i]} has the axes {value}, where {count} times {n} "
                            "units of a batch are wanted (layers with projections have no counterpart)")
    if value.kind == NUMBERS and not value.data.any():
        return [None] * count
    data = value.data
    if not axes[batch].roles:
        at = value.within(batch)
        if data.shape[at] != 1 and (value.kind != NUMBERS or (data != data.take([0], at)).any()):
            raise Inexpressible(f"its first state {call.node.inputs[i]} differs from stream to stream")
        data = data.take(0, at)
    if data.shape != (count, n):
        raise Inexpressible(f"its first state {call.node.inputs[i]} is no {n} numbers in {count} directions")
    if value.kind == UNITS:
        if call.reading.carry and all(line.kind == "input" for line in call.draft.makers(data)):
            call.reading.carried |= {line.name for line in call.draft.makers(data)}
            return [None] * count
        if any(line.per == "frame" for line in call.draft.makers(data)):
            raise Inexpressible(f"its first state {call.node.inputs[i]} is a signal of every frame")
        return [call.draft.say(row) for row in data]
    name = f"{call.label}_{STATES[call.node.op][SLOTS[call.node.op].index(i)]}0"
    return [call.draft.say(call.parameter(i, np.ascontiguousarray(row), value.trained, name)) if row.any() else None
            for row in data]


def layer(call: Call, form: Form, n: int, back: bool, x: Said, given: list, weights: dict) -> np.ndarray:
    """One direction of a layer as an equation; the units of its output."""
    cell = STANDARD[form.op, form.option] if form.standard else own_cell(call, form)
    name = f"{cell}({n})"
    name = f"reversed({name})" if back else name
    arguments = [x, *(g for g in given if g is not None)]
    needs = frozenset().union(*(a.needs for a in arguments))
    label = f"{call.label}_back" if back else call.label
    text = f"{name}({', '.join(a.text for a in arguments)})"
    return call.draft.equation(label, text, (n,), needs, weights, per="frame")


def last(call: Call, name: str, h: np.ndarray, state: str, back: bool) -> np.ndarray:
    """The last state of one direction: backwards, that in the first frame."""
    label = f"{name}_{'memory' if state == 'c' else 'last'}"
    if state == "h":
        value = units([Axis(None, (TIME,)), Axis(len(h))], h)
        return at_time(call, value, 0, back, label, final=True).data
    text = at_end(call.draft, f"{name}.c", back)
    return call.draft.equation(label, text, (len(h),), frozenset([name]), per="sequence", final=True)


# ------------------------------------------------------------------------------------------------ cells of one's own

def own_cell(call: Call, form: Form) -> str:
    """The name of a cell that is written into the program."""
    body, cells = written(form), call.draft.cells
    base = f"onnx_{STANDARD[form.op, form.option]}"
    name, count = base, 1
    while name in cells and cells[name] != body.format(name=name):
        count += 1
        name = f"{base}_{count}"
    cells[name] = body.format(name=name)
    return name


def written(form: Form) -> str:
    """The text of a cell, with {name} for its name."""
    gates = {"LSTM": "ifgo", "GRU": "zrh", "RNN": ("",)}[form.op]
    after = form.op == "GRU" and form.option
    given = [f"{state}0" for state, there in zip(STATES[form.op], form.starts) if there]
    names = lambda kind, of=gates: ", ".join(f"{kind}{gate}" for gate in of)
    head = [f"param {names('W')} : [n, dim(x)]", f"param {names('U')} : [n, n]",
            f"param {names('b')}{', bu' if after else ''} : [n] = 0"]
    if form.op == "LSTM" and form.option:
        head.append(f"param {names('p', PEEPHOLES)} : [n] = 0")
    head += [f"init {state} = {state}0" for state, there in zip(STATES[form.op], form.starts) if there]
    lines = BODIES[form.op](form, after)
    text = "\n".join([f"    {line}" for line in head] + [""] + [f"    {line}" for line in lines])
    made = f"cell @name@(n)({', '.join(['x', *given])}) {{\n{text}\n    return h\n}}"
    made = f"# {described(form)}\n{made}"
    return made.replace("{", "{{").replace("}", "}}").replace("@name@", "{name}")


def described(form: Form) -> str:
    usual = tuple(activation(name, None, None) for name in ACTIVATIONS[form.op])
    parts = ["its first state given"] if any(form.starts) else []
    parts += ["other functions"] if form.activations != usual else []
    parts += [f"sums clipped at {form.clip:g}"] if form.clip else []
    return f"As {STANDARD[form.op, form.option]}, with {' and '.join(parts)}."


def _gate(form: Form, which: int, gate: str, more: str = "", state: str = "h[t-1]") -> str:
    return _apply(form, which, f"W{gate} @ x + U{gate} @ {state}{more} + b{gate}")


def _apply(form: Form, which: int, argument: str) -> str:
    """A function of a sum, clipped before where that is asked for."""
    text = form.activations[which]
    if form.clip:
        argument = f"clip({argument}, {literal(np.float32(-form.clip))}, {literal(np.float32(form.clip))})"
    alone = text.count("{0}") == 1 and text.startswith(text.split("(")[0] + "({0})")
    return text.replace("{0}", argument if alone else f"({argument})")


def _lstm(form: Form, _) -> list[str]:
    seen = lambda gate, c: f" + p{gate} * {c}" if form.option else ""
    return [f"i = {_gate(form, 0, 'i', seen('i', 'c[t-1]'))}", f"f = {_gate(form, 0, 'f', seen('f', 'c[t-1]'))}",
            f"g = {_gate(form, 1, 'g')}", "c = f * c[t-1] + i * g", f"o = {_gate(form, 0, 'o', seen('o', 'c'))}",
            f"h = o * {form.activations[2].replace('{0}', 'c')}"]


def _gru(form: Form, after: bool) -> list[str]:
    candidate = _apply(form, 1, "Wh @ x + bh + r * (Uh @ h[t-1] + bu)") if after else \
        _gate(form, 1, "h", state="(r * h[t-1])")
    return [f"z = {_gate(form, 0, 'z')}", f"r = {_gate(form, 0, 'r')}", f"g = {candidate}",
            "h = z * h[t-1] + (1 - z) * g"]


def _rnn(form: Form, _) -> list[str]:
    return [f"h = {_gate(form, 0, '')}"]


BODIES = {"LSTM": _lstm, "GRU": _gru, "RNN": _rnn}
RULES = {op: recurrent for op in SLOTS}
