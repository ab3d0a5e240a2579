"""The border of a net: every convention for arrays, every refusal before anything is touched."""

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError, NumberError, RnncError

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, meaning, tiny  # noqa: E402


@pytest.fixture(scope="module")
def net():
    return tiny()


def without(batch, *names):
    return {k: v for k, v in batch.items() if k not in names}


def test_signals(net):
    assert set(net.inputs) == {"x", "k", "m", "b"} and set(net.targets) == {"y"} and set(net.outputs) == {"p", "a"}
    assert net.inputs["x"] == rnnc.Signal((2,), "real", None, "frame")
    assert (net.inputs["k"].kind, net.inputs["k"].classes, net.inputs["b"].per) == ("class", 4, "sequence")
    assert "class(4)" in repr(net) and str(net.inputs["b"]) == "[3] per sequence"


def test_run_and_starts(net):
    starts = np.zeros((7, 3), int)
    starts[[3, 5], [0, 2]] = 1
    batch = inputs(7, 3, starts=starts)
    wanted, _ = meaning(net, **batch, starts=starts)
    out = net.run(**without(batch, "y"), starts=starts)
    assert np.allclose(out["p"], wanted) and (out["a"] == wanted.argmax(-1)).all() and out["a"].dtype == np.int32
    for kind in (bool, np.float64, np.uint8):
        assert (net.run(**without(batch, "y"), starts=starts.astype(kind))["p"] == out["p"]).all()


def test_the_axis_of_streams_may_be_left_out(net):
    batch = inputs(5, 1)
    bare = {k: v[:, 0] for k, v in batch.items() if k != "b"} | {"b": batch["b"][0]}
    full = net.run(**without(batch, "y"))
    got = net.run(**without(bare, "y"))
    assert got["p"].shape == (5, 3) and got["a"].shape == (5,) and (got["p"] == full["p"][:, 0]).all()
    assert net.backprop(**bare) == net.backprop(**batch)
    assert net.evaluate(**bare, weight=np.ones(5)) == net.evaluate(**batch, weight=np.ones((5, 1)))
    state = net.state()
    step = net.step(state, **{k: bare[k][0] for k in "xkm"}, b=bare["b"])
    assert step["p"].shape == (3,) and step["a"].shape == () and (step["p"] == got["p"][0]).all()
    with pytest.raises(InputError, match=r"k: got shape \[5, 1\], wanted \[T\], since x comes without"):
        net.run(**{**without(bare, "y"), "k": batch["k"]})


def test_types_are_converted_and_fitting_arrays_used_in_place(net):
    batch = without(inputs(4, 2), "y")
    wanted = net.run(**batch)["p"]
    other = {"x": batch["x"].astype(np.longdouble), "k": batch["k"].astype(np.uint8), "m": batch["m"].astype(bool),
             "b": np.asfortranarray(batch["b"])}
    assert (net.run(**other)["p"] == wanted).all()
    assert (net.run(**{**batch, "x": batch["x"].astype(">f8"), "k": batch["k"].tolist()})["p"] == wanted).all()
    assert net._border.gather(batch).arrays["x"] is batch["x"]
    unaligned = np.zeros(batch["x"].nbytes + 1, np.uint8)[1:].view(np.float64).reshape(batch["x"].shape)
    unaligned[...] = batch["x"]
    assert (net.run(**{**batch, "x": unaligned})["p"] == wanted).all()


REFUSED = [
    ({"z": 1}, "no input is called 'z'"),
    ({"xx": 1}, "did you mean 'x'"),
    ({"x": None}, r"missing: x \(\[2\]\)"),
    ({"x": np.zeros((5, 2, 3))}, r"x: got shape \[5, 2, 3\], wanted \[T, B, 2\] \(with one stream also \[T, 2\]\)"),
    ({"x": np.zeros((5, 2, 2), complex)}, "x: real numbers are wanted, not complex128"),
    ({"x": "text"}, "x: real numbers are wanted"),
    ({"k": np.full((5, 2), 4)}, r"k: label 4 at \[0, 0\] is not in 0..3"),
    ({"k": np.full((5, 2), -1)}, "k: label -1"),
    ({"k": np.zeros((5, 2))}, "k: integer labels are wanted, not float64"),
    ({"k": np.full((5, 2), 2**40)}, "k: label 1099511627776"),
    ({"k": [[1, 2], [3]]}, "k: this is not an array"),
    ({"m": np.full((5, 2), 2)}, r"m: flags are 0 or 1; 2 stands at \[0, 0\]"),
    ({"m": np.full((5, 2), np.nan)}, "m: flags are 0 or 1; nan"),
    ({"m": np.zeros((4, 2))}, "m: 4 frames, but x has 5"),
    ({"m": np.zeros((5, 3))}, "m: 3 streams, but x has 2"),
    ({"b": np.zeros((3, 3))}, r"b: got shape \[3, 3\], wanted \[2, 3\]: one per sequence, and there are 2 streams"),
    ({"starts": np.full((5, 2), 0.5)}, "starts: flags are 0 or 1"),
    ({"weight": np.full((5, 2), np.nan)}, "weight: every weight has to be a finite number"),
    ({"state": 3}, r"state: got 3; net.state\(streams\) makes one"),
    ({"y": np.full((5, 2), -1)}, "; where weight= is 0, which leaves a frame out of the loss, it may be"),
    ({"frames": 3}, "frames: the inputs say how many there are"),
]


@pytest.mark.parametrize("change,message", REFUSED, ids=[m[:40] for _, m in REFUSED])
def test_refusals_touch_nothing(net, change, message):
    state = net.state(2)
    net.evaluate(**inputs(3, 2), state=state)
    before, gradient = state.to_arrays(), net.gradient.copy()
    with pytest.raises(InputError, match=message):
        net.backprop(**{**inputs(5, 2), "state": state, **change})
    after = state.to_arrays()
    assert all((before[k] == after[k]).all() for k in before) and (net.gradient == gradient).all()


def test_states_of_others_are_refused(net):
    batch = without(inputs(3, 2), "y")
    with pytest.raises(InputError, match="state: it has 3 streams, but x has 2"):
        net.run(**batch, state=net.state(3))
    with pytest.raises(InputError, match="float32.*float64"):
        net.run(**batch, state=tiny("float32").state(2))
    with pytest.raises(InputError, match="streams: got 0, wanted a whole number of at least 1"):
        net.state(0)
    with pytest.raises(InputError, match="no streams"):
        net.run(**without(inputs(3, 0), "y"))


def test_no_frames_are_no_work(net):
    state = net.state(2)
    batch = inputs(0, 2)
    assert net.run(**without(batch, "y"), state=state)["p"].shape == (0, 2, 3)
    net.gradient.fill(1)
    assert net.backprop(**batch) == 0 and not net.gradient.any()
    assert (state.since == 0).all()


def test_out(net):
    batch = without(inputs(4, 2), "y")
    p = np.empty((4, 2, 3))
    got = net.run(**batch, out={"p": p})
    assert got["p"] is p and (p == net.run(**batch)["p"]).all() and "a" in got
    for bad, message in [({"q": p}, "no output is called 'q'"), ({"p": p[:3]}, r"out\['p'\]: got float64 \[3, 2, 3\]"),
                         ({"p": p.astype(np.float32)}, "got float32"), ({"p": np.asfortranarray(p)}, "contiguous"),
                         (p, "a dict")]:
        with pytest.raises(InputError, match=message):
            net.run(**batch, out=bad)
    shared = np.zeros(4 * 2 * 3)
    x = shared[:16].reshape(4, 2, 2)
    with pytest.raises(InputError, match="shares memory with x"):
        net.run(**{**batch, "x": x}, out={"p": shared.reshape(4, 2, 3)})


def test_probe_shows_inner_signals(net):
    batch = inputs(4, 2)
    _, h = meaning(net, **batch)
    state = net.state(2)
    got = net.run(**without(batch, "y"), probe=["h"], state=state)
    assert np.allclose(got["h"], h) and "p" in got and np.allclose(state["h"][0], h[-1])
    net.parameters["U"] = net.parameters["U"] * 0.5
    _, h = meaning(net, **batch)
    assert np.allclose(net.run(**without(batch, "y"), probe="h")["h"], h)
    with pytest.raises(InputError, match="no signal is called 'hh'"):
        net.run(**without(batch, "y"), probe=["hh"])


def test_ragged_lists(net):
    lengths = [5, 2, 9, 9, 1, 4]
    single = [inputs(n, 1, seed=i) for i, n in enumerate(lengths)]
    lists = {k: [s[k][:, 0] for s in single] for k in "xkmy"} | {"b": np.concatenate([s["b"] for s in single])}
    out = net.run(**without(lists, "y"))
    for i, s in enumerate(single):
        assert out["p"][i].shape == (lengths[i], 3)
        assert np.allclose(out["p"][i], net.run(**without(s, "y"))["p"][:, 0])
    scores = [net.evaluate(**s) for s in single]
    mean = lambda name: sum(s[name] * n for s, n in zip(scores, lengths)) / sum(lengths)
    got = net.evaluate(**lists)
    assert got["frames"] == sum(lengths) and np.isclose(got["loss"], mean("loss"))
    weight = [np.linspace(0, 1, n) for n in lengths]
    loss = net.backprop(**lists, weight=weight)
    total = np.zeros_like(net.gradient)
    assert np.isclose(loss, net.evaluate(**lists, weight=weight)["loss"])
    for s, w in zip(single, weight):
        if w.sum():
            net.backprop(**s, weight=w[:, None])
            total += net.gradient * w.sum()
    net.backprop(**lists, weight=weight)
    assert np.allclose(net.gradient, total / sum(w.sum() for w in weight))


def test_ragged_refusals(net):
    a, b = inputs(3, 1), inputs(4, 1)
    lists = {k: [a[k][:, 0], b[k][:, 0]] for k in "xkm"} | {"b": np.zeros((2, 3))}
    for change, message in [({"k": lists["k"][:1]}, "k: 1 sequences, but x has 2"),
                            ({"k": lists["k"][::-1]}, r"k\[0\]: 4 frames, but x\[0\] has 3"),
                            ({"b": np.zeros((3, 3))}, "wanted one per sequence, 2 of them"),
                            ({"m": np.zeros((3, 2))}, "m: a list of arrays is wanted"),
                            ({"state": net.state(2)}, "cannot continue a state"),
                            ({"out": {}}, "fresh arrays"), ({"k": None}, "missing: k")]:
        with pytest.raises(InputError, match=message):
            net.run(**{**lists, **change})


def test_accumulate_and_vjp_against_differences(net):
    batch = inputs(4, 2, starts=np.eye(4, 2)[::-1])
    starts = np.eye(4, 2)[::-1]
    net.backprop(**batch, starts=starts)
    once = net.gradient.copy()
    net.backprop(**batch, starts=starts, accumulate=True)
    assert np.allclose(net.gradient, 2 * once) and not net.gradient[net.trainable:].any()

    state = net.state(2)
    state["h"] = np.random.default_rng(1).normal(size=(1, 2, 3)) * 0.1
    plain = without(batch, "y")
    dp, ds = np.random.default_rng(2).normal(size=(4, 2, 3)), np.random.default_rng(3).normal(size=(1, 2, 3))

    def value(at=None, **changed):
        work = state.copy()
        if at is not None:
            work["h"] = at
        p = net.run(**{**plain, **changed}, starts=starts, state=work)["p"]
        return (p * dp).sum() + (work["h"] * ds).sum()

    back = net.vjp({"p": dp, "state": {"h": ds}}, **plain, starts=starts, state=state)
    for name, base in [("x", plain["x"]), ("b", plain["b"])]:
        nudge = np.random.default_rng(4).normal(size=base.shape)
        e = 1e-6
        slope = (value(**{name: base + e * nudge}) - value(**{name: base - e * nudge})) / (2 * e)
        assert np.isclose(slope, (back[name] * nudge).sum(), rtol=1e-6)
    nudge = np.random.default_rng(5).normal(size=(1, 2, 3))
    slope = (value(state["h"] + 1e-6 * nudge) - value(state["h"] - 1e-6 * nudge)) / 2e-6
    assert np.isclose(slope, (back["state"]["h"] * nudge).sum(), rtol=1e-6)
    for cotangents, message in [({"q": 1}, "no output is called 'q'"), ({"a": dp}, "whole numbers"), (dp, "a dict"),
                                ({"p": dp[:2]}, r"cotangent p: got shape \[2, 2, 3\]")]:
        with pytest.raises(InputError, match=message):
            net.vjp(cotangents, **plain, starts=starts)


def test_faults_of_the_c_become_sentences(net):
    batch = without(inputs(2, 1), "y")
    batch["x"][0, 0, 0] = 12345
    with pytest.raises(RnncError, match="tiny: run failed: an error made for a test"):
        net.run(**batch)


def test_look_ahead_has_no_step(net, monkeypatch):
    monkeypatch.setitem(net.manifest, "lookahead", {"signal": "x[t+2]", "line": "tiny.rnn:4:9"})
    with pytest.raises(InputError, match=r"tiny looks ahead: x\[t\+2\] is read .*tiny.rnn:4:9"):
        net.step(net.state(), x=0)


def test_functions_that_were_not_compiled(net, monkeypatch):
    monkeypatch.setitem(net.manifest, "functions", ["run"])
    for call, hint in [(net.backprop, "gradient=None"), (net.evaluate, "neither loss nor metric")]:
        with pytest.raises(InputError, match=hint):
            call(**inputs(2, 1))
    with pytest.raises(InputError, match='gradient="all"'):
        net.vjp({})


def test_two_threads_two_states(net):
    batch = without(inputs(50, 2), "y")
    wanted = net.run(**batch)["p"]
    results = [None] * 4

    def work(i):
        state = net.state(2)
        for _ in range(20):
            state.reset()
            results[i] = net.run(**batch, state=state)["p"]
    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all((r == wanted).all() for r in results)


def test_a_state_in_use_is_refused(net):
    state = net.state(2)
    with state._busy, pytest.raises(InputError, match="another thread"):
        net.run(**without(inputs(2, 2), "y"), state=state)


# ------------------------------------------------------------------------------------------------ parameters, files

def test_parameters(net):
    view = net.parameters["W"]
    with pytest.raises(ValueError):
        view[0, 0] = 1
    before = net.run(**without(inputs(2, 1), "y"))["p"]
    for name in net.parameters:                # also while iterating
        net.parameters[name] = net.parameters[name] * 0.5
    assert not np.array_equal(net.run(**without(inputs(2, 1), "y"))["p"], before)
    net.theta[...] *= 2
    net.touch()
    assert np.allclose(net.run(**without(inputs(2, 1), "y"))["p"], before)
    assert net.theta.ctypes.data % 64 == 0 and net.gradient.ctypes.data % 64 == 0
    for name, value, message in [("Wi", 1, "no parameter is called 'Wi'"), ("W", np.zeros(3), r"wanted \[3, 2\]"),
                                 ("W", "x", "real numbers")]:
        with pytest.raises(InputError, match=message):
            net.parameters[name] = value
    with pytest.raises(InputError, match="frozen"):
        net.gradients["c"]
    assert "c" not in net.gradients and list(net.gradients) == ["W", "E", "U", "V"]


def test_flat_vectors_may_be_assigned():
    net = tiny(seed=5)
    before = net.run(**without(inputs(2, 1), "y"))["p"]
    net.theta *= 0.5                           # in place, then assigned: packed weights are stale without touch()
    assert not np.array_equal(net.run(**without(inputs(2, 1), "y"))["p"], before)
    place = net.theta.ctypes.data
    net.theta = (net.theta * 2).tolist()
    assert np.allclose(net.run(**without(inputs(2, 1), "y"))["p"], before) and net.theta.ctypes.data == place
    net.gradient = np.ones(net.gradient.size)
    net.gradient *= 3
    assert (net.gradient == 3).all()
    for value, message in [(np.zeros(3), "theta: got shape"), ("x", "theta: real numbers"), (2.0, "theta: got shape")]:
        with pytest.raises(InputError, match=message):
            net.theta = value


def test_first_values_depend_on_seed_and_path_only():
    a, b, c = tiny(seed=1), tiny(seed=1), tiny(seed=2)
    assert (a.theta == b.theta).all() and not np.allclose(a.parameters["W"], c.parameters["W"])
    u = a.parameters["U"]
    assert np.allclose(u @ u.T, np.eye(3)) and (a.parameters["c"] == 0.5).all()
    assert np.allclose(tiny("float32", seed=1).theta, a.theta, atol=1e-6)


def test_faults_of_files_name_the_file(net, tmp_path, monkeypatch):
    def full(descriptor):
        raise OSError(28, "No space left on device")
    with monkeypatch.context() as disk:
        disk.setattr("os.fsync", full)
        with pytest.raises(InputError, match=r"save: cannot write .*m.safetensors: No space left on device: [0-9]+"):
            net.save(tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(InputError, match="is a folder without checkpoint.safetensors; a safetensors file"):
        net.load(tmp_path)


def test_save_and_load(net, tmp_path):
    path, other = tmp_path / "sub" / "m.safetensors", tiny(seed=9)
    net.save(path)
    other.load(path)
    assert (other.theta == net.theta).all()
    from rnnc.runtime.storage import read, write_whole
    arrays, metadata = read(path)
    assert metadata["graph"] == "0123abcd" and metadata["version"] == "0.1.0"
    assert list(tmp_path.joinpath("sub").iterdir()) == [path]

    from safetensors.numpy import save
    changed = {("Win" if k == "W" else k): v for k, v in arrays.items()}
    write_whole(path, save({**changed, "extra": np.zeros(2)}))
    before = other.theta.copy()
    with pytest.raises(InputError, match="lacks W; Win, extra mean nothing here"):
        other.load(path)
    with pytest.raises(InputError, match="holds no 'Wz'"):
        other.load(path, strict=False, rename={"Wz": "W"})
    with pytest.raises(InputError, match="no parameter is called 'WW'"):
        other.load(path, strict=False, rename={"Win": "WW"})
    other.load(path, strict=False, rename={"Win": "W"})
    write_whole(path, save({**arrays, "V": np.zeros((2, 2))}))
    with pytest.raises(InputError, match=r"parameters\['V'\]: got shape \[2, 2\]"):
        other.load(path)
    assert (other.theta == before).all()
    path.write_text("nonsense")
    for place, message in [(path, "not a safetensors file"), (tmp_path / "none", "no such file")]:
        with pytest.raises(InputError, match=message):
            other.load(place)


# ------------------------------------------------------------------------------------------------ check_numbers

def test_check_numbers_names_the_place():
    net = tiny(check_numbers=True)
    batch = inputs(4, 2)
    net.backprop(**batch)
    state = net.state(2)
    net.parameters = {"W": np.full((3, 2), 1e3), "E": np.zeros((3, 4)), "V": np.full((3, 3), 1e308)}
    batch["x"], batch["b"] = np.zeros((4, 2, 2)), np.zeros((2, 3))
    batch["x"][2, 1] = 1                       # h is 1 there, and the sum of three times 1e308 overflows
    before = state.to_arrays()
    with pytest.raises(NumberError, match=r"run: p \(line 4\): nan at frame 2, stream 1, unit 0"):
        net.run(**without(batch, "y"), state=state)
    assert all((state.to_arrays()[k] == v).all() for k, v in before.items())
    with pytest.raises(InputError, match="x: inf at frame 1, stream 0, unit 1"):
        bad = inputs(4, 2)
        bad["x"][1, 0, 1] = np.inf
        net.run(**without(bad, "y"))
    net.theta[3] = np.nan
    net.touch()
    with pytest.raises(NumberError, match=r"parameter W holds nan at \[1, 1\]"):
        net.evaluate(**inputs(4, 2))


def test_a_forked_child_computes_on_one_thread(net):
    code = ("import os, sys; sys.path.insert(0, sys.argv[1])\n"
            "from handmade.tiny import *\n"
            "net = tiny(threads=2); d = inputs(4, 2); net.backprop(**d); pid = os.fork()\n"
            "if pid == 0: assert net._threads() == 1; net.backprop(**d); os._exit(0)\n"
            "assert os.waitpid(pid, 0)[1] == 0")
    subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], check=True, timeout=60)
