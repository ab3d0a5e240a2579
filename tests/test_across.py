"""Time cut into lanes: loops of numbers that are linear in themselves, a vector of frames of one stream at once."""

import numpy as np
import pytest
from compare import against, call, compare, draw_data, in_segments, judges, net_of, same_bits, set_params

import rnnc
from rnnc import pipeline
from rnnc.errors import Source

# A pole that moves; two numbers that turn one another, with initial values; resets; both directions; four frames back.
POLE = """model pole {
    input x
    target z
    param a, b = 0.4
    f = sigmoid(a + x)
    y = f * y[t-1] + (1 - f) * (x - b * x[t-1])
    output y
    loss (tanh(y) - z)^2
}"""
TURNING = """model turning {
    input x
    target z
    param a, b
    init re = tanh(b)
    init im[t-1] = 0.5
    re = 0.7 * (cos(a) * re[t-1] - sin(a) * im[t-1]) + x
    im = 0.7 * (sin(a) * re[t-1] + cos(a) * im[t-1]) - re / 8
    output y = re + im * re
    loss (re * im - z)^2
}"""
RESET = """model reset {
    input x
    input on : flag
    target z
    param a, b = 0.3
    s = where(on, x, tanh(a) * s[t-1] - b * s[t-2] / 2 + x)
    w = tanh(b) * w[t+1] + s * x[t+2]
    output w, kept = s * w
    loss (w - z)^2 + abs(s)
}"""
FAR = """model far {
    input x
    target z
    param a, b
    y = tanh(a) * y[t-1] / 3 - tanh(b) * y[t-4] / 3 + x
    output y
    loss (y - z)^2
}"""
ALL = {"pole": POLE, "turning": TURNING, "reset": RESET, "far": FAR}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_against_the_oracle(name, dtype):
    graph = pipeline.elaborated(Source(f"{name}.rnn", ALL[name]))
    net, judged = net_of(graph, dtype, "all"), 0
    for seed, (frames, streams, starts) in enumerate([(100, 1, 0), (550, 1, 0), (130, 1, 3), (60, 3, 1), (40, 1, 0)]):
        data = draw_data(graph, seed, dtype, frames, streams)
        data.starts = None
        if starts:
            r = np.random.default_rng(seed)
            data.starts = np.zeros((frames, streams), np.uint8)
            data.starts[r.integers(0, frames, starts), r.integers(0, streams, starts)] = 1
        set_params(net, data)
        answers = {each: call(g, data, dtype, **({"cotangents": data.cotangents} if each == "vjp" else {}))
                   for each, g in judges(graph).items()}
        judged += against(net, graph, data, answers, dtype) is not None
    assert judged > 3


def test_what_is_linear_goes_a_vector_at_a_time():
    c = {name: pipeline.emit(Source("x.rnn", text), pipeline.Options()).c for name, text in ALL.items()}
    assert "rn_scan(1, handed, by, last);" in c["pole"]
    assert "rn_scan(2, handed, by, last);" in c["turning"]
    assert c["reset"].count("rn_scan(2, handed, by, last);") >= 2 and "rn_scan(1, handed, by, last);" in c["reset"]
    assert "rn_scan(4, handed, by, last);" in c["far"]
    for bent in ("y = tanh(y[t-1]) + x", "y = y[t-1] * y[t-1] + x", "y = x / (2 + y[t-1])", "y = 0.1 * y[t-5] + x",
                 "y = where(y[t-1] > 0, 1, y[t-1])"):
        text = "model m { input x   BENT   output y }".replace("BENT", bent)
        assert "rn_scan(1, " not in pipeline.emit(Source("x.rnn", text), pipeline.Options(gradient=None)).c


def test_explain_says_so():
    net = rnnc.compile(POLE)
    text = str(net.explain(streams=1, frames=1600))
    assert "which needs 1 number of the frame" in " ".join(text.split()) and " 1,600 steps" not in text
    assert "cut into lanes" not in str(net.explain(streams=2, frames=1600))


def sums(x, a):
    """a y[t-1] + x, one frame after another."""
    y, found = np.float32(0), []
    for t, value in enumerate(x):
        y = np.float32(a[t] * y + value)
        found.append(y)
    return np.array(found)


def test_what_is_not_finite_stays_where_it_is():
    """What a coefficient of zero forgets is forgotten, and what overflows in a product alone is not seen."""
    net = rnnc.compile("model m {\ninput x   input on : flag   input a\ny = where(on, 0, a * y[t-1]) + x\noutput y\n}",
                       gradient=None)
    run = lambda x, on, a: net.run(x=x[:, None], on=on[:, None], a=a[:, None])["y"][:, 0]
    r = np.random.default_rng(0)
    x, on, a = r.standard_normal(200).astype(np.float32), np.zeros(200, np.uint8), np.full(200, 0.5, np.float32)
    plain = run(x, on, a)
    assert np.allclose(plain, sums(x, a), rtol=1e-5, atol=1e-6)
    for wrong in (np.inf, -np.inf, np.nan):
        spoilt, reset = x.copy(), on.copy()
        spoilt[37], reset[43] = wrong, 1
        found = run(spoilt, reset, a)
        assert np.isfinite(found[:37]).all() and not np.isfinite(found[37:43]).any() and np.isfinite(found[43:]).all()
        assert np.array_equal(found[:32], plain[:32])           # whole vectors before it are as they were
        assert np.allclose(found[43:], sums(x[43:], a), rtol=1e-5, atol=1e-6)
    grown = run(np.zeros(200, np.float32), on, np.full(200, 1e20, np.float32))
    assert np.array_equal(grown, np.zeros(200))


@pytest.mark.parametrize("name", sorted({*ALL} - {"reset"}))   # that one looks ahead, so it is not cut
def test_segments_leave_the_same_bits(name, monkeypatch):
    whole, cut = (rnnc.compile(ALL[name], seed=3, memory_limit=limit, cache=False) for limit in (None, 1 << 40))
    in_segments(monkeypatch, 1)
    r = np.random.default_rng(0)
    for frames in (2100, 1024, 33):
        data = {which: r.standard_normal((frames, 1)) for which in ("x", "z")}
        starts = np.zeros((frames, 1), np.uint8)
        starts[r.integers(0, frames, 3)] = 1
        for begins in (None, starts):
            for net in (whole, cut):
                net.loss = net.backprop(**data, starts=begins)
            assert whole.loss == cut.loss and np.array_equal(whole.gradient, cut.gradient) and whole.gradient.any()


NAMED = """model named {
    input x
    target z
    param a
    by = tanh(a) * by[t-1] / 2 - last[t-1] / 3 + x[t-1]
    last = by[t-1] / 2 + 0.3 * last[t-2] + x
    handed = tanh(a) * handed[t+1] / 2 + last
    inside = handed[t-1] * x + handed[t-3]
    keeps = tanh(keeps[t-1] + x)
    output inside, handed
    loss (inside - z)^2
}"""


def test_names_of_the_c_give_way_to_signals():
    graph = pipeline.elaborated(Source("named.rnn", NAMED))
    for frames, streams in ((70, 1), (20, 3)):
        assert compare(graph, "float32", 1, frames, streams)["ratio"] is not None


@pytest.mark.parametrize("name", ALL)
def test_threads_leave_the_same_bits(name, monkeypatch):
    """A thread that has no stream leaves alone those of others, however many frames a vector does at once."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    graph = pipeline.elaborated(Source(f"{name}.rnn", ALL[name]))
    net = net_of(graph, "float32")
    for seed, (frames, streams) in enumerate([(130, 1), (70, 2), (600, 1)]):
        data = draw_data(graph, seed, "float32", frames, streams)
        data.starts = None
        set_params(net, data)
        same_bits(net, data, (1, 2, 3))


def test_chunks_whose_ring_comes_round_within_a_vector():
    """What is made is kept for one chunk of 512 frames and the few that stages look back or ahead."""
    text = """model round {
        input x
        target z
        param a = 0.9
        y = 0.4 * y[t-1] - sigmoid(x) * y[t-3] / 2 + x / (2 + tanh(a * x))
        w = tanh(w[t-1]) + y
        output w
        loss (y - z)^2
    }"""
    c = pipeline.emit(Source("round.rnn", text), pipeline.Options(dtype="float64")).c
    assert "+ RN_VL <= c->near_" in c
    net, r = rnnc.compile(text, dtype="float64", seed=1, cache=False), np.random.default_rng(0)
    for frames in (1100, 1500, 1024):
        x, z, found = r.standard_normal((frames, 1)), r.standard_normal((frames, 1)), []
        for streams in (1, 2):                                  # one goes by vectors of frames, two do not
            loss = net.backprop(x=x.repeat(streams, 1), z=z.repeat(streams, 1))
            found.append([loss, *net.gradient])
        assert np.allclose(*found, rtol=1e-10, atol=1e-13)
