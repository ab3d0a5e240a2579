"""The gradient of a look-up: with few rows columns are added where they belong, else in a table of all classes."""

import numpy as np
import pytest
from compare import compare, in_segments

import rnnc
from rnnc import pipeline
from rnnc.errors import Source

LOOKED_UP = """model looked_up(n = 20, classes = 300) {
    input x : class(classes)
    target y : [n]
    param E : [n, classes]
    h = E @ x
    output h
    loss sum(h * y)
}"""


def nets(**options):
    return [rnnc.compile(LOOKED_UP, memory_limit=limit, cache=False, **options) for limit in (None, 1 << 40)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_of_labels(dtype, monkeypatch):
    """300 classes: up to 74 rows are few. The loss is a mean over frames."""
    whole, cut = nets(dtype=dtype)
    in_segments(monkeypatch, 1)
    r = np.random.default_rng(0)
    for frames, streams in ((1, 1), (74, 1), (75, 1), (7, 9), (600, 1), (1100, 1), (20, 40)):
        x, y = r.integers(0, 300, (frames, streams)), r.integers(-9, 9, (frames, streams, 20)).astype(dtype)
        wanted = np.zeros((20, 300))
        np.add.at(wanted.T, x.reshape(-1), y.reshape(-1, 20))
        for net in (whole, cut):
            net.gradient[...] = np.nan                          # what was there is of no account
            for times, more in ((1, {}), (2, {"accumulate": True}), (1, {})):
                net.backprop(x=x, y=y, **more)
                assert np.allclose(net.gradients["E"], times * wanted / x.size, rtol=1e-6, atol=1e-6)


def test_threads_own_rows_of_it(monkeypatch):
    monkeypatch.setattr("rnnc.runtime.trial.cores", lambda: 3)
    whole, _ = nets()
    r = np.random.default_rng(1)
    for frames in (60, 400):
        x, y = r.integers(0, 300, (frames, 2)), r.standard_normal((frames, 2, 20))
        found = []
        for threads in (1, 2, 3):
            whole.threads = threads
            whole.backprop(x=x, y=y)
            found.append(whole.gradient.copy())
        assert all(np.array_equal(found[0], other) for other in found[1:]) and found[0].any()


def test_a_label_that_only_a_look_up_reads():
    """It stands in memory, where a column is looked for."""
    text = """model chosen(n = 3, classes = 5) {
        input x : [classes]
        target z : [n]
        param E : [n, classes]
        h = tanh(E @ argmax(transpose(E) @ h[t-1] + x) + E @ argmax(x) + 0.5 * h[t-1])
        output h
        loss mse(h, z)
    }"""
    graph = pipeline.elaborated(Source("chosen.rnn", text))
    assert compare(graph, "float32", 1, 7, 2)["ratio"] is not None
