"""The gradient graph against derivatives of the oracle by a complex step, on graphs drawn at random: delays of both
signs, starts, a state that the call continues, learned initial values, cotangents of outputs and of the state."""

import numpy as np
import pytest
from graphs import STEP, Numbers, Sketch, along, moved, past, random_graph

from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.gradient import gradient, vjp
from rnnc.graph.nodes import Initial
from rnnc.graph.scores import scores
from rnnc.graph.simplify import simplify

SEEDS = range(60)
both = lambda test: pytest.mark.parametrize("whole", [False, True], ids=["frames", "sequences"])(
    pytest.mark.parametrize("seed", SEEDS)(test))
close = lambda value: pytest.approx(value, rel=1e-9, abs=1e-11)


@both
def test_gradient_of_the_loss(seed, whole):
    graph = check(random_graph(seed, whole=whole))
    numbers = Numbers(graph, seed)
    if seed % 3 == 0:
        numbers.state = None
    joint = check(gradient(graph))
    found = numbers.run(joint)
    direction = numbers.direction(numbers.params)
    stepped = numbers.run(check(scores(graph)), params=moved(numbers.params, direction)).scores["loss"]
    trained = {p.name for p in graph.params if p.trainable}
    assert set(found.gradients) == trained
    expected = numbers.run(scores(graph), params=moved(
        numbers.params, {k: d for k, d in direction.items() if k in trained})).scores["loss"].imag / STEP
    assert along(found.gradients, direction) == close(expected)
    assert found.scores["loss"] == close(stepped.real)
    quick = check(simplify(joint))
    assert len(quick) < len(joint)
    assert along(numbers.run(quick).gradients, direction) == close(expected)
    first = check(simplify(gradient(check(simplify(graph)))))
    assert along(numbers.run(first).gradients, direction) == close(expected)


@both
def test_vector_jacobian_product(seed, whole):
    """<cotangents, J direction> by a complex step along parameters, inputs and state at once."""
    graph = random_graph(seed, whole=whole)
    numbers = Numbers(graph, seed, frames=int(np.random.default_rng(seed).integers(1, 7)))
    plain = numbers.run(graph)
    cotangents = numbers.direction(plain.outputs)
    ds = numbers.direction(plain.state.signals)
    trained = {p.name for p in graph.params if p.trainable}
    by_param = {k: d for k, d in numbers.direction(numbers.params).items() if k in trained}
    by_input = numbers.direction(numbers.inputs)
    by_state = numbers.direction(numbers.state.signals)
    stepped = numbers.run(graph, params=moved(numbers.params, by_param), inputs=moved(numbers.inputs, by_input),
                          state=oracle.State(numbers.state.since, moved(numbers.state.signals, by_state)))
    change = {name: a.imag / STEP for name, a in stepped.outputs.items()}
    after = {name: np.imag(stepped.state.signals[name]) / STEP for name in ds}
    expected = along(change, cotangents) + along(after, ds)
    for joint in (check(vjp(graph)), check(simplify(vjp(graph)))):
        found = numbers.run(joint, cotangents=cotangents, state_cotangents=ds)
        got = along(found.gradients, by_param) + along(found.input_gradients, by_input)
        got += along(found.state_gradients, by_state)
        assert got == close(expected)
        assert set(found.input_gradients) == set(by_input) and set(found.state_gradients) == set(by_state)


@pytest.mark.parametrize("seed", range(12))
def test_chain_of_calls(seed):
    """Without look-ahead, gradients handed from call to call through the state are those of one long call."""
    graph = random_graph(seed, ahead=False)
    numbers = Numbers(graph, seed, frames=7)
    cotangents = numbers.direction(numbers.run(graph).outputs)
    joint = simplify(vjp(graph))
    whole = numbers.run(joint, cotangents=cotangents)
    cut = 3
    part = lambda arrays, low, high: {k: a[low:high] for k, a in arrays.items()}
    middle = numbers.run(graph, inputs=part(numbers.inputs, 0, cut), starts=numbers.starts[:cut], weight=None).state
    late = numbers.run(joint, inputs=part(numbers.inputs, cut, 7), starts=numbers.starts[cut:], weight=None,
                       state=middle, cotangents=part(cotangents, cut, 7))
    early = numbers.run(joint, inputs=part(numbers.inputs, 0, cut), starts=numbers.starts[:cut], weight=None,
                        cotangents=part(cotangents, 0, cut), state_cotangents=late.state_gradients)
    for name, g in whole.gradients.items():
        assert np.allclose(g, early.gradients[name] + late.gradients[name], atol=1e-12)
    for name, g in whole.input_gradients.items():
        assert np.allclose(g, np.concatenate([early.input_gradients[name], late.input_gradients[name]]), atol=1e-12)
    for name, g in whole.state_gradients.items():
        assert np.allclose(g, early.state_gradients[name], atol=1e-12)


def test_nothing_crosses_a_start():
    """Not even NaN: a sequence that has gone wrong leaves its neighbour's values and input gradients alone."""
    s = Sketch()
    x = s.input("x")
    h = s.later()
    s.equal(h, "h", s.op("add", s.op("mul", s.param("a"), past(h, 1)), x))
    graph = s.graph(outputs={"p": h}, losses={"loss": s.op("mul", h, h)})
    values = np.ones((4, 1))
    values[1] = np.nan
    starts = np.array([0, 0, 1, 0]).reshape(4, 1)
    joint = simplify(vjp(graph))
    found = oracle.run(joint, {"x": values}, {"a": np.array(0.5)}, starts=starts, cotangents={"p": np.ones((4, 1))})
    assert found.input_gradients["x"][2:, 0].tolist() == [1.5, 1.0]
    assert found.value("h")[2:, 0].tolist() == [1.0, 1.5]


def test_gradient_of_initial_values():
    """h[t-2] with an initial value at offset -1 only: it is read at the frame one after the start."""
    s = Sketch()
    x, at = s.input("x"), s.param("i")
    s.initials[x] = Initial(at=((-1, at),))
    w = s.op("add", s.op("mul", past(x, 2), s.number(3.0)), s.number(0.0))
    graph = s.graph(losses={"loss": w})
    found = oracle.run(gradient(graph), {"x": np.zeros((4, 1))}, {"i": np.array(2.0)})
    assert found.gradients["i"] == pytest.approx(3 / 4)
    assert found.scores["loss"] == pytest.approx(6 / 4)


def test_parameters_that_do_not_matter_get_zeros():
    s = Sketch()
    s.param("used"), s.param("idle", 2, 2), s.param("frozen", trainable=False)
    x = s.input("x")
    graph = s.graph(losses={"loss": s.op("mul", x, s.op("param", name="used", shape=()))})
    found = oracle.run(check(gradient(graph)), {"x": np.ones((2, 1))},
                       {"used": np.ones(()), "idle": np.ones((2, 2)), "frozen": np.ones(())}).gradients
    assert list(found) == ["used", "idle"] and found["idle"].tolist() == [[0, 0], [0, 0]]


def test_no_weight_no_loss():
    s = Sketch()
    x = s.input("x")
    graph = s.graph(losses={"loss": s.op("mul", x, s.param("a"))})
    found = oracle.run(gradient(graph), {"x": np.ones((2, 1))}, {"a": np.ones(())}, weight=np.zeros((2, 1)))
    assert found.scores["loss"] == 0 and found.gradients["a"] == 0


def test_adjoints_have_names_of_their_own():
    s = Sketch()
    x, w = s.input("x"), s.param("w")
    h = s.name("h", s.op("mul", x, w))
    d = s.name("d_h", s.op("tanh", h))
    joint = gradient(s.graph(losses={"loss": d}))
    assert {"d_h", "d_h_", "d_d_h"} <= set(joint.named())
