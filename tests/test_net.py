"""Nets from program text: the public face, end to end."""

import os
import re
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest

import rnnc
from rnnc import pipeline
from rnnc.errors import CompileError, InputError, NumberError, Source
from rnnc.runtime.arrays import zeros
from rnnc.runtime.trial import cores

PROGRAM = """
model small(n = 5) {
    input  x : [3]
    input  k : class(4)
    input  f : flag
    target y : class(3)
    param  a : [n] = 0.1
    frozen c : [n] = 0.3
    init h = a
    e = embed(n)(k)
    h = tanh(dense(n)(x) + e + rnn(n)(h[t-2]) + f * c)
    logits = dense(3)(h)
    output p = softmax(logits)
    output best = argmax(logits)
    loss cross_entropy(logits, y)
    metric accuracy = argmax(logits) == y
}
"""


@pytest.fixture(scope="module")
def net():
    return rnnc.compile(PROGRAM, dtype="float64", gradient="all", seed=3)


def batch(frames=7, streams=3, seed=0):
    random = np.random.default_rng(seed)
    draw = lambda n: random.integers(0, n, (frames, streams))
    return {"x": random.normal(size=(frames, streams, 3)), "k": draw(4), "f": draw(2), "y": draw(3)}


def inputs(**more):
    return {k: v for k, v in batch(**more).items() if k != "y"}


def test_what_it_is(net):
    assert net.name == "small" and net.inputs["x"].shape == (3,) and net.targets["y"].classes == 3
    assert net.outputs["best"].kind == "int" and net.outputs["p"].shape == (3,)
    assert set(net.parameters) == {"a", "c", "e.W", "h.dense.W", "h.dense.b", "h.rnn.W", "h.rnn.U", "h.rnn.b",
                                   "logits.W", "logits.b"}
    assert (net.parameters["a"] == 0.1).all() and net.theta.size == net.trainable + 5
    other = rnnc.compile(PROGRAM, dtype="float64", gradient="all", seed=3, n=6)
    assert other.parameters["a"].shape == (6,) and (other.parameters["logits.b"] == net.parameters["logits.b"]).all()


def test_step_run_and_pieces_agree(net):
    data, whole, cut, steps = inputs(), net.state(3), net.state(3), net.state(3)
    wanted = net.run(**data, state=whole)
    parts = [net.run(**{k: v[a:b] for k, v in data.items()}, state=cut)["p"] for a, b in ((0, 1), (1, 5), (5, 7))]
    assert np.allclose(np.concatenate(parts), wanted["p"], rtol=1e-12)
    for t in range(7):
        out = net.step(steps, **{k: v[t] for k, v in data.items()})
        assert np.allclose(out["p"], wanted["p"][t], rtol=1e-12) and (out["best"] == wanted["best"][t]).all()
    for name in whole:
        assert np.allclose(whole[name], cut[name]) and np.allclose(whole[name], steps[name])
    assert whole["h"].shape == (2, 3, 5) and (whole.since == 7).all()


def test_the_state_holds_the_last_frames_newest_last(net):
    state = net.state(3)
    shown = net.run(**inputs(), state=state, probe=["h", "e"])
    assert np.allclose(state["h"], shown["h"][-2:]) and shown["e"].shape == (7, 3, 5) and "p" in shown
    with pytest.raises(InputError, match="no signal is called 'hh'"):
        net.run(**inputs(), probe="hh")
    with pytest.raises(InputError, match="y depends on a target; y is missing"):
        net.run(**inputs(), probe="y")


def test_backprop_against_differences(net):
    data, starts = batch(), np.eye(7, 3)[::-1]
    loss = net.backprop(**data, starts=starts)
    assert np.isclose(loss, net.evaluate(**data, starts=starts)["loss"], rtol=1e-12)
    nudge = np.random.default_rng(1).normal(size=net.theta.size)
    nudge[net.trainable:] = 0
    slope, theta = net.gradient @ nudge, net.theta.copy()

    def at(e):
        net.theta[...] = theta + e * nudge
        net.touch()
        return net.evaluate(**data, starts=starts)["loss"]
    difference = (at(1e-6) - at(-1e-6)) / 2e-6
    at(0)
    assert np.isclose(slope, difference, rtol=1e-6)


def test_vjp_leaves_the_state_where_it_is(net):
    state = net.state(3)
    net.run(**inputs(), state=state)
    before = state.to_arrays()
    net.vjp({"p": np.ones((7, 3, 3))}, **inputs(seed=1), state=state)
    assert all((before[k] == v).all() for k, v in state.to_arrays().items())


def test_vjp_against_differences(net):
    data, random = inputs(), np.random.default_rng(2)
    state = net.state(3)
    for name in state:
        state[name] = random.normal(size=state[name].shape) * 0.5
    dp = random.normal(size=(7, 3, 3))
    ds = {name: random.normal(size=state[name].shape) for name in state}
    back = net.vjp({"p": dp, "state": ds}, **data, state=state.copy())

    def value(x, shift):
        work = state.copy()
        for name in work:
            work[name][...] += shift[name]
        p = net.run(**{**data, "x": x}, state=work)["p"]
        return (p * dp).sum() + sum((work[name] * ds[name]).sum() for name in work)
    nudge, none = random.normal(size=data["x"].shape), {name: 0 for name in state}
    e = 1e-6
    slope = (value(data["x"] + e * nudge, none) - value(data["x"] - e * nudge, none)) / (2 * e)
    assert np.isclose(slope, (back["x"] * nudge).sum(), rtol=1e-5)
    push = {name: random.normal(size=state[name].shape) for name in state}
    slope = (value(data["x"], {n: e * p for n, p in push.items()})
             - value(data["x"], {n: -e * p for n, p in push.items()})) / (2 * e)
    assert np.isclose(slope, sum((back["state"][n] * push[n]).sum() for n in push), rtol=1e-5)


def test_threads_change_nothing(monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    results = []
    for threads in (1, 2, 3):
        net = rnnc.compile(PROGRAM, dtype="float64", gradient="all", seed=3, threads=threads)
        assert net._wanted == threads
        results.append((net.backprop(**batch(40, 5)), net.gradient.copy()))
    assert all(r[0] == results[0][0] and (r[1] == results[0][1]).all() for r in results)


def test_more_threads_than_processors_are_capped_with_a_word(monkeypatch):
    monkeypatch.delenv("RNNC_TEST_THREADS", raising=False)
    net, most = rnnc.compile(PROGRAM), cores()
    with pytest.warns(RuntimeWarning, match=f"threads = {most + 5}: this process may use {most} of") as told:
        net.threads = most + 5
        rnnc.compile(PROGRAM, threads=most + 5)
    assert [each.filename for each in told] == [__file__] * 2
    assert net.threads == most + 5 and net._wanted == most
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        net.threads = most


def test_threads_that_openmp_binds_are_not_capped():
    """libgomp leaves the first thread one processor as soon as it is loaded; the others may use the rest."""
    code = ("import os, rnnc, numpy as np; "
            "may = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count(); "
            "net = rnnc.compile('model m { input x : [3]\\n h = rnn(4)(x)\\n output h }', threads=may); "
            "net.run(x=np.zeros((2, 3))); net.threads = may; print(net._wanted == may)")
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True,
                          env=os.environ | {"OMP_PROC_BIND": "true"})
    assert done.stdout == "True\n" and not done.stderr


def test_ragged_sequences(net):
    made = [batch(n, 1, seed=n) for n in (3, 6, 1, 4)]
    lists = {k: [m[k][:, 0] for m in made] for k in made[0]}
    out = net.run(**{k: v for k, v in lists.items() if k != "y"})
    for p, m in zip(out["p"], made):
        assert np.allclose(p, net.run(**{k: v for k, v in m.items() if k != "y"})["p"][:, 0])
    wanted = sum(net.evaluate(**m)["loss"] * len(m["k"]) for m in made) / 14
    assert np.isclose(net.evaluate(**lists)["loss"], wanted)


def test_files_and_the_graph(net, tmp_path):
    net.save(tmp_path / "w.safetensors")
    other = rnnc.compile(PROGRAM, dtype="float64", gradient="all", seed=4)
    other.load(tmp_path / "w.safetensors")
    assert (other.theta == net.theta).all() and net.graph is not None


def test_single_numbers_go_to_files_and_back(tmp_path):
    program = "model m {\n input x\n target y\n param a = 1\n h = a * x + 0.5 * h[t-1]\n output h\n loss mse(h, y) }"
    net, other = rnnc.compile(program), rnnc.compile(program)
    net.parameters["a"] = 2.5
    net.save(tmp_path / "m.safetensors")
    other.load(tmp_path / "m.safetensors")
    assert other.parameters["a"].shape == () and other.parameters["a"] == 2.5
    data = rnnc.data.arrays({"x": np.ones(40), "y": np.zeros(40)}, frames=8)
    rnnc.fit(net, data, rnnc.Adam(net), epochs=1, checkpoint=tmp_path)
    rnnc.fit(net, data, rnnc.Adam(net), epochs=2, checkpoint=tmp_path)
    rnnc.fit(other, data, rnnc.Adam(other), epochs=2, checkpoint=tmp_path)
    assert other.parameters["a"] == net.parameters["a"] != 2.5


def test_a_built_module_loads_without_its_text(net):
    again = rnnc.load(net.module.path)
    again.parameters = net.parameters
    assert (again.run(**inputs())["p"] == net.run(**inputs())["p"]).all()
    with pytest.raises(InputError, match="without its program text"):
        again.run(**inputs(), probe=["h"])


def test_learning_a_text(tmp_path):
    text = "abcab\n" * 200
    data = rnnc.data.text(text, streams=4, frames=16, held_out=0.1)
    net = rnnc.compile("""
        model letters(vocab = 4) {
            input x : class(vocab)
            target y : class(vocab)
            logits = dense(vocab)(gru(16)(embed(8)(x)))
            output p = softmax(logits)
            loss cross_entropy(logits, y)
        }
        """, vocab=len(data.vocabulary))
    opt = rnnc.Adam(net, learning_rate={"logits.*": 0.02, "*": 0.01}, clip_norm=1.0)
    history = rnnc.fit(net, data, opt, epochs=12, validate=data.held, checkpoint=tmp_path)
    assert history["validation loss"][-1] < 0.05 < history["validation loss"][0]
    assert net.run(x=data.encode("abca"))["p"][-1].argmax() == data.encode("b")[0]


def test_check_numbers_lets_targets_without_weight_be_anything():
    net = rnnc.compile("model m {\n    input x : [3]\n    target y : [3]\n    param a\n    h = a * x + 0.5 * h[t-1]\n"
                       "    output h\n    loss mse(h, y)\n}\n", check_numbers=True)
    x, y, weight = (np.ones(shape, np.float32) for shape in ((4, 2, 3), (4, 2, 3), (4, 2)))
    y[2, 1] = np.nan
    with pytest.raises(rnnc.errors.InputError, match="y: nan at frame 2, stream 1, unit 0"):
        net.backprop(x=x, y=y, weight=weight)
    weight[2, 1] = 0
    assert np.isfinite(net.backprop(x=x, y=y, weight=weight)) and np.isfinite(net.gradient).all()
    weight[2, 1], y[0, 0, 1] = 0, np.inf
    with pytest.raises(rnnc.errors.InputError, match="y: inf at frame 0, stream 0, unit 1"):
        net.backprop(x=x, y=y, weight=weight)


def test_check_numbers_names_the_equation():
    text = """
        model fragile {
            input x : [2]
            r = log(x)
            h = tanh(h[t-1] + r)
            output h
        }
        """
    net = rnnc.compile(text, check_numbers=True)
    x = np.ones((5, 2, 2))
    x[3, 1, 0] = -1
    with pytest.raises(NumberError, match="run: r .*4:.*nan at frame 3, stream 1, unit 0"):
        net.run(x=x)
    plain = rnnc.compile(text)
    assert np.isnan(plain.run(x=x)["h"][3:, 1, 0]).all()


def test_inference_only():
    net = rnnc.compile(PROGRAM, gradient=None)
    with pytest.raises(InputError, match="gradient=None"):
        net.backprop(**batch())
    with pytest.raises(InputError, match="inference only"):
        rnnc.Adam(net)
    assert net.evaluate(**batch())["frames"] == 21


@pytest.mark.parametrize("metric", ["", " metric m = mean(h)\n"])
def test_a_net_without_a_loss_is_not_told_to_compile_otherwise(metric):
    text = f"model m {{\n input x : [2]\n h = rnn(2)(x)\n output h\n{metric}}}\n"
    with pytest.raises(InputError, match="m has no loss to learn from"):
        rnnc.Adam(rnnc.compile(text))
    assert rnnc.Adam(rnnc.compile(text, gradient="all")).updates == 0


def test_look_ahead_runs_but_does_not_step():
    net = rnnc.compile("model m {\n input x : [2]\n output p = x[t+1] + x\n}\n")
    x = np.arange(6.0).reshape(3, 2)
    assert np.allclose(net.run(x=x)["p"], x + np.vstack([x[1:], [[0, 0]]]))
    with pytest.raises(InputError, match=r"looks ahead: x\[t\+1\]"):
        net.step(net.state(), x=x[0])


@pytest.mark.parametrize("change,message", [
    ({"dtype": "float16"}, "dtype: got 'float16'"), ({"threads": 0}, "threads: got 0"),
    ({"gradient": "some"}, "gradient: got 'some'"), ({"weights": "float16"}, "weights: got 'float16'; it may be"),
    ({"weights": "bfloat16", "dtype": "float64"}, "weights: 'bfloat16' halves .* dtype is 'float64'"),
    ({"weights": "int8", "dtype": "float64"}, "weights: 'int8' stands for .* dtype is 'float64'"),
    ({"weights": "int4"}, "weights: got 'int4'; it may be 'float32', 'bfloat16' or 'int8'"),
    ({"target": "a b"}, "target: got 'a b'"), ({"seed": -1}, "seed: got -1"), ({"cache": 3}, "cache: got 3"),
    ({"memory_limit": 0.5}, "memory_limit: got 0.5"), ({"sizes": 3}, "sizes: got 3"),
    ({"n": 4, "sizes": {"n": 5}}, "given twice"),
    ({"n": True}, "n: got True"), ({"dtpye": "float32"}, "did you mean 'dtype'"), ({"model": 3}, "model: got 3"),
])
def test_arguments_of_compile(change, message):
    with pytest.raises(InputError, match=message):
        rnnc.compile(PROGRAM, **change)


def test_weights_are_packed_by_threads_to_the_same_bytes():
    net = rnnc.compile("model m {\n input x : class(90)\n h = stack(2, lstm(70))(embed(70)(x))\n"
                       " param A : [3, 3]\n output h, p = tanh(A) @ h[0:3]\n}\n")
    ffi, size = net.module.ffi, net.module.function("packed_size")()
    tuning = ffi.new("m_tuning *", {"flops_per_second": 1.0})          # so slow that any work is worth any threads
    packed = []
    for threads in (1, 2, 7):
        block = ffi.from_buffer(zeros(size, np.uint8))
        assert net.module.function("pack_threads")(net._vector(net.theta), block, threads, tuning) == 0
        packed.append(bytes(ffi.buffer(block)))
    block = ffi.from_buffer(zeros(size, np.uint8))
    net.module.function("pack")(net._vector(net.theta), block)
    assert packed == [bytes(ffi.buffer(block))] * 3


def test_sources():
    for source, message in [("none.rnn", "no such file: none.rnn"), (3, "a path or program text"),
                            ("", "got ''; a path or program text"), ("/", "is a folder"),
                            ("model m { output p = 1 }", "at least one newline")]:
        with pytest.raises(InputError, match=message):
            rnnc.compile(source)
    with pytest.raises(CompileError) as fault:
        rnnc.compile("model m {\n output p = q\n}\n")
    assert fault.value.diagnostics[0].span.line == 2


def test_dtype_may_be_numpys():
    assert rnnc.compile(PROGRAM, dtype=np.float64, gradient="all").dtype == np.float64


def test_a_cached_compile_is_quick_and_needs_no_grammar(net, tmp_path):
    path = tmp_path / "p.rnn"
    path.write_text(PROGRAM)
    code = ("import sys, time; import rnnc; from rnnc.runtime import net\nbegan = time.perf_counter()\n"
            f"n = rnnc.compile({str(path)!r})\n"
            "print(time.perf_counter() - began, bool({'lark', 'jinja2', 'pycparser'} & set(sys.modules)))")
    once = lambda: subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert once().split()[1] == "True"
    assert once().split()[1] == "False"
    path.write_text(PROGRAM.replace("0.1", "0.2"))
    assert once().split()[1] == "True"


def test_import_is_light():
    began = time.perf_counter()
    names = subprocess.run([sys.executable, "-c", "import sys, rnnc; dir(rnnc); print(*sys.modules)"],
                           capture_output=True, text=True, check=True).stdout.split()
    assert not {"numpy", "lark", "cffi", "_cffi_backend"} & set(names) and time.perf_counter() - began < 60
    assert {"Adam", "fit", "data", "compile"} <= set(dir(rnnc))
    with pytest.raises(AttributeError, match="no attribute 'Adm'"):
        rnnc.Adm  # noqa: B018


def test_cross_entropy_of_a_sure_answer():
    """Nothing cancels where the label's logit is far above the others, or all are large: logsumexp - logit would."""
    net = rnnc.compile("model m {\ninput z : [3]\ntarget y : class(3)\noutput p = softmax(z)\n"
                       "loss cross_entropy(z, y)\n}\n")
    for logits, label in (([1000, 999, 0], 0), ([1000, 999, 0], 1), ([20, 3, 2], 0), ([-5e4, -5e4, -6e4], 1)):
        z = np.array(logits, np.float64)
        exact = np.logaddexp.reduce(z - z[label])
        found = net.evaluate(z=z[None, None].astype(np.float32), y=np.array([[label]]))["loss"]
        assert found == pytest.approx(exact, rel=3e-7, abs=1e-7) and found >= 0


def test_the_step_of_a_large_matrix_learns():
    """What its gradient is made of is as large as the matrix, so on the stack of no thread: that was a crash."""
    text = """
model large(n = 1600) {
    input  x : [1]
    target y : [1]
    param U : [n, n]
    param s = 0.001
    h = tanh(x[0] + quantize(U, 8, s) @ h[t-1])
    loss mse(mean(h), y[0])
}
"""
    assert not re.search(r"real \w+\[RN_PAD\(\d{5,}\)", pipeline.emit(Source("large.rnn", text), pipeline.Options()).c)
    net = rnnc.compile(text)
    net.backprop(x=np.ones((2, 1), np.float32), y=np.zeros((2, 1), np.float32))
    assert net.gradients["s"] != 0
