"""Random programs and every standard cell through the middle end: the gradient against a complex step of the oracle,
the simplified graphs against the graphs they were made from."""

import re
from importlib.resources import files

import numpy as np
import pytest
from graphs import STEP, Numbers, along, moved
from random_programs import draw

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.graph.check import check
from rnnc.graph.gradient import gradient, vjp
from rnnc.graph.scores import scores
from rnnc.graph.simplify import simplify

SEEDS = range(50)
DRAWS = 10
CELL = """
model m(n = 4) {{
    input x : [n]
    target y : [n]
    h = {cell}(x)
    output p = h
    loss mse(h, y)
}}
"""
ARGUMENTS = {"conv": "n, 2", "narx": "n, 2", "projected_lstm": "n, n", "residual": "gru(n)",
             "clockwork": "n, [1, 3]", "retention": "n, 2", "gated_linear_attention": "n, 2, 3", "delta_net": "n, 2",
             "selective_ssm": "6, 3, 2", "mlstm": "n, 2", "slstm": "n, 2"}
LAYERS = ["stack(2, gru(n))", "share(2, lstm(n))", "reversed(lstm(n))"]


def cells():
    """An application of every standard cell that takes a vector."""
    for file in sorted(files("rnnc.grammar").joinpath("cells").iterdir(), key=lambda f: f.name):
        for name, sizes in re.findall(r"^cell (\w+)\(([^)]*)\)\(x\)", file.read_text(encoding="utf-8"), re.M):
            needed = ", ".join(size.strip() for size in sizes.split(",") if "=" not in size)
            if name == file.name[:-4] != "embed" and (name in ARGUMENTS or needed in ("", "n")):
                yield f"{name}({ARGUMENTS.get(name, needed)})"


def close(found, expected):
    return found == pytest.approx(expected, rel=1e-7, abs=1e-9)


def judge(graph, seed):
    """Whether the gradients are right, at data with finite values that stand on no kink; None if no such are drawn."""
    simple = check(simplify(check(graph)))
    joints = check(gradient(graph)), check(simplify(gradient(simple)))
    backs = check(vjp(graph)), check(simplify(vjp(simple)))
    assert simplify(joints[1]) is joints[1]
    for attempt in range(DRAWS):
        numbers = Numbers(graph, 100 * seed + attempt, frames=5)
        plain = numbers.run(graph, bounds=True)
        values = [*plain.outputs.values(), *plain.losses.values(), *plain.state.signals.values()]
        if plain.kinks or not all(np.all(np.isfinite(v)) and np.all(np.abs(v) < 1e6) for v in values):
            continue
        again = numbers.run(simple)
        for name, value in plain.outputs.items():
            assert np.allclose(value, again.outputs[name], rtol=1e-9, atol=1e-10), name
        trained = {p.name for p in graph.params if p.trainable}
        by_param = {k: d for k, d in numbers.direction(numbers.params).items() if k in trained}
        score = numbers.run(scores(graph), params=moved(numbers.params, by_param)).scores["loss"]
        for joint in joints:
            assert close(along(numbers.run(joint).gradients, by_param), np.imag(score) / STEP)
        cotangents, ds = numbers.direction(plain.outputs), numbers.direction(plain.state.signals)
        targets = {i.name for i in graph.inputs if i.target or i.kind == "flag"}
        by_input = {k: d for k, d in numbers.direction(numbers.inputs).items() if k not in targets}
        by_state = numbers.direction(numbers.state.signals)
        state = type(numbers.state)(numbers.state.since, moved(numbers.state.signals, by_state))
        stepped = numbers.run(graph, params=moved(numbers.params, by_param), inputs=moved(numbers.inputs, by_input),
                              state=state)
        expected = along({k: np.imag(v) / STEP for k, v in stepped.outputs.items()}, cotangents)
        expected += along({k: np.imag(v) / STEP for k, v in stepped.state.signals.items()}, ds)
        for back in backs:
            found = numbers.run(back, cotangents=cotangents, state_cotangents=ds)
            assert close(along(found.gradients, by_param) + along(found.input_gradients, by_input)
                         + along(found.state_gradients, by_state), expected)
        return True
    return None


@pytest.mark.parametrize("seed", SEEDS)
def test_random_program(seed):
    program = draw(seed)
    if judge(pipeline.elaborated(Source(f"random_{seed}.rnn", program.text), sizes=program.sizes), seed) is None:
        pytest.skip("no draw without a kink")


@pytest.mark.parametrize("cell", [*cells(), *LAYERS])
def test_cell(cell):
    text = CELL.format(cell=cell)
    assert judge(pipeline.elaborated(Source("cell.rnn", text)), 1), "no draw without a kink"
