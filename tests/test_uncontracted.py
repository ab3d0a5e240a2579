"""Compilers that do not fuse sums of products: threads decide nothing there either."""

import compare
import pytest

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.target import build

TEXT = "model m(n = 300) {\n input x : [8]\n target y : [n]\n h = rnn(n)(x)\n output h\n loss mse(h, y)\n}"


@pytest.mark.parametrize("streams", [5, 6, 11])
def test_threads_decide_nothing(monkeypatch, streams):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(build, "FLAGS", tuple(flag for flag in build.FLAGS if "contract" not in flag))
    graph = pipeline.elaborated(Source("m.rnn", TEXT), None, None)
    net = compare.net_of(graph, "float32", "all")
    data = compare.draw_data(graph, 1, "float32", 9, streams)
    compare.set_params(net, data)
    compare.same_bits(net, data, (1, 2, 3, 7))
