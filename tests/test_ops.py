"""Every row of the operator table: its derivative against a complex step and against central differences, through
the oracle, and its shape rule on what does not fit. An operator without a case here fails the first test."""

import numpy as np
import pytest
from graphs import STEP, Sketch, along

from rnnc.errors import Broken
from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.gradient import vjp
from rnnc.graph.nodes import REAL
from rnnc.graph.ops import OPS
from rnnc.graph.simplify import simplify

V, M, S, LABEL = (3,), (2, 3), (), "label"
POSITIVE = {"log", "sqrt", "pow"}
CASES = {                                      # operator -> arguments, attributes (and wanted shape)
    **{name: [((V,), {})] for name in ["neg", "exp", "log", "sqrt", "abs", "sign", "floor", "sin", "cos", "erf",
                                       "sigmoid", "tanh", "relu", "softplus", "not", "identity"]},
    **{name: [((V, V), {}), ((S, M), {}), ((M, S), {}), ((S, S), {})] for name in
       ["add", "sub", "mul", "div", "pow", "mod", "minimum", "maximum", "lt", "le", "gt", "ge", "eq", "ne", "and",
        "or"]},
    "where": [((V, V, V), {}), ((S, M, S), {}), ((M, S, S), {})],
    "real": [((LABEL,), {})],
    "matmul": [((M, V), {}), (((3, 2), V), {"ta": True}), ((M, (3, 4)), {}), (((3, 2), (3, 4)), {"ta": True}),
               ((M, (4, 3)), {"tb": True}), (((3, 2), (4, 3)), {"ta": True, "tb": True})],
    "outer": [((V, (2,)), {})],
    "column": [((M, LABEL), {})],
    "take": [((V, LABEL), {}), ((M, LABEL), {})],
    "place": [((S, LABEL), {"shape": (4,)}), ((V, LABEL), {"shape": (2, 3)})],
    "one_hot": [((LABEL,), {"shape": (4,)})],
    **{name: [((V,), {"axis": None}), ((M,), {"axis": 0}), ((M,), {"axis": 1})] for name in
       ["sum", "max", "min", "argmax", "logsumexp", "softmax", "logsoftmax"]},
    "transpose": [((M,), {})],
    "reshape": [((M,), {"shape": (3, 2)}), ((M,), {"shape": (6,)}), ((S,), {"shape": (1,)})],
    "broadcast": [((S,), {"shape": (2, 3)}), ((V,), {"shape": (2, 3)}), (((2, 1),), {"shape": (2, 3)}),
                  (((1, 3),), {"shape": (4, 2, 3)})],
    "concat": [((V, (2,), V), {"axis": 0}), ((M, (2, 1)), {"axis": 1})],
    "slice": [((V,), {"axis": 0, "low": 1, "high": 3}), ((M,), {"axis": 1, "low": 0, "high": 2})],
    "pad": [((V,), {"axis": 0, "low": 1, "size": 6}), ((M,), {"axis": 1, "low": 2, "size": 5})],
    "fold_sum": [((V,), {}), ((S,), {})],
    "fold_outer": [((V, (2,)), {})],
    "fold_column": [((V, LABEL), {"shape": (3, 4)})],
}
LEAVES = {"number", "table", "param", "input", "frame_index", "frames_left", "weight", "cotangent", "state_cotangent"}
APART = {"stop_gradient"}                      # its derivative is nothing, though its value changes
ALL = [(op, i) for op, cases in CASES.items() for i in range(len(cases))]


def test_every_operator_has_a_case():
    assert set(OPS) == set(CASES) | LEAVES | APART
    assert {name for name, op in OPS.items() if op.family == "leaf"} == LEAVES


def case_graph(name, shapes, attrs):
    s = Sketch()
    args = []
    for i, shape in enumerate(shapes):
        args.append(s.input(f"x{i}", classes=4) if shape == LABEL else s.input(f"x{i}", *shape))
    out = s.op(name, *args, **attrs)
    return s.graph(outputs={"y": out})


def draw(graph, name, seed=0, frames=3, streams=2):
    r = np.random.default_rng(seed)
    inputs = {}
    for i in graph.inputs:
        if i.kind == "class":
            inputs[i.name] = r.integers(-1, 4, (frames, streams))
        else:
            values = r.normal(size=(frames, streams, *i.shape))
            inputs[i.name] = np.abs(values) + 0.1 if name in POSITIVE else values
    return inputs


@pytest.mark.parametrize("name,index", ALL)
def test_derivative(name, index):
    graph = check(case_graph(name, *CASES[name][index]))
    inputs = draw(graph, name)
    r = np.random.default_rng(1)
    value = oracle.run(graph, inputs).outputs["y"]
    if graph[graph.outputs["y"]].kind != REAL:
        return
    joint = check(vjp(graph))
    seeds = {"y": r.normal(size=value.shape)}
    found = oracle.run(joint, inputs, cotangents=seeds).input_gradients
    quick = oracle.run(check(simplify(joint)), inputs, cotangents=seeds).input_gradients
    direction = {key: r.normal(size=a.shape) for key, a in inputs.items() if a.dtype.kind == "f"}
    assert set(found) == set(direction)
    expected = along(found, direction)
    assert along(quick, direction) == pytest.approx(expected, rel=1e-12, abs=1e-13)
    step = {key: a + 1j * STEP * direction[key] if key in direction else a for key, a in inputs.items()}
    assert np.sum(seeds["y"] * oracle.run(graph, step).outputs["y"].imag) / STEP == pytest.approx(
        expected, rel=1e-12, abs=1e-13)
    ends = []
    for h in (1e-5, -1e-5):
        ends.append(oracle.run(graph, {k: a + h * direction[k] if k in direction else a for k, a in inputs.items()}))
    assert np.sum(seeds["y"] * (ends[0].outputs["y"] - ends[1].outputs["y"])) / 2e-5 == pytest.approx(
        expected, rel=1e-6, abs=1e-7)


def test_stop_gradient():
    s = Sketch()
    x = s.input("x", 3)
    graph = s.graph(outputs={"y": s.op("mul", x, s.op("stop_gradient", x))})
    x = np.random.default_rng(0).normal(size=(2, 1, 3))
    result = oracle.run(vjp(graph), {"x": x}, cotangents={"y": np.ones_like(x)})
    assert np.allclose(result.input_gradients["x"], x)


@pytest.mark.parametrize("name,index", [case for case in ALL if OPS[case[0]].pull is not None])
def test_error_bound_covers_rounding(name, index):
    """The same operator in float32, of arguments rounded to float32, stays within a few bounds."""
    graph = case_graph(name, *CASES[name][index])
    inputs = draw(graph, name, seed=2)
    exact = oracle.run(graph, inputs, bounds=True)
    bound = exact.bounds.outputs["y"]
    if exact.kinks or name == "mod":
        return
    rounded = {key: a.astype(np.float32) if a.dtype.kind == "f" else a for key, a in inputs.items()}
    found = oracle.run(graph, rounded, dtype=np.float32).outputs["y"]
    assert np.all(np.abs(found - exact.outputs["y"]) <= 4 * bound + 1e-30)
    assert np.all(bound <= 1e-5 * (1 + np.abs(exact.outputs["y"])))


def test_kinks_are_reported():
    s = Sketch()
    x, y = s.input("x", 2), s.input("y", 2)
    nodes = [s.op("relu", x), s.op("maximum", x, y), s.op("lt", x, y), s.op("floor", s.op("mul", y, s.number(3.0)))]
    graph = s.graph(outputs={f"o{i}": n for i, n in enumerate(nodes)})
    third = 1 / 3
    values = lambda a, b: np.array(a, float).reshape(1, 1, 2)
    far = oracle.run(graph, {"x": values([0.5, -2.3], 0), "y": values([0.7, 1.2], 0)}, bounds=True)
    assert far.outputs and not far.kinks
    near = oracle.run(graph, {"x": values([1e-9, third], 0), "y": values([0.7, third + 1e-9], 0)}, bounds=True)
    assert near.outputs and {k.op for k in near.kinks} == {"maximum", "lt", "floor"}
    zero = oracle.run(graph, {"x": values([third, third], 0), "y": values([0.7, 0.9], 0)}, bounds=True)
    assert zero.outputs and not zero.kinks


@pytest.mark.parametrize("name,shapes,attrs", [
    ("add", (V, M), {}), ("matmul", (M, (2,)), {}), ("matmul", (V, V), {}), ("outer", (M, V), {}),
    ("column", (V, LABEL), {}), ("add", (S, LABEL), {}), ("exp", (LABEL,), {}), ("sum", (V,), {"axis": 1}),
    ("slice", (V,), {"axis": 0, "low": 2, "high": 4}), ("concat", (V, M), {"axis": 0}), ("transpose", (V,), {}),
    ("pad", (V,), {"axis": 0, "low": 2, "size": 4}), ("reshape", (V,), {"shape": (2,)}), ("tanh", (V, V), {}),
    ("broadcast", (V,), {"shape": (3, 2)}), ("where", (V, S, LABEL), {}), ("nothing", (V,), {}),
])
def test_refused(name, shapes, attrs):
    with pytest.raises(Broken):
        case_graph(name, shapes, attrs)


def test_whole_numbers_stay_whole():
    s = Sketch()
    t = s.op("frame_index")
    value = s.op("mod", s.op("sub", t, s.number(2)), s.number(3))
    graph = s.graph(outputs={"y": value})
    assert graph[value].kind == "int"
    assert oracle.run(graph, frames=5, streams=1).outputs["y"][:, 0].tolist() == [1, 2, 0, 1, 2]
