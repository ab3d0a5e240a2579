"""Kinds of loops: known cells by hand; random loops against what linearity means, tried out in numbers."""

import random

import numpy as np
import pytest

from rnnc.graph.kinds import kind
from rnnc.graph.loops import loops
from rnnc.graph.nodes import Builder, Node, Read


def network(text, **shapes):
    """Lines "name = op a b[-1] …": `b[-1]` is read one frame earlier. Names with an upper-case initial are constant.
    A shape is that of the vector unless given."""
    lines = [line.split() for line in text.strip().splitlines()]
    numbers = {line[0]: i for i, line in enumerate(lines)}
    make = Builder()
    for name, _, op, *operands in lines:
        args = []
        for operand in operands:
            base, _, delay = operand.partition("[")
            args.append(Read(numbers[base], -int(delay[:-1]) if delay else 0))
        domain = "constant" if name[0].isupper() else "frame"
        make.add(Node(op, tuple(args), shapes.get(name, (3,)), domain=domain, name=name))
    return make.finish()


def only_kind(text, **shapes):
    graph = network(text, **shapes)
    (loop,) = loops(graph)
    found = kind(graph, loop)
    name = lambda n: None if n is None else graph[n].name
    return str(found), name(found.mixer), name(found.bend)


RNN = """
    W = param
    x = input
    p = matmul W h[-1]
    s = add p x
    h = tanh s
"""
DECAY = """
    x = input
    f = sigmoid x
    p = mul f h[-1]
    h = add p x
"""


def test_vector_loops():
    assert only_kind(RNN, W=(3, 3)) == ("dense", "p", "h")
    assert only_kind(RNN.replace("tanh", "identity"), W=(3, 3)) == ("linear", "p", None)
    assert only_kind(DECAY) == ("diagonal linear", None, None)
    assert only_kind(DECAY.replace("add p x", "tanh p")) == ("diagonal", None, "h")
    assert only_kind(DECAY.replace("mul f h", "mul h[-2] h")) == ("diagonal", None, "p")
    assert only_kind(DECAY.replace("mul f h[-1]", "div h[-1] f")) == ("diagonal linear", None, None)
    assert only_kind(DECAY.replace("mul f h[-1]", "div f h[-1]")) == ("diagonal", None, "p")
    assert only_kind(DECAY.replace("mul f h[-1]", "where f h[-1] x")) == ("diagonal linear", None, None)
    assert only_kind(DECAY.replace("mul f h[-1]", "where h[-1] x f")) == ("diagonal", None, "p")


def test_a_gate_that_reads_the_state_is_no_coefficient():
    assert only_kind("""
        x = input
        f = sigmoid h[-1]
        p = mul f x
        h = add p x
    """) == ("diagonal", None, "f")


def test_a_backward_loop_is_judged_alike():
    assert only_kind(DECAY.replace("h[-1]", "h[1]")) == ("diagonal linear", None, None)


MATRICES = dict(S=(3, 3), o=(3, 3), d=(3, 3), W=(3, 3), e=(3, 3))


def test_matrix_states():
    decay = """
        v = input
        a = input
        o = outer v v
        d = mul a S_[-1]
        S_ = add d o
    """.replace("S_", "s")
    assert only_kind(decay, **MATRICES, s=(3, 3), a=()) == ("diagonal linear chunkwise", None, None)
    delta = """
        k = input
        v = input
        r = matmul s[-1] k
        e = sub v r
        o = outer e k
        s = add s[-1] o
    """
    assert only_kind(delta, s=(3, 3), o=(3, 3)) == ("linear chunkwise", "r", None)
    turned = """
        W = param
        d = matmul W s[-1]
        s = add d d
    """
    assert only_kind(turned, **MATRICES, s=(3, 3)) == ("linear", "d", None)


# ------------------------------------------------------------------------------------------ random loops

MEANING = {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "tanh": np.tanh,
    "div": lambda a, b: a / (b + 3.0), "where": lambda c, a, b: np.where(c > 0.3, a, b),
    "matmul": np.matmul, "identity": lambda a: a, "sum": lambda a: np.full(3, a.sum()),
}


def frame(graph, loop, state, outside):
    """The loop's values in one frame; `state` is what every read of another frame sees."""
    value = dict(outside)
    for n in graph.order:
        if n in loop.members:
            node = graph[n]
            reads = [state[r.node] if r.node in loop.members and r.delay else value[r.node] for r in node.args]
            value[n] = MEANING[node.op](*reads)
    return np.concatenate([value[n] for n in loop.nodes])


def random_loop(chance):
    make = Builder()
    outside = [make.add(Node("input", (), (3,))) for _ in range(2)]
    matrix = make.add(Node("param", (), (3, 3), domain="constant"))
    inside = [make.reserve() for _ in range(chance.randint(1, 5))]
    for i, number in enumerate(inside):
        op = chance.choice(["add", "sub", "mul", "neg", "tanh", "div", "where", "matmul", "identity", "sum"])
        reads = [Read(chance.choice(inside), chance.randint(1, 2)) if chance.random() < 0.3 else
                 Read(chance.choice(inside[:i] + outside)) for _ in range(3)]
        count = {"neg": 1, "tanh": 1, "identity": 1, "sum": 1, "where": 3, "matmul": 1}.get(op, 2)
        args = [Read(matrix)] * (op == "matmul") + reads[:count]
        make.define(number, Node(op, tuple(args), (3,)))
    return make.finish(), outside, matrix


@pytest.mark.parametrize("seed", range(4))
def test_a_loop_said_to_be_linear_is_linear_and_a_diagonal_one_diagonal(seed):
    counts = {}
    for number in range(250):
        chance = random.Random(seed * 1000 + number)
        graph, inputs, matrix = random_loop(chance)
        draw = np.random.default_rng(number)
        outside = {n: draw.normal(size=3) for n in range(len(graph))} | {matrix: draw.normal(size=(3, 3))}
        for loop in loops(graph):
            found = kind(graph, loop)
            counts[str(found)] = counts.get(str(found), 0) + 1
            states = [{n: draw.normal(size=3) for n in loop.nodes} for _ in range(2)]
            between = {n: 0.3 * states[0][n] + 0.7 * states[1][n] for n in loop.nodes}
            a, b, c = (frame(graph, loop, s, outside) for s in (*states, between))
            if found.linear:
                np.testing.assert_allclose(c, 0.3 * a + 0.7 * b, atol=1e-9)
            if found.diagonal:
                changed = {n: s + np.array([0.0, 0.0, 1.0]) for n, s in states[0].items()}
                units = frame(graph, loop, changed, outside).reshape(-1, 3) == a.reshape(-1, 3)
                assert units[:, :2].all()
    assert set(counts) == {"dense", "linear", "diagonal", "diagonal linear"}
