"""States: views newest last, copies, resets, streams moved, calls cut in pieces."""

import sys
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, meaning, tiny  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return tiny()


def call(net, batch, state, first, last, **more):
    part = {k: v if k == "b" else v[first:last] for k, v in batch.items() if k != "y"}
    return net.run(**part, state=state, **more)["p"]


def test_two_calls_are_one(net):
    batch = inputs(9, 2)
    whole, cut = net.state(2), net.state(2)
    wanted = call(net, batch, whole, 0, 9)
    parts = [call(net, batch, cut, *ends) for ends in ((0, 1), (1, 6), (6, 9))]
    assert np.allclose(np.concatenate(parts), wanted)
    assert (cut["h"] == whole["h"]).all() and (cut.since == 9).all()
    steps = net.state(2)
    for t in range(9):
        p = net.step(steps, **{k: batch[k][t] for k in "xkm"}, b=batch["b"])["p"]
        assert np.allclose(p, wanted[t])
    assert np.allclose(steps["h"], whole["h"])


def test_without_a_state_every_call_starts_afresh(net):
    batch = inputs(4, 2)
    assert (call(net, batch, None, 0, 4) == call(net, batch, None, 0, 4)).all()
    assert (call(net, batch, None, 0, 4) == call(net, batch, net.state(2), 0, 4)).all()


def test_views_copies_resets(net):
    batch = inputs(5, 3)
    state = net.state(3)
    call(net, batch, state, 0, 5)
    _, h = meaning(net, **batch)
    assert state["h"].shape == (1, 3, 3) and np.allclose(state["h"][-1], h[-1])
    kept = state.copy()
    state.reset(streams=[1])
    assert list(state.since) == [5, 0, 5] and not state["h"][:, 1].any() and (state["h"][:, 0] == kept["h"][:, 0]).all()
    state.reset()
    assert not state.since.any() and not state["h"].any() and (kept.since == 5).all()
    state.assign(kept)
    assert (state["h"] == kept["h"]).all()
    small = net.state(1)
    small.copy_stream(0, kept, 2)
    assert (small["h"][:, 0] == kept["h"][:, 2]).all() and small.since[0] == 5
    again = net.state(3)
    again.from_arrays(kept.to_arrays())
    assert (call(net, batch, again, 0, 5) == call(net, batch, kept, 0, 5)).all()


def test_an_assigned_state_counts_as_given(net):
    batch = inputs(3, 2)
    given = np.random.default_rng(0).normal(size=(1, 2, 3))
    state = net.state(2)
    state["h"] = given
    wanted, _ = meaning(net, **batch, h=given[0])
    assert np.allclose(call(net, batch, state, 0, 3), wanted)
    state["h"][0, 1] = 7                       # a view
    assert (state["h"][0, 1] == 7).all()


def test_starts_reset_what_came_before(net):
    batch = inputs(3, 2, starts=np.zeros((3, 2)))
    state = net.state(2)
    call(net, batch, state, 0, 3)
    starts = np.zeros((3, 2), bool)
    starts[0] = True
    assert (call(net, batch, state, 0, 3, starts=starts) == call(net, batch, None, 0, 3)).all()


@pytest.mark.parametrize("act,message", [
    (lambda s, n: s["g"], "no signal of the state is called 'g'"),
    (lambda s, n: s.__setitem__("h", np.zeros((2, 3))), r"got shape \[2, 3\], wanted \[1, 2, 3\]"),
    (lambda s, n: s.__setitem__("h", "x"), "wanted float64"),
    (lambda s, n: s.reset(streams=[2]), "stream: got 2, wanted one of 0..1"),
    (lambda s, n: s.reset(streams=-1), "stream: got -1, wanted one of 0..1"),
    (lambda s, n: s.assign(n.state(3)), "3 streams"),
    (lambda s, n: n.state(2**33), "8589934592 are more than there can be"),
    (lambda s, n: n.vjp({"state": np.zeros(3)}, **{k: v for k, v in inputs(1, 2).items() if k != "y"}),
     r"got an array of shape \[3\], wanted a dict from signal to array \(or a state\)"),
    (lambda s, n: s.copy_stream(0, n.state(1), 1), "stream: got 1, wanted one of 0..0"),
    (lambda s, n: s.from_arrays({"h": np.zeros(3)}), "no state of 2 streams"),
])
def test_refusals(net, act, message):
    with pytest.raises(InputError, match=message):
        act(net.state(2), net)


LEAKY = """model m(n = 2) {
    input x : [n]
    target y : [n]
    h = 0.5 * h[t-1] + x
    output h
    loss mse(h, y)
}"""


def test_a_state_of_another_number_type_is_refused_untouched():
    net, double = (rnnc.compile(LEAKY, dtype=dtype, gradient="all") for dtype in ("float32", "float64"))
    x, state = np.ones((3, 1, 2)), net.state(1)
    net.run(x=x, state=state)
    before, own = state.to_arrays(), double.state(1)
    for call in (lambda: double.run(x=x, state=state), lambda: double.step(state, x=x[0]),
                 lambda: double.run(x=x, state=state, probe=["h"]), lambda: double.evaluate(x=x, y=x, state=state),
                 lambda: double.backprop(x=x, y=x, state=state), lambda: double.vjp({"h": x}, x=x, state=state),
                 lambda: double.vjp({"state": state}, x=x), lambda: own.assign(state),
                 lambda: own.copy_stream(0, state, 0), lambda: own.from_arrays(before)):
        with pytest.raises(InputError, match="float32.*float64"):
            call()
    assert all((state[name] == before[name]).all() for name in state) and (state.since == 3).all()
    assert not own.since.any()
    with pytest.raises(InputError, match="another net"):
        net.run(x=x, state=rnnc.compile(LEAKY, n=3).state(1))


def test_the_c_refuses_a_state_of_another_number_type():
    net, double = (rnnc.compile(LEAKY, dtype=dtype).module for dtype in ("float32", "float64"))
    state = rnnc.State(net, 1)
    null, signals, work = double.ffi.NULL, double.ffi.new("m_inputs *"), double.ffi.new("char[]", 1 << 16)
    code = double.function("run")(work, state._pointer, signals, null, 1, 1, work, 1)
    assert "number type" in double.ffi.string(double.function("error")(code)).decode()
    assert state.since[0] == 0


def test_a_state_tells_its_names(net):
    state = net.state(2)
    assert list(state) == ["h"] and "h" in state and state.names == ("h",) and "2 streams" in repr(state)
