"""Training within a limit of memory: calls cut into segments give loss, gradient and state of the whole, to the bit."""

import re
from importlib.resources import files

import numpy as np
import pytest
from compare import draw_data, in_segments, net_of, set_params
from random_programs import draw

import rnnc
from rnnc import pipeline
from rnnc.errors import InputError, Source
from rnnc.plan.parts import parts

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
SHOWN = """
model m(n = 12) {
    input x : [8]   target y : [4]
    z     = dense(4)(lstm(n)(x))
    heard = argmax(z)
    v     = dense(3)(z)
    w     = sum(exp(v))
    output z, moved = heard != heard[t-1], steps = w - w[t-1], turns = v + v[t-2]
    loss mse(z, y)
}
"""                                                             # what is shown looks back, and no gradient needs it


LINEAR = MATRIX.replace("n = 4", "n = 32").replace("[4]", "[n]").replace("init S = 0.3\n", "")


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    """Segments are whole chunks: of some 6 rows here, so that short calls have many."""
    monkeypatch.setattr("rnnc.plan.waves.ROWS", 6)
    monkeypatch.setattr("rnnc.plan.waves.FEW", 6)
    monkeypatch.setattr("rnnc.plan.waves.FINE", 3)


def both(text: str, **options):
    """The same network without a limit, and with one."""
    return [rnnc.compile(text, seed=3, memory_limit=limit, cache=False, **options) for limit in (None, 1 << 40)]


def batch(net, frames: int, streams: int, seed: int = 0) -> dict:
    r = np.random.default_rng(seed)
    return {name: r.integers(0, s.classes, (frames, streams)) if s.kind == "class"
            else r.standard_normal((frames, streams, *s.shape)) for name, s in {**net.inputs, **net.targets}.items()}


def same(a, b) -> bool:
    """To the bit, but for the sign of zero and of a NaN."""
    return np.array_equal(np.asarray(a), np.asarray(b), equal_nan=True)


def agree(whole, cut, data: dict, streams: int, near: float = 0, **more) -> None:
    """`near`: how far apart they may be."""
    close = same if not near else lambda a, b: np.allclose(a, b, rtol=near, atol=near)
    states = [net.state(streams=streams) for net in (whole, cut)]
    for _ in range(2):                                          # the second call begins where the first one ended
        losses = [net.backprop(state=state, **data, **more) for net, state in zip((whole, cut), states)]
        assert close(*losses)
        assert close(whole.gradient, cut.gradient) and np.any(whole.gradient)
        for entry in whole.manifest["state"]:
            assert close(states[0][entry["name"]], states[1][entry["name"]])
        assert (states[0].since == states[1].since).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("text", [LSTM, DELAYS, MATRIX, SHOWN], ids=["lstm", "delays", "matrix", "shown"])
def test_segments_are_the_whole_to_the_bit(text, dtype, monkeypatch):
    whole, cut = both(text, dtype=dtype)
    for chunks, frames, streams in ((1, 23, 3), (2, 23, 3), (5, 23, 3), (1, 40, 1), (3, 40, 1), (1, 5, 9)):
        in_segments(monkeypatch, chunks)
        r = np.random.default_rng(1)
        data, starts = batch(whole, frames, streams), r.random((frames, streams)) < 0.15
        weight = r.random((frames, streams))
        weight[1:5] = 0                                         # some segments do not count at all
        agree(whole, cut, data, streams, starts=starts, weight=weight)
        agree(whole, cut, data, streams)
        agree(whole, cut, data, streams, accumulate=True)


def test_segments_with_threads(monkeypatch):
    """Small loops in a row go by finer chunks, on threads of their own."""
    monkeypatch.setattr("rnnc.plan.waves.FINE", 4)
    monkeypatch.setattr("rnnc.plan.waves.FEW", 30)
    in_segments(monkeypatch, 2)
    monkeypatch.setattr("rnnc.runtime.trial.cores", lambda: 3)
    whole, cut = both(LSTM.replace("lstm(n)(x)", "stack(3, lstm(n))(x)"))
    cut.threads = 3
    assert cut.module.function("segment_frames")(3) == 8
    agree(whole, cut, batch(whole, 50, 3), 3)


def test_signals_called_like_members_of_the_call(monkeypatch):
    """The C keeps its own words apart from the program's."""
    template = (files("rnnc.templates") / "module.c.j2").read_text(encoding="utf-8")
    body = template[:template.index("} rn_call;")].rpartition("typedef struct {")[2]
    members = re.findall(r"(\w+)[,;]", re.sub(r"/\*.*?\*/|{[{%].*?[%}]}", "", body))
    assert {"T", "since", "plan", "turn", "parts", "begins", "ends"} <= set(members)
    layers = "".join(f"    {name} = tanh(0.5 * {name}[t-1] + x)\n" for name in members)
    whole, cut = both(f"model m(n = 4) {{\n    input x : [n]   target y : [n]\n{layers}    z = {' + '.join(members)}\n"
                      f"    output z, {', '.join(members)}\n    loss mse(z + dense(n)(z), y)\n}}")
    in_segments(monkeypatch, 2)
    agree(whole, cut, batch(whole, 23, 3), 3)


def test_frames_that_nothing_counts(monkeypatch):
    in_segments(monkeypatch, 1)
    whole, cut = both(LSTM)
    data = batch(whole, 9, 2)
    losses = [net.backprop(**data, weight=np.zeros((9, 2))) for net in (whole, cut)]
    assert losses == [0, 0] and not np.any(whole.gradient) and not np.any(cut.gradient)


def test_matrices_in_chunks_of_whole_sequences(monkeypatch):
    """Whole calls ask them in chunks, segments frame by frame: the one case where a limit changes the rounding."""
    in_segments(monkeypatch, 4)
    whole, cut = both(LINEAR, dtype="float64")
    data = batch(whole, 150, 2)
    agree(whole, cut, data, 2, near=1e-12)
    cut.memory_limit = None
    agree(whole, cut, data, 2)


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
    made = pipeline.programs(pipeline.forward(graph), "parameters")["backprop"]
    assert parts(pipeline.planned_and_checked(made, "backprop")).trouble is None
    in_segments(monkeypatch, 1)
    dtype = ("float32", "float64")[seed % 2]
    found = []
    for limit in (None, 1):
        net = net_of(graph, dtype, memory_limit=limit)
        data = draw_data(graph, seed, dtype, frames=17)
        set_params(net, data)
        state = net.state(streams=data.streams)
        loss = net.backprop(**data.inputs, **data.targets, starts=data.starts, weight=data.weight, state=state)
        found.append((loss, net.gradient.copy(), *(np.array(state[s["name"]]) for s in net.manifest["state"])))
    assert all(same(a, b) for a, b in zip(*found))


def test_the_longest_segments_that_fit():
    net = rnnc.compile(LSTM, memory_limit=1 << 17, cache=False)
    frames = 4096
    data = batch(net, frames, 1)
    used = net.module.function("workspace_size_of")(2, frames, 1)
    net.backprop(**data)
    assert net._local.size <= 1 << 17 < used / 8                # bytes of this thread's workspace
    free = rnnc.compile(LSTM, cache=False)
    free.theta = net.theta
    assert net.backprop(**data) == free.backprop(**data) and same(free.gradient, net.gradient)


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


def test_a_net_compiled_without_a_limit_takes_none():
    net = rnnc.compile(LSTM)
    net.memory_limit = 1
    with pytest.raises(InputError, match="memory_limit: this net cannot go in segments; compile it with"):
        net.backprop(x=np.zeros((2, 1, 8), np.float32), y=np.zeros((2, 1, 4), np.float32))
