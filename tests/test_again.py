"""Calls like the one before them take a short way: the same results, and the same refusals as on the long way."""

import threading

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError
from rnnc.runtime import again

PROGRAM = """model m(n = 6) {
    input x : [3]
    input k : class(4)
    h = rnn(n)(x) + embed(n)(k)
    output h, best = argmax(h)
}
"""


@pytest.fixture(scope="module")
def net():
    return rnnc.compile(PROGRAM, gradient=None)


def arrays(lead, seed=0):
    random = np.random.default_rng(seed)
    return {"x": random.normal(size=(*lead, 3)).astype(np.float32),
            "k": random.integers(0, 4, lead).astype(np.int32).reshape(lead)}


def room(lead):
    return {"h": np.zeros((*lead, 6), np.float32), "best": np.zeros(lead, np.int32)}


def call(net, what, state, **more):
    return net.step(state, **more) if what == "step" else net.run(state=state, **more)


@pytest.mark.parametrize("what, lead", [("step", ()), ("step", (1,)), ("step", (2,)), ("run", (5,)), ("run", (5, 2))])
@pytest.mark.parametrize("given", [True, False])
def test_same_results(net, what, lead, given):
    streams = 2 if lead and lead[-1] == 2 else 1
    short, long = net.state(streams), net.state(streams)
    for seed in range(4):
        out, data = room(lead) if given else None, arrays(lead, seed)
        found = call(net, what, short, **data, out=out)
        assert out is None or all(found[n] is out[n] for n in out)
        assert again.again(net, what, short.copy(), data, out) is None           # a new state has no call before it
        long._like.clear()
        wanted = call(net, what, long, **data)
        assert all(found[n].tobytes() == wanted[n].tobytes() and found[n].shape == wanted[n].shape for n in wanted)
    assert short._memory[64:].tobytes() == long._memory[64:].tobytes()


def test_the_short_way_is_taken(net, monkeypatch):
    state, data = net.state(), arrays(())
    net.step(state, **data)
    monkeypatch.setattr(net, "_call", None)
    assert net.step(state, **data, out=room(()))["h"].shape == (6,)
    net.parameters["h.rnn.b"] = np.full(6, 2.0)                                  # packed anew on this way, too
    changed = net.step(state, **data)["h"]
    net.parameters["h.rnn.b"] = np.zeros(6)
    assert (changed > net.step(state, **data)["h"]).all()


def spoilt():
    x, k, out = arrays(())["x"], arrays(())["k"], room(())
    yield {"x": x}
    yield {"x": x, "k": k, "z": x}
    yield {"x": x[:2], "k": k}
    yield {"x": x.astype(complex), "k": k}
    yield {"x": x, "k": np.array(4, np.int32)}
    yield {"x": x, "k": np.array(-1, np.int32)}
    yield {"x": x, "k": np.array(0.5)}
    yield {"x": x, "k": k, "out": out | {"h": out["h"][:3]}}
    yield {"x": x, "k": k, "out": out | {"h": out["h"].astype(float)}}
    yield {"x": x, "k": k, "out": out | {"h": np.zeros(12, np.float32)[::2]}}
    yield {"x": x, "k": k, "out": out | {"g": x}}
    yield {"x": x, "k": k, "out": [1]}
    locked = np.zeros(6, np.float32)
    locked.flags.writeable = False
    yield {"x": x, "k": k, "out": out | {"h": locked}}
    shared = np.zeros(8, np.float32)
    yield {"x": shared[:3], "k": k, "out": out | {"h": shared[2:]}}
    yield {"x": x, "k": k, "out": {"h": shared[:6], "best": shared[5:6].view(np.int32).reshape(())}}


@pytest.mark.parametrize("number, arguments", list(enumerate(spoilt())))
def test_same_refusals(net, number, arguments):
    refusals = []
    for first in (True, False):
        state = net.state()
        if first:
            net.step(state, **arrays(()), out=room(()))
        before = state._memory.tobytes()
        state._like = dict(state._like)
        with pytest.raises(InputError) as caught:
            net.step(state, **arguments)
        refusals.append(str(caught.value))
        assert state._memory.tobytes() == before and not state._busy.locked()
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("first", [True, False])
def test_outputs_are_no_part_of_what_a_net_keeps(net, first):
    """Parameters were written over while they were read, and packed ones stayed as they had been."""
    state = net.state()
    own = {"net.theta": net.theta[:6], "net.gradient": net.gradient[2:8], "state": state["h.rnn.h"].reshape(6)}
    before = net.theta.tobytes(), net.gradient.tobytes()
    for what, memory in own.items():
        state.reset()
        state._like.clear()
        if first:
            net.step(state, **arrays(()), out=room(()))
        kept = state._memory.tobytes()
        with pytest.raises(InputError, match=f"^out\\['h'\\] shares memory with {what}$"):
            net.step(state, **arrays(()), out=room(()) | {"h": memory})
        assert state._memory.tobytes() == kept and (net.theta.tobytes(), net.gradient.tobytes()) == before
    with pytest.raises(InputError, match="shares memory with net.theta"):
        net.run(**arrays((1,)), out=room((1,)) | {"h": net.theta[:6].reshape(1, 6)})


def test_labels_of_many_frames(net):
    state, data = net.state(2), arrays((5, 2))
    net.run(state=state, **data)
    data["k"][3, 1] = -1
    with pytest.raises(InputError, match="label -1"):
        net.run(state=state, **data)


def test_other_shapes_types_and_orders_in_between(net):
    state, data = net.state(), arrays((1,))
    wanted = [net.run(state=state, x=data["x"], k=data["k"])["h"] for _ in range(3)]
    state.reset()
    forms = [data, {"x": data["x"].astype(float), "k": data["k"].astype(np.int64)},
             {"x": data["x"].tolist(), "k": np.ma.array(data["k"])}]
    for form, expected in zip(forms, wanted):
        assert (net.run(state=state, **form)["h"] == expected).all()


PLAIN = """model m(n = 6) {
    input x : [3]
    h = rnn(n)(x)
    output h
}
"""


def test_arrays_that_come_again_are_recognised(monkeypatch):
    net = rnnc.compile(PLAIN, gradient=None)
    short, long = net.state(), net.state()
    x, out, other = arrays(())["x"], {"h": np.zeros(6, np.float32)}, {"h": np.zeros(6, np.float32)}
    recognised = []
    seen = again.Likeness.repeated
    monkeypatch.setattr(again.Likeness, "repeated", lambda *a: recognised.append(seen(*a)) or recognised[-1])
    calls = [*[(x, out)] * 4, *[(x, other)] * 2, (x.copy(), other), *[(x, out)] * 2, (x, None), *[(x, out)] * 2]
    for number, (array, room) in enumerate(calls):
        array[:] = number                      # other numbers in the same array
        found = net.step(short, x=array, out=room)
        assert room is None or found is not room and found["h"] is room["h"]
        found.clear()                          # the caller's own
        long._like.clear()
        want = net.step(long, x=array.copy())["h"]
        assert room is None or room["h"].tobytes() == want.tobytes(), number
    assert recognised == [False, True, True, False, True, False, False, True, False, False, True]
    with pytest.raises(InputError):            # refused after pointers were moved
        net.step(short, x=np.ones(3, np.float32), out={"h": np.zeros(5, np.float32)})
    short.reset(), long.reset()
    assert net.step(short, x=x, out=out)["h"].tobytes() == net.step(long, x=x.copy())["h"].tobytes()


def test_a_state_in_use_is_refused(net):
    state, data = net.state(), arrays(())
    net.step(state, **data)
    with state._busy, pytest.raises(InputError, match="another thread"):
        net.step(state, **data)


def test_two_threads_with_two_states(net):
    found = {}

    def work(seed):
        state, frames = net.state(), [arrays((), seed * 100 + i) for i in range(200)]
        found[seed] = [net.step(state, **f)["h"].tobytes() for f in frames]
    threads = [threading.Thread(target=work, args=(seed,)) for seed in (1, 2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    for seed in (1, 2):
        state = net.state()
        for i, expected in enumerate(found[seed]):
            state._like.clear()
            assert net.step(state, **arrays((), seed * 100 + i))["h"].tobytes() == expected


def brought(what: str, x, k, on):
    """The arrays of a call in other types and orders than C wants."""
    match what:
        case "as NumPy makes them":
            return x.astype(float), k.astype(np.int64), on.astype(bool)
        case "small types":
            return np.round(x).astype(np.int8), k.astype(np.uint8), on.astype(np.float16)
        case "turned over":
            return np.asfortranarray(x), np.asfortranarray(k), np.asfortranarray(on.astype(np.int16))
    return np.repeat(x, 2, axis=1)[:, ::2], np.repeat(k, 2, axis=0)[::2], on.astype(np.float32)


@pytest.fixture(scope="module")
def flagged():
    return rnnc.compile("model m { input x : [3]\n input k : class(4)\n input on : flag\n target y : [3]\n"
                        "h = where(on, tanh(x + embed(3)(k)), h[t-1])\n output h\n loss mse(h, y) }", threads=1)


@pytest.mark.parametrize("what", ["as NumPy makes them", "small types", "turned over", "in steps"])
def test_other_types_and_orders_take_the_short_way(flagged, what, monkeypatch):
    random = np.random.default_rng(3)
    net, y = flagged, random.standard_normal((9, 2, 3)).astype(np.float32)
    calls = []
    for _ in range(3):
        x, k = random.standard_normal((9, 2, 3)).astype(np.float32), random.integers(0, 4, (9, 2)).astype(np.int32)
        on = random.integers(0, 2, (9, 2)).astype(np.uint8)
        given = dict(zip(("x", "k", "on"), brought(what, x, k, on)))
        plain = {"x": np.ascontiguousarray(given["x"], np.float32), "k": k, "on": on}
        calls.append((given, net.run(**plain)["h"], net.backprop(**plain, y=y), net.gradient.copy()))
    net.run(**calls[0][0])
    net.backprop(**calls[0][0], y=y.astype(float))
    monkeypatch.setattr(type(net._border), "gather", None)     # the long way ends here
    for given, h, loss, gradient in calls:
        assert np.array_equal(net.run(**given)["h"], h)
        assert net.backprop(**given, y=y.astype(float)) == loss and np.array_equal(net.gradient, gradient)


def test_a_copy_is_made_for_each_call(flagged):
    """What was changed in place is seen, though the same arrays come again."""
    x, k, on = np.ones((2, 1, 3)), np.zeros((2, 1), int), np.ones((2, 1), bool)
    out = {"h": np.zeros((2, 1, 3), np.float32)}
    found = []
    for i in range(4):
        x[:] = i
        found.append(flagged.run(x=x, k=k, on=on, out=out)["h"].copy())
    assert all(np.array_equal(a, flagged.run(x=np.full_like(x, i), k=k, on=on)["h"]) for i, a in enumerate(found))


@pytest.mark.parametrize("name, value, said", [
    ("k", 4, "label 4"), ("k", -1, "label -1"), ("k", 2 ** 40, "label"), ("on", 2.0, "flags are 0 or 1"),
    ("on", np.nan, "flags are 0 or 1"), ("x", 1e300, "beyond float32"), ("x", "text", "real numbers"),
    ("k", 0.5, "integer labels"), ("x", 1j, "real numbers")])
def test_the_short_way_refuses_no_less(flagged, name, value, said):
    given = {"x": np.ones((2, 1, 3)), "k": np.zeros((2, 1), np.int64), "on": np.ones((2, 1), bool)}
    flagged.run(**given)
    flagged.run(**given)
    wrong = given[name].astype(type(value))
    wrong[1, 0] = value
    with pytest.raises(InputError, match=said):
        flagged.run(**given | {name: wrong})
    flagged.run(**given)
