"""check_numbers: the first value of a call that is no finite number, by equation, frame, stream and unit.

The call itself runs at full speed; only when its results are bad is it repeated with every signal as an output, from
the state it began with.
"""

import numpy as np

from rnnc.errors import InputError, NumberError
from rnnc.runtime.probe import probed
from rnnc.runtime.words import place


def check_inputs(net, call) -> None:
    """Targets of frames that have no weight may be anything."""
    for name, array in call.arrays.items():
        port = net._border.ports[name]
        per = port.signal.per
        if port.target and per == "frame" and call.weight is not None:
            counts = (call.weight != 0).reshape(call.weight.shape + (1,) * len(port.signal.shape))
            array = np.where(counts, array, 0)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise InputError(f"{name}: {_place(array, not call.step and per == 'frame', call.bare, per)}")
    _check_parameters(net)


def _check_parameters(net) -> None:
    if np.isfinite(net.theta).all():
        return
    for name, value in net.parameters.items():
        if not np.isfinite(value).all():
            raise NumberError(f"parameter {name} holds {_first(value)[1]} at {list(_first(value)[0])}")


def check_results(net, what: str, call, before, state, starts, answer) -> None:
    """Raises NumberError and puts the state back if a call left anything that is not finite."""
    values = list(answer.values()) if isinstance(answer, dict) else [answer]
    values += [state[name] for name in state.names]
    if what == "backprop":
        values.append(net.gradient)
    if all(np.isfinite(v).all() for v in values):
        return
    try:
        raise NumberError(f"{what}: {_culprit(net, what, call, before, starts)}")
    finally:
        state.assign(before)


def _culprit(net, what: str, call, before, starts) -> str:
    """The earliest bad frame, and in it the first equation of the program's order. What is made of whole sequences
    comes after all frames of what these are made of."""
    blind = [t for t in net.targets if t not in call.arrays]      # nothing that depends on these was computed
    probes = [p for p in net.manifest.get("probes") or [] if not (blind and (p["name"] in blind or p.get("targets")))]
    names, after = [p["name"] for p in probes], [p.get("after", 0) for p in probes]
    lines = {p["name"]: p.get("line") for p in probes}
    if names and net._make_variant is not None:
        variant = probed(net, names, call.arrays, what == "backprop")
        framed = lambda n: call.step and net._border.ports[n].signal.per == "frame"
        arrays = {n: a[None] if framed(n) else a for n, a in call.arrays.items()} | call.lists
        begin = None if starts is None else (np.asarray(starts)[None] if call.step else starts)
        found = variant.run(state=before.copy(), starts=begin, **arrays)
        worst = None
        for order, name in enumerate(names):
            bad = np.argwhere(~np.isfinite(found[name]))
            frame = bad[0][0] if len(bad) and variant.outputs[name].per == "frame" else 0
            if len(bad) and (worst is None or (after[order], frame, order) < worst[:3]):
                worst = (after[order], frame, order, name)
        if worst is not None:
            name = worst[3]
            per = variant.outputs[name].per
            return f"{name}{place(lines[name])}: {_place(found[name], per == 'frame', call.bare, per)}"
    for name in net.gradients:
        if not np.isfinite(net.gradients[name]).all():
            where, value = _first(net.gradients[name])
            return f"gradient of {name}: {value} at {list(where)}; every signal of the forward computation is finite"
    return "the result is not finite; every named signal is"


def _first(array: np.ndarray) -> tuple[tuple[int, ...], object]:
    where = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
    return where, array[where]


def _place(array: np.ndarray, framed: bool, bare: bool, per: str = "frame") -> str:
    """`nan at frame 3, stream 0, unit 5`, `nan at sequence 2, unit 5`."""
    where, value = _first(array)
    axes = ["sequence"] if per == "sequence" else (["frame"] if framed else []) + ([] if bare else ["stream"])
    parts = [f"{axis} {i}" for axis, i in zip(axes, where)]
    units = where[len(axes):]
    if units:
        parts.append(f"unit {units[0] if len(units) == 1 else list(units)}")
    return f"{value} at {', '.join(parts)}"
