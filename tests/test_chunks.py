"""Calls that go through time in chunks, which are long but here of one frame and of a few: the same numbers, outputs,
gradients and states."""

import pytest
from compare import compare, continued

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan import waves

# A loop backwards whose last frames, which the state takes, are made first and long gone at the end of the call.
BACKWARDS = """model backwards {
    input x : [5]
    target y : [5]
    param w : [5] = 1
    b = reversed(rnn(6))(x)
    later = b[t-2]
    output z = dense(3)(b)
    loss mse(w * x, y)
}"""

# A loop backwards reads b, and a too, of which b needs earlier frames: those two do not go chunk by chunk with it, the
# last frames first.
BEHIND_IT = """model behind_it {
    input x : [5]
    target y : [3]
    s = rnn(4)(x)
    param A : [6, 4]
    param B : [6, 6]
    a = tanh(A @ s)
    b = tanh(B @ a[t-3])
    param W : [6, 6]
    h = tanh(W @ h[t+1] + a * b)
    output z = dense(3)(h)
    loss mse(z, y)
}"""


@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("text", [BACKWARDS, BEHIND_IT], ids=["backwards", "behind_it"])
def test_chunks(text, rows, monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(waves, "ROWS", rows)
    monkeypatch.setattr(waves, "FEW", rows)
    monkeypatch.setattr(waves, "FINE", 1)
    graph = pipeline.elaborated(Source("chunks.rnn", text))
    net = compare(graph, "float32", 7, frames=9, streams=2)["net"]
    assert continued(net, graph, "float32", 7)
