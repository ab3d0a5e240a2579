"""Crews that follow one another through a step: fine chunks, whatever is left over, and the same bits as without."""

from itertools import pairwise

import pytest
from compare import draw_data, net_of, same_bits, set_params

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan.choose import choose
from rnnc.target.measure import machine

pytestmark = pytest.mark.usefixtures("any_threads")
STACK = """model m(n = 20) {
    input x : [7]   target y : class(9)
    logits = dense(9)(stack(4, gru(n))(x))
    output logits
    loss cross_entropy(logits, y)
}"""
PICKED = """model m(n = 20) {                                    # products outside of loops, of some frames
    input x : [7]   input tick : flag   target y : class(9)
    param W, U, V : [n, n]   param R : [n, 7]
    f = tanh(V @ f[t-1] + R @ x)
    h = where(tick, tanh(W @ f + U @ h[t-1]), h[t-1])
    logits = dense(9)(h)
    output logits
    loss cross_entropy(logits, y)
}"""
BACK = STACK.replace("gru(n)", "reversed(irnn(n))")
BESIDE = STACK.replace("    output logits", "    a = 0.9 * a[t-1] + x[0]\n    output a, logits")  # time cut in lanes
ASKED = STACK.replace("(x))", "(retention(24, 1)(x)))")
FOUR = STACK.replace("gru(n)", "delayed(n)").replace(
    "model", "cell delayed(n)(x) {\n    param W : [n, dim(x)]   param U : [n, n]\n    h = tanh(W @ x + U @ h[t-3])\n"
    "    return h\n}\nmodel")
TEXTS = {"stack": STACK, "picked": PICKED, "back": BACK, "beside": BESIDE, "asked": ASKED, "four": FOUR}


@pytest.mark.parametrize("name", TEXTS)
def test_crews_leave_the_same_bits(name):
    """Less than a fine chunk, a frame more than a whole one, fine chunks with one frame left over, several streams."""
    graph = pipeline.elaborated(Source("<text>", TEXTS[name]))
    net = net_of(graph)
    for frames, streams in ((7, 1), (65, 1), (145, 1), (21, 3), (50, 10)):
        data = draw_data(graph, frames, frames=frames, streams=streams)
        set_params(net, data)
        same_bits(net, data, threads=(1, 2, 5) if frames < 30 else (1, 2))


@pytest.mark.parametrize("threads", [2, 3, 4, 8])
def test_neighbours_go_to_one_crew(threads):
    """So that a crew waits for the one before it alone, and not for one that waits for it."""
    made = pipeline.schedules(Source("<text>", STACK.replace("n = 20", "n = 100")), pipeline.Options(), {})["backprop"]
    way = choose(made, 256, 1, threads, machine())
    assert way.kind == "crews"
    for step in made.steps:
        crews = [way.crews[s] for s in step.stages]
        assert all(a <= b for a, b in pairwise(crews)), crews
        if step.fine:
            assert len(set(crews)) > threads // 2
