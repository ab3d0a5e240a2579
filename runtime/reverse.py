"""Vector times Jacobian: cotangents of outputs and of the outgoing state in, gradients of everything real out."""

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import arrays, ragged
from rnnc.runtime.state import State, refuse_foreign
from rnnc.runtime.trial import tried
from rnnc.runtime.wanted import mapping, truth
from rnnc.runtime.words import unknown


def vjp(net, cotangents: dict, state, starts, accumulate: bool, inputs: dict) -> dict:
    """See Net.vjp."""
    function = net._function("vjp")
    if ragged.is_ragged(net._border, inputs):
        raise InputError("vjp takes arrays, not lists of sequences; pack them yourself with starts=")
    cotangents = mapping("cotangents", cotangents, "output to array")
    call = net._call(inputs, state, "vjp", starts=starts, accumulate=truth("accumulate", accumulate),
                     lot=(net.seed, net.draws))
    seeds = _seeds(net, cotangents, call)
    after = _after(net, cotangents.get("state"), call.streams)
    used = net._fresh(call.streams) if state is None else state
    found = {name: np.zeros(call.arrays[name].shape, net.dtype) for name in differentiable(net)}
    before = State(net.module, call.streams)
    if call.frames == 0:
        if not accumulate:
            net.gradient.fill(0)
        if after is not None:
            before.assign(after)
        net.draws += 1
        return {**found, "state": before}
    gradients = _point(net, call, found)
    code = _locked(net, used, lambda: tried(net, "vjp", call, lambda threads: function(
        net._pack(), used._pointer, call.struct, net._border.point(call, seeds),
        net.module.ffi.NULL if after is None else after._pointer, call.frames, call.streams,
        net._workspace(("vjp", call.frames, call.streams)), threads, net._vector(net.gradient), gradients,
        before._pointer)))
    net._check(code, "vjp")
    net.draws += 1
    return {**found, "state": before}


def differentiable(net) -> list[str]:
    """Inputs that have a gradient: the real ones that are no targets."""
    listed = net.manifest.get("input_gradients")
    if listed is not None:
        return list(listed)
    return [n for n, p in net._border.ports.items() if not p.target and p.signal.kind == "real"]


def _seeds(net, cotangents: dict, call) -> dict[str, np.ndarray]:
    outputs = net._border.outputs
    for name in cotangents:
        if name not in outputs and name != "state":
            raise unknown("output", name, [*outputs, "state"])
    seeds = {}
    for name, port in outputs.items():
        if port.signal.kind != "real":
            if name in cotangents:
                raise InputError(f"{name}: whole numbers have no gradient")
            continue
        shape = call.shape(port.signal)
        if cotangents.get(name) is None:
            seeds[name] = np.zeros(shape, net.dtype)
            continue
        seeds[name] = arrays.real(cotangents[name], f"cotangent {name}", net.dtype)
        if seeds[name].shape != shape:
            raise InputError(f"cotangent {name}: got shape {list(seeds[name].shape)}, wanted {list(shape)}")
    return seeds


def _after(net, given, streams: int) -> State | None:
    """The cotangent of the outgoing state, as a state."""
    if given is None:
        return None
    if isinstance(given, State):
        refuse_foreign(given, net.module)
        if given.streams != streams:
            raise InputError(f"cotangent of the state: it has {given.streams} streams, wanted {streams}")
        return given
    made = State(net.module, streams)
    for name, value in mapping("cotangent of the state", given, "signal to array (or a state)").items():
        view, array = made[name], arrays.real(value, f"cotangent of the state, {name}", net.dtype)
        if view.dtype != net.dtype:
            raise InputError(f"cotangent of the state, {name}: labels have no gradient")
        if array.shape != view.shape:
            raise InputError(f"cotangent of the state, {name}: got shape {list(array.shape)}, wanted "
                             f"{list(view.shape)}")
        view[...] = array
    return made


def _point(net, call, found: dict[str, np.ndarray]):
    """P_gradients on arrays; NULL for a net without real inputs."""
    if not found:
        return net.module.ffi.NULL
    struct = net.module.ffi.new(f"{net.module.prefix}_gradients *")
    for name, array in found.items():
        setattr(struct, net._border.ports[name].field, net._border._pointer(call, array, net._border.numbers))
    return struct


def _locked(net, used: State, compute) -> int:
    with used._hold(), net._weights.lock:
        return compute()
