"""The plan in words: golden reports for an imagined machine, what the cost model must obey, the commands.

No prediction is compared with a clock here: that is bench/predict.py.
"""

import json
from dataclasses import replace

import pytest
from commands import rnnc
from shown import FOURTH, PROGRAMS

import rnnc as package
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.explain import explain
from rnnc.plan.cost import cost, least
from rnnc.plan.machine import TYPICAL
from rnnc.plan.schedule import Sweep
from rnnc.runtime.trial import cores

BIDIRECTIONAL = """# Two directions of time: neither loop waits for the other.
model both(n = 8) {
    input  x : [3]
    target y : [2]
    h = concat(lstm(n)(x), reversed(lstm(n))(x))
    z = dense(2)(h)
    output z
    loss   mse(z, y)
}
"""
MEMORY = """# A matrix that is linear in itself and only asked: products over chunks of frames.
model memory(n = 32) {
    input  x : [3]
    target y : [n]
    f = sigmoid(dense(1)(x)[0])
    S = f * S[t-1] + outer(dense(n)(x), dense(n)(x))
    o = S @ dense(n)(x)
    output o
    loss   mse(o, y)
}
"""
DELTA = """# The delta rule: a matrix that corrects itself by what it answers.
model delta(n = 32) {
    input  x : [3]
    target y : [n]
    k = dense(n)(x)
    S = S[t-1] + 0.5 * outer(dense(n)(x) - S[t-1] @ k, k)
    o = S @ dense(n)(x)
    output o
    loss   mse(o, y)
}
"""
TEXTS = {**PROGRAMS, "bidirectional": (BIDIRECTIONAL, {}), "memory": (MEMORY, {}), "delta": (DELTA, {})}
LSTM = """model net(n = 128) {
    input x : [n]
    target y : [n]
    h = lstm(n)(x)
    output h
    loss mse(h, y)
}
"""


def planned(text: str, sizes: dict | None = None, gradient="parameters") -> dict:
    return pipeline.schedules(Source("net.rnn", text), pipeline.Options(gradient=gradient), sizes)


@pytest.mark.parametrize("name", TEXTS)
def test_report(golden, name):
    made = planned(*TEXTS[name])
    golden(f"{name}.explain", explain([made["run"], made["backprop"]], 64, 16, 2, TYPICAL))


def test_one_of_a_family_has_its_index():
    """Not `sparse reshape of slice of U`."""
    text = """model m {
        input x : [24]
        param U : [2, 24, 24] sparse(0.8)   param V : [2, 24, 24]
        h = tanh(x + U[1] @ h[t-1] + V[0] @ h[t-2])
        output h }"""
    report = explain([planned(text)["run"]], 2, 16, 1, TYPICAL)
    assert "sparse U[1] @ h[t-1]" in report and "V[0] @ h[t-2]" in report


def test_operations_are_counted_from_the_shapes():
    """An LSTM layer of n units on n inputs: 4 gates, 2 matrices; backwards the loop's again, and both gradients."""
    n, frames, streams = 128, 32, 4
    made = planned(LSTM)
    once = 2 * 4 * n * n * frames * streams
    assert cost(made["run"], frames, streams, 1, TYPICAL).total("products") == 2 * once
    assert cost(made["backprop"], frames, streams, 1, TYPICAL).total("products") == 5 * once


@pytest.mark.parametrize("threads", [1, 2, 7, 64])
def test_operations_do_not_depend_on_threads(threads):
    made = planned(LSTM)["backprop"]
    alone, shared = cost(made, 32, 4, 1, TYPICAL), cost(made, 32, 4, threads, TYPICAL)
    for what in ("products", "equations", "functions"):
        assert shared.total(what) == pytest.approx(alone.total(what))


def test_steps_and_meetings():
    made = planned(FOURTH, {"n": 64})["run"]
    loop = next(s for s in cost(made, 64, 2, 2, TYPICAL).stages if isinstance(made.stages[s.stage], Sweep))
    assert loop.steps == 16 and loop.meetings >= 16
    assert cost(made, 64, 2, 1, TYPICAL).total("meetings") == 0


def test_time_grows_with_the_call_and_shrinks_with_a_faster_machine():
    made = planned(LSTM)["backprop"]
    seconds = [cost(made, frames, 4, 1, TYPICAL).seconds for frames in (16, 32, 64)]
    assert seconds == sorted(seconds)
    fast = replace(TYPICAL, product=tuple(tuple(2 * r for r in rates) for rates in TYPICAL.product),
                   read=tuple(2 * r for r in TYPICAL.read), plain=TYPICAL.plain / 2, function=TYPICAL.function / 2)
    assert cost(made, 32, 4, 1, fast).seconds < cost(made, 32, 4, 1, TYPICAL).seconds


@pytest.mark.parametrize("name", TEXTS)
def test_no_number_of_threads_beats_the_critical_path(name):
    for made in planned(*TEXTS[name]).values():
        bound = least(made, 32, 4, TYPICAL).seconds
        assert all(cost(made, 32, 4, n, TYPICAL).seconds >= bound for n in (1, 2, 4, 8, 16, 32, 64))


def test_one_delay_more_is_asked_of_the_analysis():
    text = explain([planned(FOURTH)["run"]], 64, 16, 2, TYPICAL)
    assert "h[t-4] -> U @ -> h comes back after 4 frames" in text
    assert "(h[t-5] for h[t-4]) would let 5 frames go together" in text


@pytest.mark.parametrize("name", TEXTS)
def test_any_shape_of_call_has_a_report(name):
    made = planned(*TEXTS[name])
    for frames, streams, threads in ((1, 1, 1), (1, 100, 64), (5000, 1, 3)):
        assert explain(made.values(), frames, streams, threads, TYPICAL, 8).count("Critical path") == len(made)


# ------------------------------------------------------------------------------------------------ commands

def test_explain_command(tmp_path):
    path = tmp_path / "net.rnn"
    path.write_text(LSTM)
    said = rnnc("explain", str(path), "--streams", "3", "--frames", "20", "--threads", "5", "-D", "n=32").stdout
    assert said.startswith("20 frames of 3 streams on 5 threads") and "4 x 32 by 32" in said and "backprop" in said
    assert "backprop" not in rnnc("explain", str(path), "--inference", "-D", "n=32").stdout


def test_bench_command(tmp_path):
    path = tmp_path / "net.rnn"
    path.write_text(LSTM)
    said = json.loads(rnnc("bench", str(path), "--streams", "1,2", "--frames", "4", "--threads", "1", "--json",
                           "-D", "n=8").stdout)
    assert [(r["function"], r["streams"]) for r in said["rows"]] == [("run", 1), ("backprop", 1), ("run", 2),
                                                                     ("backprop", 2)]
    assert all(r["frames_per_second"] > 0 and r["predicted_seconds"] > 0 for r in said["rows"])
    line = ("bench", "-", "--frames", "4", "--threads", "1", "--inference", "-D", "n=8")
    assert rnnc(*line, input=" ".join(LSTM.split())).stdout.startswith("model, 4 frames a call, float32")
    assert rnnc(*line, input="model m { output h = lstm(8)(y) }", code=1).stderr.startswith("<stdin>:1:30: error E0201")


def test_bench_takes_no_more_threads_than_there_are(tmp_path):
    path = tmp_path / "net.rnn"
    path.write_text("model m { input x\n output y = tanh(x) }")
    done = rnnc("bench", str(path), "--streams", "1", "--frames", "4", "--threads", "999,1,1000", "--json")
    assert sorted({r["threads"] for r in json.loads(done.stdout)["rows"]}) == sorted({1, cores()})
    assert f"999 threads asked for; this process may use {cores()}, and gets as many" in done.stderr


@pytest.mark.parametrize("source", [
    """input x : [2]\n input s : [3] per sequence\n target l : labels(3)\n target c : class(3) per sequence
       h = lstm(3)(x) + s\n z = dense(4)(h)\n output z\n loss ctc(z, l)\n loss cross_entropy(last(h), c)""",
    "input s : [3] per sequence\n target y : [3]\n h = 0.5 * h[t-1] + 1\n init h = s\n output h\n loss mse(h, y)",
    "target y\n h = 0.5 * h[t-1] + 1\n output h\n loss mse(h, y)",
    "param a = 1\n h = a * h[t-1] + 1\n output h\n loss h^2",
])
def test_bench_of_values_per_sequence(source, tmp_path):
    path = tmp_path / "net.rnn"
    path.write_text(f"model net {{\n{source}\n}}\n")
    said = json.loads(rnnc("bench", str(path), "--streams", "2", "--frames", "6", "--threads", "1", "--json").stdout)
    assert [r["function"] for r in said["rows"]] == ["run", "backprop"]


def test_a_net_explains_itself():
    net = package.compile(LSTM, n=8)
    text = net.explain(streams=2, frames=8)
    assert str(text).startswith("8 frames of 2 streams") and repr(text) == str(text)
    with pytest.raises(package.InputError, match="streams: got 0"):
        net.explain(streams=0)
