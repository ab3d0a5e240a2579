"""Every row of the operator table: its derivative against a complex step and against central differences, through
the oracle, and its shape rule on what does not fit. An operator without a case here fails the first test."""

import functools
import math

import numpy as np
import pytest
from graphs import STEP, Sketch, along

from rnnc.errors import Broken
from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.gradient import vjp
from rnnc.graph.nodes import REAL
from rnnc.graph.ops import OPS
from rnnc.graph.ops.declared import SURROGATES
from rnnc.graph.ops.sparse import Pattern
from rnnc.graph.simplify import simplify
from rnnc.graph.values import only_values

V, M, S, LABEL, KEY = (3,), (2, 3), (), "label", "key"
LISTS, TIME, ORDER = "lists", "time", "order"  # lists of labels, the number of a frame, an order of three frames


class Per(tuple):
    """The shape of a value per sequence."""


PATTERN = Pattern("W", 20, 5, 2)
POSITIVE = {"log", "sqrt", "pow", "quantize", "attend", "correct", "pair"}   # the last, whose bounds are sums of sizes
CASES = {                                      # operator -> arguments, attributes (and wanted shape)
    **{name: [((V,), {})] for name in ["neg", "exp", "log", "sqrt", "abs", "sign", "floor", "sin", "cos", "erf",
                                       "sigmoid", "tanh", "relu", "softplus", "not", "identity"]},
    **{name: [((V, V), {}), ((S, M), {}), ((M, S), {}), ((S, S), {}), ((Per(V), V), {}), ((V, Per(S)), {})] for name in
       ["add", "sub", "mul", "div", "pow", "mod", "minimum", "maximum", "lt", "le", "gt", "ge", "eq", "ne", "and",
        "or"]},
    "where": [((V, V, V), {}), ((S, M, S), {}), ((M, S, S), {})],
    "straight_through": [((V, V), {}), ((S, M), {}), ((M, S), {})],
    "spike": [((V,), {"surrogate": name, "slope": 1.3}) for name in SURROGATES] + [
        ((S,), {"surrogate": "atan", "slope": 2.0})],
    "quantize": [((V, V, S), {}), ((M, S, S), {}), ((S, S, S), {})],
    "dropout": [((V, KEY), {"p": 0.4, "site": "a"}), ((M, KEY), {"p": 0.1, "site": "b"})],
    "noise": [((V, KEY), {"site": "a"}), ((S, KEY), {"site": "b", "shape": (2, 3)}), ((S, KEY), {"site": "c"})],
    "scatter": [(((20, 2),), {"pattern": PATTERN})],
    "gather": [(((20, 5),), {"pattern": PATTERN})],
    "fold_sparse": [(((20,), (5,)), {"pattern": PATTERN})],
    "real": [((LABEL,), {})],
    "matmul": [((M, V), {}), (((3, 2), V), {"ta": True}), ((M, (3, 4)), {}), (((3, 2), (3, 4)), {"ta": True}),
               ((M, (4, 3)), {"tb": True}), (((3, 2), (4, 3)), {"ta": True, "tb": True})],
    "outer": [((V, (2,)), {}), ((Per(V), (2,)), {})],
    "column": [((M, LABEL), {})],
    "take": [((V, LABEL), {}), ((M, LABEL), {})],
    "surprisal": [((V, LABEL), {}), (((1,), LABEL), {})],
    "place": [((S, LABEL), {"shape": (4,)}), ((V, LABEL), {"shape": (2, 3)})],
    "one_hot": [((LABEL,), {"shape": (4,)})],
    **{name: [((V,), {"axis": None}), ((M,), {"axis": 0}), ((M,), {"axis": 1})] for name in
       ["sum", "max", "min", "argmax", "logsumexp", "softmax", "logsoftmax"]},
    "transpose": [((M,), {})],
    "bfloat16": [((M,), {"axis": 0}), ((M,), {"axis": 1})],
    "int8": [((M,), {})],
    "reshape": [((M,), {"shape": (3, 2)}), ((M,), {"shape": (6,)}), ((S,), {"shape": (1,)})],
    "broadcast": [((S,), {"shape": (2, 3)}), ((V,), {"shape": (2, 3)}), (((2, 1),), {"shape": (2, 3)}),
                  (((1, 3),), {"shape": (4, 2, 3)})],
    "concat": [((V, (2,), V), {"axis": 0}), ((M, (2, 1)), {"axis": 1})],
    "slice": [((V,), {"axis": 0, "low": 1, "high": 3}), ((M,), {"axis": 1, "low": 0, "high": 2})],
    "pad": [((V,), {"axis": 0, "low": 1, "size": 6}), ((M,), {"axis": 1, "low": 2, "size": 5})],
    "fold_sum": [((V,), {}), ((S,), {}), ((Per(V),), {})],
    "fold_outer": [((V, (2,)), {}), ((Per(V), (2,)), {}), ((Per(V), Per(S + (2,))), {}),
                   ((M, (2, 2)), {}), ((Per(M), Per((2, 2))), {})],
    "fold_column": [((V, LABEL), {"shape": (3, 4)})],
    **{name: [((S,), {}), ((M,), {}), ((Per(V),), {})] for name in
       ["span_sum", "span_max", "span_last", "span_first", "span_logsumexp"]},
    "permute": [((v, TIME, ORDER), {}) for v in (S, M, LABEL, Per(V))],
    "ctc": [(((4,), LISTS), {})],
    "ctc_slope": [(((4,), LISTS), {})],
    "attend": [(((3,), (4,), (3,), S), {"direction": 1}), (((3,), (4,), (3,), S, (4, 3)), {"direction": 1}),
               (((3,), (4,), (3,), S, (3, 4)), {"direction": -1, "turned": True}),
               (((3,), (4,), (3,), S, (4, 3)), {"direction": -1, "late": True}),
               (((3,), (4,), (3,), (4,)), {"direction": 1, "along": 0})],
    "correct": [(((3,), S, (3,), S, (4,)), {"direction": 1, "constant": True}),
                (((3,), (4,), (3,), S, (4,), (4,), (3, 4)),
                 {"direction": -1, "constant": True, "based": True, "turned": True}),
                (((3,), (4,), (3,), (3,), (4,)), {"direction": 1, "based": True, "along": 1})],
    "pair": [(((4,), (3,), S, (4,), (3,), S), {"direction": 1}),
             (((4,), (3,), S, (4,), (3,), S, (4, 3)), {"direction": -1}),
             (((4,), (3,), (3,), (4,), (3,), (3,)), {"direction": 1, "along": 1})],
    "attended": [(((4,), (3,), S), {}), (((4,), (3,), S, (4, 3)), {}),
                 (((4,), (3,), (4,), (3,), S, (4, 3)), {"products": 2}),
                 (((4,), (3,), (3,), (4, 3)), {"along": 1})],
}
LEAVES = {"number", "table", "param", "input", "frame_index", "frames_gone", "frames_left", "span_frames", "weight",
          "cotangent", "state_cotangent", "carried", "row_key"}
APART = {"stop_gradient"}                      # its derivative is nothing, though its value changes
DECLARED = {"straight_through", "spike", "quantize", "bfloat16"}       # whose derivative is not the value's: below
NOT_TWICE = {"ctc_slope", "attend", "correct", "attended", "pair"}             # made once the gradient is
FRAMES, STREAMS = 7, 2
STARTS = np.zeros((FRAMES, STREAMS))
STARTS[[0, 2, 3], [0, 1, 0]] = 1               # sequences of 3 and 4, of 2 and 5 frames
ALL = [(op, i) for op, cases in CASES.items() for i in range(len(cases))]


def test_every_operator_has_a_case():
    assert set(OPS) == set(CASES) | LEAVES | APART
    assert {name for name, op in OPS.items() if op.family == "leaf"} == LEAVES


def case_graph(name, shapes, attrs):
    s = Sketch()
    args = []
    for i, shape in enumerate(shapes):
        match shape:
            case "label":
                args.append(s.input(f"x{i}", classes=4))
            case "lists":
                args.append(s.input(f"x{i}", classes=3, lists=True, per="sequence"))
            case "time":
                args.append(s.op("frame_index"))
            case "key":
                args.append(s.op("row_key", per="frame", ago=0))
            case "order":
                args.append(s.table([2, 0, 1]))
            case _:
                args.append(s.input(f"x{i}", *shape, per="sequence" if isinstance(shape, Per) else "frame"))
    out = s.op(name, *args, **attrs)
    return s.graph(outputs={"y": out})


def draw(graph, name, seed=0):
    r = np.random.default_rng(seed)
    inputs = {}
    for i in graph.inputs:
        lead = (4,) if i.per == "sequence" else (FRAMES, STREAMS)
        if i.kind == "class":
            inputs[i.name] = r.integers(-1, 4, lead)
        elif i.kind == "labels":
            inputs[i.name] = [[1, 1], [], [2], [0, 1]]
        else:
            values = r.normal(size=(*lead, *i.shape))
            values += 0.1 * np.sign(values)
            inputs[i.name] = np.abs(values) if name in POSITIVE else values
    return inputs


def is_real(array) -> bool:
    return isinstance(array, np.ndarray) and array.dtype.kind == "f"


@pytest.mark.parametrize("name,index", ALL)
def test_derivative(name, index):
    graph = check(case_graph(name, *CASES[name][index]))
    inputs = draw(graph, name)
    run = functools.partial(oracle.run, starts=STARTS)
    r = np.random.default_rng(1)
    value = run(graph, inputs).outputs["y"]
    if graph[graph.outputs["y"]].kind != REAL or name in NOT_TWICE:
        return
    joint = check(vjp(graph))
    seeds = {"y": r.normal(size=value.shape)}
    found = run(joint, inputs, cotangents=seeds).input_gradients
    quick = run(check(simplify(joint)), inputs, cotangents=seeds).input_gradients
    direction = {key: r.normal(size=np.shape(a)) for key, a in inputs.items() if is_real(a)}
    assert set(found) == set(direction)
    expected = along(found, direction)
    assert along(quick, direction) == pytest.approx(expected, rel=1e-12, abs=1e-13)
    step = {key: a + 1j * STEP * direction[key] if key in direction else a for key, a in inputs.items()}
    assert np.sum(seeds["y"] * run(graph, step).outputs["y"].imag) / STEP == pytest.approx(
        expected, rel=1e-12, abs=1e-13)
    if name in DECLARED:
        return
    ends = []
    for h in (1e-5, -1e-5):
        ends.append(run(graph, {k: a + h * direction[k] if k in direction else a for k, a in inputs.items()}))
    assert np.sum(seeds["y"] * (ends[0].outputs["y"] - ends[1].outputs["y"])) / 2e-5 == pytest.approx(
        expected, rel=1e-6, abs=1e-7)


def test_stop_gradient():
    s = Sketch()
    x = s.input("x", 3)
    graph = s.graph(outputs={"y": s.op("mul", x, s.op("stop_gradient", x))})
    x = np.random.default_rng(0).normal(size=(2, 1, 3))
    result = oracle.run(vjp(graph), {"x": x}, cotangents={"y": np.ones_like(x)})
    assert np.allclose(result.input_gradients["x"], x)


STEPS = {                                      # what each surrogate takes the step for, as its source writes it
    "atan": lambda v, s: np.arctan(np.pi / 2 * s * v) / np.pi + 0.5,
    "fast_sigmoid": lambda v, s: v / (1 + s * np.abs(v)),
    "sigmoid": lambda v, s: 1 / (1 + np.exp(-s * v)),
    "triangle": lambda v, s: np.where(v < 0, 0, 1) - np.sign(v) * np.maximum(0, 1 - s * np.abs(v)) ** 2 / 2,
    "box": lambda v, s: np.clip(s * v + 0.5, 0, 1),
    "gaussian": lambda v, s: np.vectorize(lambda u: 0.5 * (1 + math.erf(u / math.sqrt(2))))(s * v),
}


@pytest.mark.parametrize("name", SURROGATES)
def test_a_spike_has_the_derivative_of_a_smooth_step(name):
    graph = case_graph("spike", (V,), {"surrogate": name, "slope": 1.7})
    v = np.random.default_rng(3).normal(size=(40, 1, 3))
    assert np.array_equal(oracle.run(graph, {"x0": v}).outputs["y"], v > 0)
    found = oracle.run(vjp(graph), {"x0": v}, cotangents={"y": np.ones_like(v)}).input_gradients["x0"]
    smooth = (STEPS[name](v + 1e-6, 1.7) - STEPS[name](v - 1e-6, 1.7)) / 2e-6
    assert np.allclose(found, smooth, rtol=1e-6, atol=1e-8)


def test_quantize_counts_steps_and_lets_gradients_through():
    """Three bits: -3 to 3 steps, halves away from zero. The step's own derivative is that of Esser et al. 2020."""
    graph = case_graph("quantize", (V, S, S), {})
    v, step = np.array([-9.0, -0.7, -0.5, -0.26, -0.24, 0.0, 0.24, 0.25, 0.6, 1.5, 1.74, 1.76]).reshape(4, 1, 3), 0.5
    inputs = {"x0": v, "x1": np.full((4, 1), step), "x2": np.full((4, 1), 3.0)}
    want = [-1.5, -0.5, -0.5, -0.5, 0, 0, 0, 0.5, 0.5, 1.5, 1.5, 1.5]
    assert oracle.run(graph, inputs).outputs["y"].ravel().tolist() == want
    back = oracle.run(vjp(graph), inputs, cotangents={"y": np.ones_like(v)}).input_gradients
    assert back["x0"].ravel().tolist() == [0] + 10 * [1] + [0]
    inside = np.abs(v) < 1.75
    steps = np.array(want).reshape(v.shape) / step
    assert np.allclose(back["x1"], np.where(inside, steps - v / step, steps).sum(-1))


def test_straight_through_has_the_value_of_one_and_the_gradient_of_the_other():
    s = Sketch()
    x = s.input("x", 3)
    graph = s.graph(outputs={"y": s.op("straight_through", s.op("sign", x), s.op("mul", x, s.op("mul", x, x)))})
    x = np.random.default_rng(0).normal(size=(2, 1, 3))
    result = oracle.run(vjp(graph), {"x": x}, cotangents={"y": np.ones_like(x)})
    assert np.allclose(result.input_gradients["x"], 3 * x ** 2)
    assert np.array_equal(oracle.run(only_values(graph), {"x": x}).outputs["y"], np.sign(x))


@pytest.mark.parametrize("name,index", [case for case in ALL if OPS[case[0]].pull is not None or case[0] in NOT_TWICE])
def test_error_bound_covers_rounding(name, index):
    """The same operator in float32, of arguments rounded to float32, stays within a few bounds."""
    graph = case_graph(name, *CASES[name][index])
    inputs = draw(graph, name, seed=2)
    exact = oracle.run(graph, inputs, starts=STARTS, bounds=True)
    bound = exact.bounds.outputs["y"]
    if exact.kinks or name == "mod":
        return
    rounded = {key: a.astype(np.float32) if is_real(a) else a for key, a in inputs.items()}
    found = oracle.run(graph, rounded, starts=STARTS, dtype=np.float32).outputs["y"]
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
