"""A run whose state nobody keeps: the outputs of a fresh state, and nothing else is computed."""

import numpy as np
import pytest

import rnnc
from rnnc import pipeline
from rnnc.errors import Source

HEARD = """model heard(n = 5) {
    input x : [3]   input z : [n]
    param W : [n, 3]   param U : [n, n]   param a : [n]
    init h = a
    h = tanh(U @ h[t-1] + W @ x)
    c = tanh(U @ c[t-1]) + z                                    # only the loss hears of it
    late = h[t-2] + x[0]
    output h, late, moved = argmax(h) != argmax(h[t-1])
    loss sum((c - h) ^ 2)
}"""


@pytest.mark.parametrize("options", [{}, {"gradient": None}], ids=["training", "inference"])
def test_outputs_are_those_of_a_fresh_state(options):
    net, r = rnnc.compile(HEARD, cache=False, **options), np.random.default_rng(0)
    for frames, streams in ((1, 1), (40, 3), (2, 17), (40, 3), (40, 3)):
        data = {"x": r.standard_normal((frames, streams, 3)), "z": r.standard_normal((frames, streams, 5))}
        state, starts = net.state(streams=streams), r.random((frames, streams)) < 0.2
        for begins in (None, starts):
            state.reset()
            wanted = net.run(**data, state=state, starts=begins)
            assert np.any(state["c"])
            for _ in range(3):                                  # the short way, too
                found = net.run(**data, starts=begins)
                assert all(np.array_equal(found[name], wanted[name]) for name in wanted)


def test_what_only_the_state_wants_is_left_out():
    c = pipeline.emit(Source("heard.rnn", HEARD), pipeline.Options()).c
    assert c.count("if (c->keeps) run_") == 1                   # the loop of c; what prepares it is part of it
    plain = HEARD.replace("output h,", "output h, c,")
    assert "c->keeps" not in pipeline.emit(Source("heard.rnn", plain), pipeline.Options()).c


def test_random_operators_draw_as_on_a_fresh_state():
    net = rnnc.compile("""model m {
        input x : [9]   target y : [9]
        h = dropout(x, 0.5) + 0.1 * h[t-1]
        output h
        loss mse(h, y)
    }""", seed=1, cache=False)
    x = np.ones((7, 2, 9))
    wanted = net.run(x=x, state=net.state(streams=2), training=True)["h"]
    assert np.array_equal(net.run(x=x, training=True)["h"], wanted) and len(np.unique(wanted)) > 2


def test_in_c_a_state_is_left_out_on_purpose_only():
    net = rnnc.compile(HEARD, cache=False)
    module, ffi = net.module, net.module.ffi
    call = net._call({"x": np.ones((1, 1, 3)), "z": np.ones((1, 1, 5))}, None)
    made, out = net._border.results(call, None, [])
    work, packed = net._workspace(("run", 1, 1)), net._pack()
    assert module.function("run_fresh")(packed, call.struct, out, 1, 1, work, 1) == 0 and np.any(made["h"])
    code = module.function("run")(packed, ffi.NULL, call.struct, out, 1, 1, work, 1)
    assert b"state" in ffi.string(module.function("error")(code))
    assert module.function("step")(packed, ffi.NULL, call.struct, out, 1, work, 1) == code
    work, loss = net._workspace(("backprop", 1, 1)), ffi.new(net._loss)
    refused = module.function("backprop")(packed, ffi.NULL, call.struct, ffi.NULL, 1, 1, work, 1,
                                          net._vector(net.gradient), loss)
    assert refused == code
