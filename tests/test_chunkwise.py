"""Matrices that are linear in themselves and only asked: which loops become products over chunks of frames, that the
numbers stay those of the loop, and that nothing crosses a start, a call or a frame that it should not."""

from pathlib import Path

import numpy as np
import pytest
from compare import compare, continued, cut_equals_whole, draw_data, net_of, same_bits, set_params

import rnnc
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.graph import chunkwise, memories

pytestmark = pytest.mark.usefixtures("any_threads")
HEAD = """model m(keys = {keys}, values = {values}) {{
    input x : [8]   target y : [values]
    param Wq, Wk : [keys, 8]   param Wv : [values, 8]   param Wf : [keys, 8]   param wf : [8]   param decay : [] = 0.8
    q = Wq @ x   k = 0.5 * Wk @ x   v = Wv @ x
"""
TAIL = """    output o   loss mse(o, y)
}
"""
# What the matrix is, and whether the forward loop and its mirror in the gradient both become products.
FORMS = {
    "plain": ("S = S[t-1] + outer(v, k)   o = S @ q", True),
    "turned": ("S = S[t-1] * 0.9 + outer(k, v)   o = transpose(S) @ q", True),
    "constant": ("S = 0.5 * S[t-1] + outer(v, k)   o = S @ q", True),
    "kept first": ("S = outer(v, k) + (1 - 2^(-5)) * S[t-1]   o = S @ q", True),
    "seldom": ("S = where(x[0] > 0, 1, 0.9) * S[t-1] + outer(v, k)   o = S @ stop_gradient(q)", True),
    "by a gate": ("f = sigmoid(dot(wf, x) + 2)   S = f * S[t-1] + outer(v, k)   o = S @ q", True),
    "by rows": ("f = sigmoid(Wf @ x)   S = reshape(f, [keys, 1]) * S[t-1] + outer(k, v)   o = transpose(S) @ q", True),
    "by columns": ("f = sigmoid(Wf @ x)   S = S[t-1] * reshape(f, [1, keys]) + outer(v, k)   o = S @ q", True),
    "by a vector, ahead": ("S = reshape(sigmoid(v), [values, 1]) * S[t+1] + outer(v, k)   o = S @ q", True),
    "scaled": ("i = exp(x[0] - 1)   f = sigmoid(dot(wf, x))   S = f * S[t-1] + i * outer(v, k)   o = S @ q", True),
    "by a parameter": ("S = decay * S[t-1] + outer(v, k)   o = S @ q", True),
    "ahead, by a gate": ("f = sigmoid(dot(wf, x) + 2)   S = f * S[t+1] + outer(k, v)   o = transpose(S) @ q", True),
    "ahead": ("S = 0.9 * S[t+1] + outer(v, k)   o = S @ q", True),
    "delayed": ("S = 0.9 * S[t-1] + outer(v[t-1], k)   o = S @ q[t-2] + v", True),
    "read as a loop goes on": ("S = 0.9 * S[t-1] + outer(v, k)   h = tanh(S @ q + 0.5 * h[t-1])   o = h", True),
}
# Matrices that correct themselves by an answer.
CORRECTING = {
    "delta": "b = sigmoid(dot(wf, x))   S = S[t-1] + b * outer(v - S[t-1] @ k, k)   o = S @ q",
    "delta, turned":
        "b = sigmoid(Wv @ x)   S = S[t-1] + outer(k, b * (v - transpose(S[t-1]) @ k))   o = transpose(S) @ q",
    "delta, gated": "f = sigmoid(dot(wf, x) + 2)   T = f * S[t-1]   S = T + 0.7 * outer(v - T @ k, k)   o = S @ q",
    "delta, fading": "S = 0.9 * S[t-1] + outer(v - S[t-1] @ k, k)   o = S @ q",
    "delta, ahead": "S = S[t+1] + sigmoid(x[0]) * outer(v - S[t+1] @ k, k)   o = S @ q",
    "delta, other keys": "S = decay * S[t-1] + outer(0.5 * (v - S[t-1] @ q) / (1 + x[0]^2), k)   o = S @ q",
    "delta, of a parameter":
        "param c : [values]   S = S[t-1] + outer(c - S[t-1] @ k, k)   r = S[t-1] @ k   o = S @ q + r",
    "delta, to one": "S = S[t-1] + outer(ones(values) - decay * S[t-1] @ k, k)   o = S @ q",
    "delta, by columns": "S = S[t-1] * reshape(sigmoid(q), [1, keys]) + outer(v - S[t-1] @ k, k)   o = S @ q",
    "delta, by rows, gated": "T = S[t-1] * reshape(sigmoid(v), [values, 1])   S = T + outer(v - T @ k, k)   o = S @ q",
    "delta, by columns, gated":
        "T = reshape(sigmoid(q), [keys, 1]) * S[t-1]   S = T + outer(k, v - transpose(T) @ k)   o = transpose(S) @ q",
    "delta, of what is read late":
        "param c : [values]   u = v - S[t-1] @ k   S = S[t-1] + 0.2 * outer(u, k)   init u = c   o = S @ q + u[t-2]",
    "delta, taken away": "S = 0.9 * S[t-1] - outer(S[t-1] @ k - v, k)   o = S @ q",
    "delta, RWKV-7": """a = sigmoid(Wf @ x)
    S = S[t-1] * reshape(sigmoid(q), [1, keys]) - outer(S[t-1] @ k, a * k) + outer(v, q)   o = S @ q""",
    "two at once": "S = 0.8 * S[t-1] + outer(v, k) + outer(2 * v, sigmoid(q))   o = S @ q",
    "two at once, by rows":
        "S = reshape(sigmoid(v), [values, 1]) * S[t-1] + outer(v, k) - outer(2 * v, sigmoid(q))   o = S @ q",
    "late, by columns": "S = S[t-1] * reshape(sigmoid(k), [1, keys]) + outer(v, k)   o = S[t-1] @ q",
    "late": "S = f * S[t-1] + outer(v, k)   f = sigmoid(dot(wf, x))   o = S[t-1] @ q",
    "late, turned": "S = S[t-1] + outer(k, v)   o = transpose(S[t-1]) @ q",
}


def forms(name: str, keys: int, values: int) -> str:
    body = CORRECTING[name] if name in CORRECTING else FORMS[name][0]
    return HEAD.format(keys=keys, values=values) + "    " + body + "\n" + TAIL


def graph_of(text: str):
    return pipeline.elaborated(Source("chunkwise.rnn", text))


def operators(text: str, program: str) -> list[str]:
    """Of the planned program, in order."""
    made = pipeline.schedules(Source("chunkwise.rnn", text), pipeline.Options(gradient="all"))[program]
    return [node.op for node in made.graph.nodes]


@pytest.mark.parametrize("name", FORMS)
def test_which_loops(name):
    text = forms(name, 24, 28)
    assert operators(text, "run").count("attend") == 1
    found = operators(text, "backprop")
    assert "outer" not in found and found.count("attend") == (3 if "stop_gradient" in text else 4)


@pytest.mark.parametrize("name", CORRECTING)
def test_which_correct_themselves(name):
    """Forwards, and backwards: an adjoint of such a loop is one."""
    text, correcting = forms(name, 24, 28), "delta" in name
    found = operators(text, "run"), operators(text, "backprop")
    assert [made.count("correct") for made in found] == [correcting, 2 * correcting]
    assert not {"outer"} & {*found[0], *found[1]} and "attend" in found[0]


@pytest.mark.parametrize("cell", ["retention", "gated_linear_attention", "mlstm", "delta_net"])
def test_standard_cells_do(cell):
    text = f"model m {{ input x : [8]   target y : [96]   o = {cell}(96, 2)(x)   output o   loss mse(o, y) }}"
    found = operators(text, "run"), operators(text, "backprop")
    assert all("attend" in made and "outer" not in made for made in found)


REFUSED = {
    "it is an output": "S = S[t-1] + outer(v, k)   output S   o = S @ q",
    "it is asked two frames later": "S = S[t-1] + outer(v, k)   o = S[t-2] @ q",
    "two frames are between": "S = S[t-2] + outer(v, k)   o = S @ q",
    "it begins with a value": "param start : [values, keys]   init S = start   S = S[t-1] + outer(v, k)   o = S @ q",
    "it is small": "S = S[t-1] + outer(v[0 : 20], k)   o = concat(S @ q, v[20 :])",
    "each number fades by itself": "S = exp(-abs(outer(v, k))) * S[t-1] + outer(v, k)   o = S @ q",
    "it is corrected by a bent answer": "S = S[t-1] + outer(v - tanh(S[t-1] @ k), k)   o = S @ q",
    "it is corrected by two answers": "S = S[t-1] + outer(v - S[t-1] @ k - S[t-1] @ q, k)   o = S @ q",
    "it bends": "S = tanh(S[t-1] + outer(v, k))   o = S @ q",
    "what asks is itself an answer": "S = S[t-1] + outer(v, k)   o = S @ (q + 0.1 * o[t-1][0])",
}


@pytest.mark.parametrize("why", REFUSED)
def test_others_stay_loops(why):
    text = HEAD.format(keys=24, values=24) + "    " + REFUSED[why] + "\n" + TAIL
    assert not {"attend", "attended"} & set(operators(text, "run"))
    assert "attended" not in operators(text, "backprop")


@pytest.mark.parametrize("name,dtype", [*((name, "float32") for name in [*FORMS, *CORRECTING]), *(
    (name, "float64") for name in ("turned", "seldom", "delayed", "delta, gated", "delta, turned", "delta, ahead"))])
def test_values(name, dtype):
    """Few frames and many; sizes that fill vectors and that do not; one call, two, and one that goes on."""
    graph = graph_of(forms(name, *((32, 33) if dtype == "float32" else (25, 24))))
    for seed, (frames, streams) in enumerate([(9, 3), (150, 2)]):
        found = compare(graph, dtype, seed, frames, streams)
        same_bits(found["net"], found["data"])
        if found["net"].manifest["lookahead"] is None:
            cut_equals_whole(found["net"], graph, found["data"], dtype, frames // 2, found["answers"]["run"])
    for frames in (1, 8, 65):
        assert continued(found["net"], graph, dtype, 3, frames, 2)


@pytest.mark.parametrize("keys,values", [(130, 24), (24, 140), (256, 256)])
def test_wide(keys, values):
    graph = graph_of(forms("constant", keys, values))
    found = compare(graph, "float32", 1, 70, 2)
    same_bits(found["net"], found["data"])


def test_strong_fading():
    """Products of many small coefficients are nothing, and nothing is divided by them."""
    text = HEAD.format(keys=24, values=24) + "    S = 1e-9 * S[t-1] + outer(v, k)   o = S @ q\n" + TAIL
    found = compare(graph_of(text), "float32", 1, 140, 2)
    assert "attend" in operators(text, "backprop") and np.isfinite(found["net"].gradient).all()


@pytest.mark.parametrize("name", ["constant", "by rows", "delta"])
def test_nan_stays_where_it_is(name):
    """A frame that is no number spoils none before it, and none of another sequence or stream."""
    graph = graph_of(forms(name, 24, 24))
    net, data = net_of(graph), draw_data(graph, 1, frames=130, streams=2)
    set_params(net, data)
    starts = np.zeros((130, 2), np.uint8)
    starts[100, 1] = 1
    want = net.run(x=data.inputs["x"], starts=starts)["o"]
    x = data.inputs["x"].copy()
    x[70, 1] = np.nan
    found = net.run(x=x, starts=starts)["o"]
    assert np.isnan(found[70:100, 1]).all()
    found[70:100, 1] = want[70:100, 1]
    assert np.array_equal(found, want)


@pytest.mark.parametrize("name", ["turned", "by columns", "delta, turned"])
def test_a_step_is_a_run_of_one_frame(name):
    net = rnnc.compile(forms(name, 24, 40), threads=1)
    x, one, other = np.random.default_rng(1).normal(size=(20, 3, 8)).astype("f4"), net.state(3), net.state(3)
    for frame in x:
        step, whole = net.step(one, x=frame)["o"], net.run(x=frame[None], state=other)["o"][0]
        assert step.tobytes() == whole.tobytes()
    assert one["S"].tobytes() == other["S"].tobytes()
    long = net.run(x=x)["o"][-1]
    assert np.allclose(step, long, rtol=0, atol=1e-5 * np.abs(long).max())


def test_chunks_of_the_planner_are_those_of_the_c():
    for value, macro, file in ((chunkwise.CHUNK, "RN_CHUNK", "attend.h"), (memories.MOST, "RN_FADE_MOST", "fade.h"),
                               (chunkwise.FADE_CHUNK, "RN_FADE_CHUNK", "fade.h")):
        text = (Path(__file__).parents[1] / "runtime" / file).read_text()
        assert f"#define {macro} {value} " in text


def test_memory_is_not_a_matrix_for_each_frame():
    net = rnnc.compile(forms("constant", 64, 64))
    assert net._bytes("backprop", 1024, 1) < 1024 * 64 * 64
