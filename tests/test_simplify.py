"""Rewrites, as text before and after, and as values: a simplified graph means what it meant."""

from dataclasses import replace

import numpy as np
import pytest
from graphs import Numbers, Sketch, past, random_graph

from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.gradient import gradient
from rnnc.graph.nodes import Initial
from rnnc.graph.show import show
from rnnc.graph.simplify import simplify


def lines(graph):
    """The equations of the simplified graph."""
    declared = ("model ", "input ", "target ", "param ", "frozen ")
    return [line for line in show(check(simplify(check(graph)))).splitlines() if not line.startswith(declared)]


def output(build):
    """Simplifies `build(sketch, x)`, an expression of the input x of four units."""
    s = Sketch()
    x = s.input("x", 4)
    made = build(s, x)
    return lines(s.graph(outputs={"y": made}))


@pytest.mark.parametrize("build,expected", [
    (lambda s, x: s.op("add", s.op("tanh", x), s.number(0.0)), "tanh(x)"),
    (lambda s, x: s.op("mul", s.number(1.0), s.op("tanh", x)), "tanh(x)"),
    (lambda s, x: s.op("neg", s.op("neg", s.op("exp", x))), "exp(x)"),
    (lambda s, x: s.op("add", x, s.op("neg", s.op("exp", x))), "sub(x, exp(x))"),
    (lambda s, x: s.op("sub", s.number(0.0), x), "neg(x)"),
    (lambda s, x: s.op("mul", x, s.number(0.0)), "mul(x, 0)"),           # 0 * NaN is NaN
    (lambda s, x: s.op("mul", x, s.number(-1.0)), "neg(x)"),
    (lambda s, x: s.op("pow", x, s.number(2.0)), "mul(x, x)"),
    (lambda s, x: s.op("pow", x, s.number(3.0)), "mul(mul(x, x), x)"),
    (lambda s, x: s.op("pow", x, s.number(-1.0)), "div(1, x)"),
    (lambda s, x: s.op("pow", x, s.number(9.0)), "pow(x, 9)"),
    (lambda s, x: s.op("pow", x, s.number(0.5)), "pow(x, 0.5)"),
    (lambda s, x: s.op("mul", x, s.op("exp", s.op("log", s.number(2.0)))), "mul(x, 2)"),
    (lambda s, x: s.op("mul", x, s.op("log", s.number(0.0))), "mul(x, log(0))"),
    (lambda s, x: s.op("where", s.op("lt", x, s.number(1.0)), s.op("sin", x), s.op("sin", x)), "sin(x)"),
    (lambda s, x: s.op("where", s.number(1.0), s.op("sin", x), x), "sin(x)"),
    (lambda s, x: s.op("add", s.op("broadcast", s.op("sum", x, axis=None), shape=(4,)), x), "add(sum(x), x)"),
    (lambda s, x: s.op("reshape", s.op("reshape", x, shape=(2, 2)), shape=(1, 4)), "reshape(x, [1, 4])"),
])
def test_identities(build, expected):
    first, last = output(build)[-2:]
    assert first.split(" = ")[1] == expected and last == "output y = v1"


@pytest.mark.parametrize("build,expected", [
    (lambda s, x: s.op("matmul", s.op("transpose", s.param("W", 4, 2)), x), ["v1 : [2] = matmul(W', x)"]),
    (lambda s, x: s.op("mul", s.op("outer", x, s.op("exp", x)), s.op("sum", x, axis=None)),
     ["v1 : [4, 4] = outer(mul(sum(x), x), exp(x))"]),
    (lambda s, x: s.op("pow", x, s.number(-7.0)),
     ["v1 : [4] = mul(mul(x, x), x)", "v2 : [4] = div(1, mul(mul(v1, v1), x))"]),
    (lambda s, x: s.op("matmul", s.param("W", 2, 8), s.op("concat", x, s.op("tanh", x), axis=0)),
     ["v1 : [2] = matmul(W, concat(x, tanh(x), axis=0))"]),              # too small to be worth two products
    (lambda s, x: s.op("matmul", s.param("W", 2, 20), s.op("concat", s.param("b", 16), x, axis=0)),
     ["v1 : [2] = add(matmul(W[:, 0:16], b), matmul(W[:, 16:20], x))"]),
    (lambda s, x: s.op("matmul", s.param("W", 6, 2), s.op("pad", s.op("slice", x, axis=0, low=1, high=4), axis=0,
                                                          low=2, size=6), ta=True),
     ["v1 : [2] = matmul(W[2:5]', x[1:4])"]),
    (lambda s, x: gates(s, s.op("matmul", s.param("W", 4, 4), x)),
     ["v1 : [2] = mul(sigmoid(matmul(W[0:2], x)), tanh(matmul(W[2:4], x)))"]),
    (lambda s, x: gates(s, s.op("add", s.op("matmul", s.param("W", 4, 4), x), s.param("b", 4))),
     ["v1 : [2] = mul(sigmoid(add(matmul(W[0:2], x), b[0:2])), tanh(add(matmul(W[2:4], x), b[2:4])))"]),
    (lambda s, x: s.op("slice", s.op("concat", x, s.op("tanh", x), axis=0), axis=0, low=3, high=6),
     ["v1 : [3] = concat(x[3:4], tanh(x[0:2]), axis=0)"]),
    (lambda s, x: s.op("add", part(s, x, 2, 2), s.op("add", s.op("exp", x), part(s, x, 0, 2))),
     ["v1 : [4] = add(x, exp(x))"]),
    (lambda s, x: s.op("add", part(s, x, 0, 1), part(s, x, 2, 2)),
     ["v1 : [4] = add(pad(x[0:1], axis=0, low=0, size=4), pad(x[2:4], axis=0, low=2, size=4))"]),
    (lambda s, x: s.op("slice", s.op("add", part(s, x, 0, 2), s.op("add", part(s, x, 2, 2), x)),
                       axis=0, low=0, high=2), ["v1 : [2] = x[0:2]", "v2 : [2] = add(v1, v1)"]),
])
def test_products_and_slices(build, expected):
    found = output(build)
    assert [line for line in found if not line.startswith("output")] == expected


@pytest.mark.parametrize("rows, whole", [(4, True), (32, True), (33, False)])
def test_single_numbers_of_one_product(rows, whole):
    """As many panels as the whole has cost as much as the whole."""
    s = Sketch()
    made = s.op("tanh", s.op("matmul", s.param("W", rows, 4), s.input("x", 4)))
    one = lambda i: s.op("slice", made, axis=0, low=i, high=i + 1)
    found = lines(s.graph(outputs={"y": s.op("mul", one(0), one(2))}))
    assert any("matmul(W, x)" in line for line in found) is whole


def scaled(s, x, *shape):
    """A matrix of the frame times a part of x, spread over its rows or columns, and what it answers to x."""
    factor = x if shape in ((4, 1), (1, 4)) else s.op("slice", x, axis=0, low=0, high=1)
    spread = s.op("broadcast", s.op("reshape", factor, shape=shape), shape=(4, 4))
    return s.op("matmul", s.op("mul", s.input("M", 4, 4), spread), x)


@pytest.mark.parametrize("build,expected", [
    (lambda s, x: s.op("matmul", s.op("mul", s.op("sum", x, axis=None), s.input("M", 4, 4)), x),
     ["mul(sum(x), matmul(M, x))"]),
    (lambda s, x: scaled(s, x, 4, 1), ["mul(x, matmul(M, x))"]),
    (lambda s, x: scaled(s, x, 1, 4), ["matmul(M, mul(x, x))"]),
    (lambda s, x: scaled(s, x, 1, 1),                                        # a factor of one unit, for all of them
     ["matmul(mul(M, broadcast(reshape(x[0:1], [1, 1]), [4, 4])), x)"]),
    (lambda s, x: s.op("sub", s.input("M", 4, 4), s.op("outer", x, x)), ["add(M, outer(neg(x), x))"]),
])
def test_factors_of_matrices_go_to_vectors(build, expected):
    assert [line.split(" = ")[1] for line in output(build) if "] = " in line][-1:] == expected


def gates(s, total):
    cut = lambda i: s.op("slice", total, axis=0, low=2 * i, high=2 * i + 2)
    return s.op("mul", s.op("sigmoid", cut(0)), s.op("tanh", cut(1)))


def part(s, x, low, size):
    return s.op("pad", s.op("slice", x, axis=0, low=low, high=low + size), axis=0, low=low, size=4)


@pytest.mark.parametrize("op", ["sum", "max", "min"])
def test_the_sum_of_one_number_is_it(op):
    """So that a loss of numbers goes a row in every lane."""
    s = Sketch()
    x, v = s.input("x"), s.input("v", 1)
    made = {"y": s.op(op, s.op("tanh", x)), "z": s.op(op, s.op("exp", s.op("reshape", x, shape=(1,)))),
            "w": s.op(op, v)}
    assert not any(f"{op}(" in line for line in lines(s.graph(outputs=made)))


def test_equal_equations_are_one():
    s = Sketch()
    x, b = s.input("x", 2), s.param("b", 2)
    one, two = s.op("tanh", s.op("add", x, b)), s.op("tanh", s.op("add", b, x))
    assert lines(s.graph(outputs={"p": one, "q": two})) == [
        "v1 : [2] = tanh(add(x, b))", "output p = v1", "output q = v1"]


def test_signals_of_the_state_stay_apart():
    """Equal equations, but what comes before the start differs, and the state holds both."""
    s = Sketch()
    x = s.input("x")
    one, two = s.name("one", s.op("tanh", x)), s.name("two", s.op("tanh", x))
    s.initials[one] = Initial(every=s.number(5.0))
    total = s.op("add", s.op("add", past(one, 1), past(two, 1)), s.op("add", one, two))
    graph = simplify(s.graph(outputs={"p": total}))
    assert {"one", "two"} <= set(graph.named()) and len(graph.state) == 2
    assert oracle.run(graph, {"x": np.zeros((2, 1))}).outputs["p"][:, 0].tolist() == [5, 0]


def test_a_delayed_signal_is_no_alias_of_what_it_copies():
    """y = x with a first value of its own: y[t-1] is not x[t-1]; nor is 2 read ahead of the end still 2."""
    s = Sketch()
    x = s.input("x")
    y = s.name("y", x)
    s.initials[y] = Initial(every=s.number(7.0))
    held = s.name("held", s.op("add", s.op("mul", x, s.number(0.0)), s.number(2.0)))
    graph = s.graph(outputs={"p": s.op("identity", past(y, 1)), "q": s.op("identity", past(held, -1)),
                             "r": s.op("identity", past(x, 1))})
    found = oracle.run(check(simplify(graph)), {"x": np.array([[1.0], [2.0]])}).outputs
    assert [found[k][:, 0].tolist() for k in "pqr"] == [[7, 1], [2, 0], [0, 1]]


def same(graph, **arguments):
    """The outputs of the simplified graph, which are those of the graph."""
    before = oracle.run(graph, **arguments).outputs
    after = oracle.run(check(simplify(graph)), **arguments).outputs
    for name, value in before.items():
        assert np.array_equal(value, after[name]), name
    return after


X = {"x": np.arange(1.0, 5.0).reshape(4, 1)}


def test_delays_of_both_signs_do_not_cancel():
    """y = x[t-1]; y[t+1] is x only while a frame follows."""
    s = Sketch()
    x = s.input("x")
    y = s.op("identity", past(x, 1))
    graph = s.graph(outputs={"p": s.op("identity", past(y, -1))})
    assert same(graph, inputs=X)["p"][:, 0].tolist() == [1, 2, 3, 0]


def test_initial_values_do_not_move_to_what_is_copied():
    s = Sketch()
    x = s.input("x")
    y = s.op("identity", x)
    s.initials[y] = Initial(every=s.number(7.0))
    graph = s.graph(outputs={"p": s.op("add", y, past(x, 1))})
    assert same(graph, inputs=X)["p"][:, 0].tolist() == [1, 3, 5, 7]


def test_what_no_state_holds_is_not_what_a_state_holds():
    """Equal equations, but before the call one is zero, as adjoints are, and the other in the state."""
    s = Sketch()
    x = s.input("x")
    held, other = s.name("held", s.op("tanh", x)), s.op("tanh", x)
    total = s.op("add", past(held, 1), past(other, 1))
    graph = replace(s.graph(outputs={"p": total}, gradients={}), state={held: 1})
    state = oracle.State(np.array([9]), {"held": np.full((1, 1), 0.5)})
    before = oracle.run(graph, X, state=state).outputs["p"]
    assert np.array_equal(oracle.run(simplify(graph), X, state=state).outputs["p"], before) and before[0] == 0.5


def test_pads_of_the_past_are_not_joined_across_initial_values():
    s = Sketch()
    x, y = s.input("x", 1), s.input("y", 1)
    s.initials[x] = Initial(every=s.table([5.0]))
    pads = [s.op("pad", v, axis=0, low=low, size=2) for low, v in enumerate((x, y))]
    graph = s.graph(outputs={"p": s.op("add", past(pads[0], -1), past(pads[1], -1)),
                             "q": s.op("identity", past(x, -1))})
    ones = np.ones((2, 1, 1))
    assert same(graph, inputs={"x": ones, "y": ones})["p"][:, 0].tolist() == [[1, 1], [0, 0]]
    del s.initials[x]
    graph = s.graph(outputs={"p": graph.outputs["p"]})
    assert "v1 : [2] = concat(x[t+1], y[t+1], axis=0)" in lines(graph)


def test_a_copied_signal_of_the_state_takes_the_equation():
    s = Sketch()
    x = s.input("x")
    h = s.later()
    s.equal(h, "h", s.op("tanh", s.op("add", past(h, 1), x)))
    assert lines(s.graph(outputs={"p": h})) == ["h : [] = tanh(add(h[t-1], x))", "state h : 1", "output p = h"]


def test_what_can_leave_a_loop_does():
    s = Sketch()
    x, h = s.input("x", 2), s.later(2)
    both = s.op("concat", x, past(x, 1), past(h, 1), past(h, 2), axis=0)
    s.equal(h, "h", s.op("tanh", s.op("matmul", s.param("W", 2, 8), both)))
    found = lines(s.graph(outputs={"p": h}))
    assert found[:2] == ["v1 : [2] = add(matmul(W[:, 0:4], concat(x, x[t-1], axis=0)), "
                         "matmul(W[:, 4:8], concat(h[t-1], h[t-2], axis=0)))", "h : [2] = tanh(v1)"]


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("poison", [None, np.nan, np.inf])
def test_meaning_is_kept(seed, poison):
    graph = random_graph(seed)
    numbers = Numbers(graph, seed)
    if poison is not None:
        numbers.inputs["x"][2, 0, 1] = poison
    simple = check(simplify(check(graph)))
    before, after = numbers.run(graph), numbers.run(simple)
    for name, value in [*before.outputs.items(), *before.losses.items(), *before.state.signals.items()]:
        others = {**after.outputs, **after.losses, **after.state.signals}
        assert np.allclose(value, others[name], rtol=1e-10, atol=1e-12, equal_nan=True), name
    assert simplify(simple) is simple


@pytest.mark.parametrize("seed", range(10))
def test_text_is_stable(seed):
    graph = lambda: simplify(gradient(simplify(random_graph(seed))))
    assert show(graph()) == show(graph()) and "?" not in show(graph())
