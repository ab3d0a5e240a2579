"""The text of the loops, with the reasons it gives."""

from pathlib import Path

from rnnc.errors import Source
from rnnc.graph.elaborate import load
from rnnc.graph.show_loops import show

SAMPLES = Path(__file__).parents[1] / "samples"


def shown(body):
    return show(load(Source("loops.rnn", f"model m(n = 8) {{ input x : [n]\nparam U, V : [n, n]\n{body} }}")).graph)


def test_charlm(golden):
    golden("charlm.loops", show(load(SAMPLES / "charlm.rnn").graph))


def test_reasons():
    text = shown("h = tanh(x + U @ h[t-4])\n output h")
    assert "D = 4, dense" in text and "4 at once, limited by h[t-4] -> h" in text
    assert "units meet in matmul (loops.rnn:3); not linear at tanh h (loops.rnn:3)" in text
    text = shown("a = tanh(x + U @ b[t-1])\n b = tanh(V @ a[t-1])\n output b")
    assert "1 at once, limited by" in text and "; 2 with offsets" in text
    text = shown("a = tanh(x + U @ b[t+1])\n b = tanh(V @ a[t-2])\n output b")
    assert "only with offsets: it reads ahead inside" in text
    text = shown("h = x + 0.5 * h[t+1]\n output h")
    assert "backwards, D = any, diagonal linear" in text


def test_a_network_without_loops():
    assert shown("output y = U @ x").startswith("0 loops, ")
