"""Compilers that do not fuse sums of products: neither threads nor plans decide anything there."""

import compare
import pytest

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.target import build

ONE = "model m(n = 300) {\n input x : [8]\n target y : [n]\n h = rnn(n)(x)\n output h\n loss mse(h, y)\n}"
STACK = """model m(n = 20) {                                    # small loops follow one another by fine chunks
    input x : [7]
    target y : [n]
    h = stack(3, gru(n))(x)
    output h
    loss mse(h, y)
}"""


@pytest.mark.parametrize("text, frames, streams", [(ONE, 9, 4), (ONE, 9, 5), (ONE, 9, 6), (ONE, 9, 11), (STACK, 43, 1),
                                                   (STACK, 43, 2), (STACK, 29, 5)])
def test_threads_decide_nothing(monkeypatch, text, frames, streams):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(build, "FLAGS", tuple(flag for flag in build.FLAGS if "contract" not in flag))
    graph = pipeline.elaborated(Source("m.rnn", text), None, None)
    net = compare.net_of(graph, "float32", "all")
    data = compare.draw_data(graph, 1, "float32", frames, streams)
    compare.set_params(net, data)
    compare.same_bits(net, data, (1, 2, 3, 7))
