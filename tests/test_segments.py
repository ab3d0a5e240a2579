"""Training within a limit of memory: calls cut into segments give the loss, gradient and state of the whole call."""

import numpy as np
import pytest
from compare import draw_data, net_of, set_params
from random_programs import draw

import rnnc
from rnnc import pipeline
from rnnc.errors import InputError, Source

LSTM = """
model m(n = 12) {
    input x : [8]   target y : [4]
    z = dense(4)(lstm(n)(x))
    output z
    loss mse(z, y)
}
"""
DELAYS = """
model m(n = 12) {
    input x : class(5)   target y : class(5)
    param U : [n, n]
    e = embed(n)(x)
    h = tanh(U @ h[t-3] + e[t-2] + 0.3 * h[t-1])
    z = dense(5)(dropout(h, 0.2))
    output z
    loss cross_entropy(z, y)
    loss 0.01 * sum(U * U)
}
"""
MATRIX = """
model m(n = 4) {
    input x : [3]   target y : [4]   param W : [n, 3]   param f   param a : [n]
    k = tanh(W @ x)
    S = sigmoid(f) * S[t-1] + outer(k, k[t-2])
    h = S @ k
    init S = 0.3
    init h[t-1] = a
    output h
    loss mse(h + 0.1 * h[t-1], y)
}
"""


def both(text: str, **options):
    return [rnnc.compile(text, seed=3, memory_limit=limit, **options) for limit in (None, 1 << 40)]


def batch(net, frames: int, streams: int, seed: int = 0) -> dict:
    r = np.random.default_rng(seed)
    return {name: r.integers(0, s.classes, (frames, streams)) if s.kind == "class"
            else r.standard_normal((frames, streams, *s.shape)) for name, s in {**net.inputs, **net.targets}.items()}


def force(monkeypatch, length: int) -> None:
    monkeypatch.setattr("rnnc.runtime.segments.segment", lambda net, limit, frames, streams: limit and length)


def agree(whole, cut, data: dict, frames: int, streams: int, **more) -> None:
    states = [net.state(streams=streams) for net in (whole, cut)]
    for _ in range(2):                                          # the second call begins where the first one ended
        losses = [net.backprop(state=state, **data, **more) for net, state in zip((whole, cut), states)]
        scale = max(1e-3, np.abs(whole.gradient).max())
        assert losses[1] == pytest.approx(losses[0], rel=1e-12, abs=1e-13)
        assert np.abs(whole.gradient - cut.gradient).max() <= 1e-12 * scale
        for entry in whole.manifest["state"]:
            assert np.allclose(states[0][entry["name"]], states[1][entry["name"]], rtol=1e-12, atol=1e-13)
        assert (states[0].since == states[1].since).all()


@pytest.mark.parametrize("text", [LSTM, DELAYS, MATRIX], ids=["lstm", "delays", "matrix"])
@pytest.mark.parametrize("length", [1, 2, 5, 30])
def test_segments_are_the_whole(text, length, monkeypatch):
    force(monkeypatch, length)
    whole, cut = both(text, dtype="float64")
    frames, streams = 23, 3
    r = np.random.default_rng(1)
    data, starts = batch(whole, frames, streams), r.random((frames, streams)) < 0.15
    weight = r.random((frames, streams))
    weight[4:12] = 0                                            # some segments do not count at all
    agree(whole, cut, data, frames, streams, starts=starts, weight=weight)
    agree(whole, cut, data, frames, streams)
    agree(whole, cut, data, frames, streams, weight=np.zeros((frames, streams)))
    agree(whole, cut, data, frames, streams, accumulate=True)


@pytest.mark.parametrize("seed", [2, 6, 26, 27, 32, 36, 39, 47, 50, 59, 72, 76])     # of those that can be cut, most
def test_random_programs_in_segments(seed, monkeypatch):
    program = draw(seed)
    graph = pipeline.elaborated(Source("random.rnn", program.text), None, program.sizes)
    if not graph.losses:
        pytest.skip("this program has no loss")
    try:
        pipeline.refuse_to_cut(graph)
    except InputError:
        pytest.skip("this program looks ahead, or has values of sequences")
    force(monkeypatch, 2)
    net = net_of(graph, "float64", memory_limit=1)
    data = draw_data(graph, seed, "float64", frames=7)
    set_params(net, data)
    found = []
    for limit in (None, 1):
        net.memory_limit, net.draws = limit, 0
        state = net.state(streams=data.streams)
        loss = net.backprop(**data.inputs, **data.targets, starts=data.starts, weight=data.weight, state=state)
        found.append((loss, net.gradient.copy(), [np.array(state[s["name"]]) for s in net.manifest["state"]]))
    (loss, gradient, state), (loss_, gradient_, state_) = found
    assert loss_ == pytest.approx(loss, rel=1e-9, abs=1e-11)
    assert np.allclose(gradient, gradient_, rtol=1e-7, atol=1e-9 * max(1, np.abs(gradient).max(initial=0)))
    assert all(np.allclose(a, b, rtol=1e-9, atol=1e-11) for a, b in zip(state, state_))


def test_the_longest_segments_that_fit():
    net = rnnc.compile(LSTM, memory_limit=1 << 17)
    frames = 4096
    data = batch(net, frames, 1)
    used = net.module.function("workspace_size_of")(2, frames, 1)
    net.backprop(**data)
    assert net._local.size <= 1 << 17 < used / 8                # bytes of this thread's workspace
    free = rnnc.compile(LSTM)
    free.theta = net.theta
    free.backprop(**data)
    assert np.abs(free.gradient - net.gradient).max() <= 1e-4 * np.abs(free.gradient).max()
    short = batch(net, 3, 1)                                    # what fits is computed at once: the same bits
    assert net.backprop(**short) == free.backprop(**short) and (net.gradient == free.gradient).all()


def test_what_cannot_be_done_is_refused():
    net = rnnc.compile(LSTM, memory_limit=1000)
    with pytest.raises(InputError, match="1000 bytes are too few for 50 frames of 2 streams, which need at least"):
        net.backprop(**batch(net, 50, 2))
    per_sequence = ("model m {\ninput x : [2]\ninput q : [2] per sequence\ntarget y : [2]\nparam a\n"
                    "h = 0.5 * h[t-1] + a * x + q\noutput h\nloss mse(h, y)\n}\n")
    for text, why in ((LSTM.replace("lstm(n)(x)", "reversed(lstm(n))(x)"), "is read before its frame has come"),
                      (per_sequence, "q has one value for a whole sequence")):
        with pytest.raises(InputError, match=why):
            rnnc.compile(text, memory_limit=10**6)
    for wrong in (0, -1, 2.5, "1G", True):
        with pytest.raises(InputError, match="memory_limit"):
            rnnc.compile(LSTM, memory_limit=wrong)
    assert rnnc.compile(LSTM, memory_limit=10, gradient=None).run(**{"x": np.zeros((3, 1, 8))})
