"""Loops in which threads do not meet: values kept in registers from frame to frame, numbers a row in every lane."""

import pytest
from compare import compare

from rnnc import pipeline
from rnnc.errors import Source

# Several delays of one value, both directions, initial values, products by what differs from frame to frame.
NUMBERS = """model numbers {
    input x
    input on : flag
    input kind : class(3)
    target z
    param a, b = 0.4
    param c = -0.3
    init y = tanh(a)
    init w = 0.5
    y = (tanh(a) * y[t-1] - tanh(b) * y[t-2] + tanh(c) * y[t-5]) / 3 + x - x[t-2]
    v = where(on, v[t-1], y) * sigmoid(b + x[t-1])
    w = w[t+1] * tanh(a) / 2 + where(kind == 1, 1, v) + w[t+3] * 0.1
    n = tanh(w) + where(kind > 0, x, 0)
    output y, n
    loss (n + y - z)^2
}"""
VECTORS = """model vectors(units = 5) {
    input x : [units]
    target z : [units]
    param a, b, c : [units] = 0.3
    init y = c
    y = tanh(a * y[t-1] - b * y[t-2]) + x
    v = (tanh(c - x) * v[t+1] - v[t+4] + tanh(a) * w[t+1]) / 4 + y
    w = (tanh(a) * w[t+1] + v[t+2]) / 4
    output v
    loss mse(v, z)
}"""


@pytest.mark.parametrize("frames, streams", [(1, 1), (2, 9), (300, 2), (70, 8), (70, 9), (40, 17)])
@pytest.mark.parametrize("text, sizes", [(NUMBERS, {}), *((VECTORS, {"units": n}) for n in (5, 16, 17))],
                         ids=["numbers", "5", "16", "17"])
def test_loops_without_meetings(text, sizes, frames, streams):
    for seed in range(3):
        found = compare(pipeline.elaborated(Source("alone.rnn", text), None, sizes), "float32", seed, frames, streams)
        assert found["ratio"] is not None


def test_what_a_frame_hands_on_stays_in_registers():
    c = pipeline.emit(Source("numbers.rnn", NUMBERS), pipeline.Options()).c
    assert "y_kept2 = y_kept1;" in c and "y_kept5" not in c and "RN_SET_LANES(at_y_past5, n, " in c
    assert "w_kept3 = w_kept2;" in c and "rn_all_left(c->left + r, n, c->B, 3)" in c
    wide = pipeline.emit(Source("vectors.rnn", VECTORS), pipeline.Options(), {"units": 17}).c
    assert "RN_PAD(17) == RN_VL" in wide                       # false wherever a vector has fewer numbers
