"""What outside of loops is made of some rows alone: slow modules' input products, logits that have no weight."""

import numpy as np
import pytest
from compare import compare, same_bits
from programs_in_text import graph_of
from test_counts import Counted

import rnnc
from rnnc import pipeline
from rnnc.plan.check import check
from rnnc.plan.schedule import Fold, Map
from rnnc.plan.show import guarded

SLOW = """model m {
    input x : [7]   input tick : flag   target y : [20]
    param V : [20, 7]   param R : [20, 20]   param W : [20, 20]   param U : [20, 20]   param b : [20]
    f = tanh(V @ x + R @ f[t-1])
    h = where(CLOCK, tanh(W @ f + U @ h[t-1] + b), h[t-1])
    output h
    loss mse(h, y)
}
"""
LABELS = """model m {
    input x : [7]   target y : class(40)
    param V : [20, 7]   param R : [20, 20]
    h = tanh(V @ x + R @ h[t-1])
    logits = dense(40)(h)
    loss cross_entropy(logits, y)
}
"""


def planned(text: str, name: str = "backprop"):
    made = pipeline.planned_and_checked(pipeline.programs(pipeline.forward(graph_of(text)), "parameters")[name], name)
    check(made)
    return made


def picked(made) -> dict[str, str]:
    """Of each matrix whose products outside of loops are made of some rows, which."""
    found = {}
    for kernel in (k for stage in made.stages if isinstance(stage, Map) for k in stage.kernels):
        for panel in getattr(kernel, "panels", ()) if getattr(kernel, "guards", ()) else ():
            for matrix, turned in panel.matrices:
                found[str(made.graph[matrix].attr("name")) + "'" * turned] = guarded(made.graph, kernel.guards)
    return found


@pytest.mark.parametrize(("clock", "wanted"), [
    ("tick", "tick"), ("mod(t, 4) == 0", "mod(t, 4) == 0"), ("x[2] > 0.5", "slice(x) > 0.5"),
    ("tick[t-1]", "tick[t-1]"),
    ("f[0] > 0", None), ("h[t-1][0] > 0", None), ("mean(V @ x) > 0", None), ("last(x)[0] > 0", None)])
def test_conditions_that_are_there_beforehand(clock, wanted):
    assert picked(planned(SLOW.replace("CLOCK", clock))).get("W") == wanted


def test_frames_without_weight():
    made = planned(LABELS)
    assert picked(made) == dict.fromkeys(["logits.W", "logits.W'"], "not (weight == 0)")
    sums = [n for stage in made.stages if isinstance(stage, Fold) for n in stage.nodes]
    left = {made.graph[n].shape: guarded(made.graph, made.role.guards.of(n, product=True)) for n in sums}
    assert left[(40, 20)] == left[(40,)] == "not (weight == 0)"
    assert left[(20, 7)] == ""                 # what came before a frame that counts does so, too


def test_a_sum_of_products_is_as_dear_as_they_are():
    """Of one unit it is a number of each frame, and plain; drawn as 900075."""
    assert picked(planned("""model m { input x : [7]   target y : class(1)   param W : [1, 7]   param V : [1, 7]
        loss cross_entropy(W @ x[t-1] + V @ x[t-2], y) }""")) == dict.fromkeys(["W", "V"], "not (weight == 0)")


def test_what_all_see_is_made_of_all_rows():
    """An output; a value that another frame reads; one of a slow module and of another one."""
    apart = lambda more: SLOW.replace("W @ f +", "v +").replace("    h =", f"    v = W @ f\n    {more}\n    h =")
    for text in (SLOW.replace("output h", "output h, g = W @ f"), apart("output w = v[t-1]"),
                 apart("g = tanh(v + g[t-1])\n    output g")):
        assert "W" not in picked(planned(text.replace("CLOCK", "tick")))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("streams", [1, 5, 200])
def test_products_of_the_rows_that_are_picked(threads, streams, monkeypatch):
    """Rows of the counting build: as many as there are frames in which the clock ticks, however they lie."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    tick = (np.random.default_rng(0).random((50, streams)) < 0.2).astype(np.float32)
    log = Counted(SLOW.replace("CLOCK", "tick")).log("backprop", threads, 50, streams, tick=tick)
    stages = [n for n in log.kind(Map) if any(getattr(k, "guards", ()) for k in log.stages[n].kernels)]
    assert len(stages) == 2                    # W @ f, and on the way back W' @ its adjoint
    for stage in stages:
        assert sum(piece.area for piece in log.of(stage)) == int(tick.sum()) * 20


@pytest.mark.parametrize("text", [SLOW.replace("CLOCK", "tick"), SLOW.replace("CLOCK", "mod(t, 3) == 1"), LABELS],
                         ids=["data", "period", "labels"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_numbers(text, dtype, monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    for seed, (frames, streams) in enumerate([(9, 3), (40, 1), (7, 17)]):
        outcome = compare(graph_of(text), dtype, seed, frames, streams)
        assert outcome["ratio"] is not None
        same_bits(outcome["net"], outcome["data"], (1, 2, 3))


def test_what_has_no_weight_does_not_count():
    """Not even where its loss is beyond all numbers."""
    net = rnnc.compile("model m { input x : [7]  target y : [20]\n h = dense(20)(x)  loss mean((h - y) ^ 2) }")
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(12, 3, 7)), chance.normal(size=(12, 3, 20))
    weight = (chance.random((12, 3)) < 0.5).astype(np.float32)
    known, wanted = net.backprop(x=x, y=y, weight=weight), net.gradient.copy()
    y[weight == 0] = 1e30                      # its square is infinite in float32
    assert net.backprop(x=x, y=y, weight=weight) == known and np.array_equal(net.gradient, wanted)
    assert net.evaluate(x=x, y=y, weight=weight)["loss"] == pytest.approx(known)


def test_values_left_out_are_zero():
    """So that no result depends on what the memory held before: rows of a workspace that was used by another call."""
    net = rnnc.compile(SLOW.replace("CLOCK", "tick"), threads=1)
    chance = np.random.default_rng(0)
    data = {"x": chance.normal(size=(60, 2, 7)), "y": chance.normal(size=(60, 2, 20)),
            "tick": chance.random((60, 2)) < 0.3}
    first = net.backprop(**data), net.gradient.copy()
    net.backprop(**{**data, "x": np.full((60, 2, 7), 1e30), "tick": np.ones((60, 2))})
    again = net.backprop(**data)
    assert again == first[0] and np.array_equal(net.gradient, first[1])


UNKNOWN = {"a loop": "h = rnn(7)(x)  loss mse(h, y)",
           "units of their own": "param a : [7] = 1  loss mean((a * x - y) ^ 2)",
           "huber": "h = dense(7)(x)  loss huber(h, y)", "logits": "h = dense(7)(x)  loss binary_cross_entropy(h, y)",
           "of another frame": "h = dense(7)(x)  loss mse(h[t-1], y)", "the largest": "loss max(abs(rnn(7)(x) - y))",
           "a flag for all frames": "input w : flag per sequence  h = dense(7)(x)  loss where(w, mse(h, y), 0)",
           "multiplied": "param W : [7, 7]  loss mse(rnn(7)(x), W @ y)",
           "last frame": "h = rnn(7)(x)  loss mse(last(h), z)",
           "mean": "loss huber(dense(7)(mean_over(t, rnn(7)(x))), z)",
           "both": "h = rnn(7)(x)  loss mse(last(h), z)  loss binary_cross_entropy(h, y)"}


@pytest.mark.parametrize("losses", UNKNOWN.values(), ids=UNKNOWN)
def test_no_gradient_of_a_target_that_nobody_knows(losses):
    """NaN times the zero that its frame's weight is would be NaN: what enters the gradient is chosen by weight."""
    inputs = "input x : [7]  target y : [7]  target z : [7] per sequence"
    net = rnnc.compile(f"model m {{ {inputs}\n {losses} }}", threads=1)
    chance = np.random.default_rng(0)
    weight = (chance.random((12, 3)) < 0.5).astype(np.float32)
    weight[-1] = 0, 1, 0
    data = {"x": chance.normal(size=(12, 3, 7)), "y": chance.random(size=(12, 3, 7)), "z": chance.random(size=(3, 7)),
            "w": np.array([1, 0, 1])}
    data = {name: data[name] for name in (*net.inputs, *net.targets)}
    known, wanted = net.backprop(**data, weight=weight), net.gradient.copy()
    score = net.evaluate(**data, weight=weight)
    for value in (np.nan, np.inf, 1e30):
        for name, zero in (("y", weight == 0), ("z", weight[-1] == 0)):
            if name in data:
                data[name][zero] = value
        assert net.backprop(**data, weight=weight) == known and np.array_equal(net.gradient, wanted)
        assert net.evaluate(**data, weight=weight) == score
