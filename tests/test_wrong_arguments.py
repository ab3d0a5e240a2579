"""Whatever a caller hands over, the answer is a value or a message of ours: no other exception leaves a public call.
The messages name the argument, what came and what was wanted."""

import copy
import pickle
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError, RnncError

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, tiny  # noqa: E402

HUGE = 10**30
ODD = [None, 3, -1, 2.5, float("nan"), HUGE, True, 1j, "abc", "", "a\x00b", b"abc", [], {}, (), [1, 2], {"a": 1},
       {1: 2}, set(), range(3), object(), print, int, ..., np.float32(2), np.int64(5), np.array(3), np.zeros(0),
       np.zeros((2, 2)), np.array(["a"]), np.array([object()]), float("inf")]


def ours(act, *args, **named) -> None:
    """Runs, or refuses in our words."""
    try:
        act(*args, **named)
    except RnncError as refusal:
        assert str(refusal)


def calls(net, path: Path):
    """Public calls of one odd value each; what they do to the net does not matter here."""
    full, run = inputs(4, 2), {k: v for k, v in inputs(4, 2).items() if k != "y"}
    state, p = net.state(2), net.parameters
    for name in (*full, "state", "starts", "weight", "accumulate"):
        yield f"backprop {name}", lambda v, name=name: net.backprop(**{**full, name: v})
        yield f"evaluate {name}", lambda v, name=name: net.evaluate(**{**full, name: v})
    for name in (*run, "state", "starts", "out", "probe", "frames"):
        yield f"run {name}", lambda v, name=name: net.run(**{**run, name: v})
    for name in run:
        yield f"step {name}", lambda v, name=name: net.step(state, **{**{k: w[0] for k, w in run.items()}, name: v})
    yield "step state", lambda v: net.step(v, **{k: w[0] for k, w in run.items()})
    for name, call in (("run", net.run), ("step", net.step), ("evaluate", net.evaluate), ("backprop", net.backprop),
                       ("vjp", net.vjp)):
        yield f"{name} by place", lambda v, call=call: call(v, v)
    yield "vjp", lambda v: net.vjp(v, **run)
    yield "vjp p", lambda v: net.vjp({"p": v}, **run)
    yield "vjp state", lambda v: net.vjp({"state": v}, **run)
    yield "vjp state h", lambda v: net.vjp({"state": {"h": v}}, **run)
    yield "ragged", lambda v: net.run(**{k: [v, v] for k in run})
    yield "probe list", lambda v: net.run(**run, probe=[v])
    yield "state", net.state
    for name, act in (("read", lambda v: state[v]), ("write", lambda v: state.__setitem__("h", v)),
                      ("has", lambda v: v in state), ("reset", state.reset), ("reset list", lambda v: state.reset([v])),
                      ("assign", state.assign), ("copy_stream", lambda v: state.copy_stream(v, state, 0)),
                      ("copy_stream from", lambda v: state.copy_stream(0, v, 0)), ("from_arrays", state.from_arrays)):
        yield f"state {name}", act
    for name, act in (("read", lambda v: p[v]), ("write", lambda v: p.__setitem__("W", v)), ("has", lambda v: v in p),
                      ("get", p.get), ("update", p.update), ("gradient", lambda v: net.gradients.__setitem__("W", v)),
                      ("all", lambda v: setattr(net, "parameters", v)), ("theta", lambda v: setattr(net, "theta", v)),
                      ("threads", lambda v: setattr(net, "threads", v)), ("seed", lambda v: setattr(net, "seed", v)),
                      ("draws", lambda v: setattr(net, "draws", v))):
        yield f"parameters {name}", act
    for name in ("streams", "frames", "threads"):
        yield f"explain {name}", lambda v, name=name: net.explain(**{name: v})
    yield "save", net.save
    net.save(path / "w.safetensors")
    yield "load", net.load
    for name in ("strict", "rename"):
        yield f"load {name}", lambda v, name=name: net.load(path / "w.safetensors", **{name: v})
    yield "load of one name", lambda v: net.load(path / "w.safetensors", rename={"W": v})
    for kind in (rnnc.SGD, rnnc.Momentum, rnnc.Nesterov, rnnc.RMSprop, rnnc.Adadelta, rnnc.Adam, rnnc.AdamW):
        yield f"{kind.__name__}", kind
        for name in ("learning_rate", "momentum", "nesterov", "weight_decay", "clip_norm", "alpha", "eps", "centered",
                     "rho", "betas", "dampening", "strange"):
            yield f"{kind.__name__} {name}", lambda v, kind=kind, name=name: kind(net, **{name: v})
        yield f"{kind.__name__} state", lambda v, kind=kind: kind(net).load_state_dict(v, v)
        yield f"{kind.__name__} rates", lambda v, kind=kind: kind(net, {"*": v})


def test_no_other_exception_leaves_a_net(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    net = tiny()
    found = []
    for name, act in calls(net, tmp_path):
        for value in ODD:
            if name.endswith(("learning_rate", "rates")) and callable(value):
                continue                       # functions of the step, called when the time comes
            try:
                ours(act, value)
            except Exception as fault:
                found.append(f"{name}({value!r}): {type(fault).__name__}: {fault}")
    assert not found, "\n".join(found)


def test_no_other_exception_leaves_compile_and_load(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rnnc.pipeline.compile_net", lambda *accepted: None)
    for value in ODD:
        for name in ("model", "dtype", "target", "threads", "gradient", "weights", "memory_limit", "check_numbers",
                     "seed", "cache", "sizes", "n", "strange"):
            ours(rnnc.compile, "model m { }\n", **{name: value})
        ours(rnnc.compile, value)
        ours(rnnc.load, value)


def test_no_other_exception_leaves_data_and_fit(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    d, text = rnnc.data, "hello world\n" * 20
    data = d.text(text)
    for value in ODD:
        for make in (d.text, d.arrays, d.sequences, d.npz, d.csv, d.wav, d.load, d.Streams, d.Sequences, d.Text):
            ours(make, value)
            ours(make, value, 1, 1)
            ours(make, strange=value)
        for name in ("streams", "frames", "vocabulary", "held_out", "input", "target"):
            ours(d.text, text, **{name: value})
        for name in ("streams", "frames", "starts", "held_out"):
            ours(d.arrays, {"x": np.zeros((100, 2))}, **{name: value})
        for name in ("batch", "shuffle", "seed", "held_out"):
            ours(d.sequences, {"x": [np.zeros((5, 2))] * 4}, **{name: value})
        ours(data.encode, value)
        ours(data.decode, value)
        for act in (data.batch, data.window):
            ours(act, value, 0)
            ours(act, 0, value)
    net, data = tiny(), d.arrays({k: v[:, 0] for k, v in inputs(40, 1).items() if k != "b"}, streams=2)
    opt = rnnc.Adam(net)
    for value in ODD:
        for name in ("net", "data", "opt", "epochs", "window", "step", "validate", "resume", "progress", "every",
                     "notes", "callback", "strange"):
            if not (name == "epochs" and value is HUGE or name == "callback" and callable(value)):
                ours(rnnc.fit, **{"net": net, "data": data, "opt": opt, name: value})


@pytest.mark.parametrize("act,message", [
    (lambda n: n.run(np.zeros((2, 2))), r"run: signals come by name: net.run\(x=x, k=k, m=m, b=b, y=y\)"),
    (lambda n: n.step(n.state(), np.zeros(2)), r"step: signals come by name: net.step\(state, x=x"),
    (lambda n: n.step(x=np.zeros(2)), r"state: step wants a state to advance; net.state\(streams\) makes one"),
    (lambda n: n.run(**inputs(2, 1), sate=n.state()), "no input is called 'sate'; did you mean 'state'"),
    (lambda n: n.step(n.state(), **inputs(2, 1), start=1), "no input is called 'start'; did you mean 'starts'"),
    (lambda n: n.evaluate(**inputs(2, 1), weights=1), "no input is called 'weights'; did you mean 'weight'"),
    (lambda n: n.backprop(**inputs(2, 1), acumulate=1), "no input is called 'acumulate'; did you mean 'accumulate'"),
    (lambda n: n.backprop(x=[np.zeros((2, 2))], weights=1), "no input is called 'weights'; did you mean 'weight'"),
    (lambda n: n.vjp({}, **inputs(2, 1), stat=1), "no input is called 'stat'; did you mean 'state'"),
    (lambda n: n.run(**inputs(2, 1), weights=1), "no input is called 'weights'; there is x, k, m, b, y"),
    (lambda n: n.run(probe=3), "probe: got 3, wanted the name of a signal"),
    (lambda n: n.run(**{**inputs(2, 1), "x": np.ma.masked_less(inputs(2, 1)["x"], 0)}), "x: entries are masked"),
    (lambda n: n.backprop(**inputs(2, 1), accumulate="yes"), "accumulate: got 'yes', wanted True or False"),
    (lambda n: pickle.dumps(n), "a net cannot be pickled or copied: net.save"),
    (lambda n: copy.deepcopy(n), "a net cannot be pickled or copied"),
    (lambda n: pickle.dumps(n.parameters), "parameters cannot be pickled.*dict"),
    (lambda n: pickle.dumps(n.state()), "a state cannot be pickled: state.to_arrays"),
    (lambda n: pickle.dumps(rnnc.Adam(n)), "a net cannot be pickled"),
    (lambda n: setattr(n, "seed", -1), "seed: got -1, wanted a whole number of at least 0"),
    (lambda n: setattr(n, "seed", 2**63), r"seed: got 9223372036854775808; a whole number from 0, below 2\^63"),
    (lambda n: setattr(n, "draws", 2.5), "draws: got 2.5, wanted a whole number of at least 0"),
    (lambda n: setattr(n, "threads", 0), "threads: got 0, wanted a whole number of at least 1"),
    (lambda n: n.explain(streams=2.5), "streams: got 2.5, wanted a whole number"),
    (lambda n: n.save(3), "path: got 3, wanted a path"),
    (lambda n: n.save("/dev/full"), "save: cannot write /dev/full: No space left on device: [0-9,]+ bytes are to be "),
    (lambda n: n.save("/dev/null/w"), "save: cannot write /dev/null/w: Not a directory$"),
    (lambda n: n.save("."), r"\. is a folder; the name of a file is wanted"),
    (lambda n: rnnc.fit(n, 3, rnnc.Adam(n)), "data: got 3; rnnc.data makes it"),
    (lambda n: rnnc.fit(n), "fit: missing: data, opt"),
    (lambda n: rnnc.fit(n, 1, 2, 3, 4), "fit: 5 arguments without a name; only net, data, opt, epochs may come so"),
    (lambda n: rnnc.data.text("a\nb", batch_size=3), "no argument of text is called 'batch_size'"),
    (lambda n: n.state(stream=3), "no argument of state is called 'stream'; did you mean 'streams'"),
    (lambda n: n.state(2, 3), "state: 2 arguments without a name; only streams may come so"),
    (lambda n: n.explain(frame=3), "no argument of explain is called 'frame'; did you mean 'frames'"),
    (lambda n: n.save(file="w"), "no argument of save is called 'file'; there is path"),
    (lambda n: n.save(), "save: missing: path"),
    (lambda n: n.load("w", strikt=False), "no argument of load is called 'strikt'; did you mean 'strict'"),
    (lambda n: n.touch(1), "touch: 1 argument without a name; none may come so"),
    (lambda n: n.state().reset(stream=0), "no argument of reset is called 'stream'; did you mean 'streams'"),
    (lambda n: n.state().copy_stream(0, n.state()), "copy_stream: missing: from_stream"),
    (lambda n: n.parameters.get("W", defalt=3), "no argument of get is called 'defalt'; did you mean 'default'"),
    (lambda n: rnnc.Adam(n).step(2), "step: 1 argument without a name; none may come so"),
    (lambda n: rnnc.Apollo(n).step(closure=2), "no argument of step is called 'closure'; there is none"),
    (lambda n: rnnc.Adam(n).load_state_dict({}), "load_state_dict: missing: numbers"),
    (lambda n: rnnc.data.text("a\nb", 1, 1).batch(0), "batch: missing: index"),
    (lambda n: rnnc.data.text("a\nb", 1, 1).decode(label=[0]), "called 'label'; did you mean 'labels'"),
    (lambda n: rnnc.data.sequences({"x": [np.zeros(3)]}).batch(0, idx=1), "no argument of batch is called 'idx'; "),
    (lambda n: rnnc.State(3, 1), r"net.state\(streams\) makes one"),
    (lambda n: rnnc.Net(3), "rnnc.compile makes nets"),
])
def test_refusals(act, message):
    with pytest.raises(InputError, match=message):
        act(tiny())


def test_states_are_copied_by_copy():
    net = tiny()
    state = net.state(2)
    net.run(**{k: v for k, v in inputs(3, 2).items() if k != "y"}, state=state)
    for other in (copy.copy(state), copy.deepcopy(state)):
        assert (other["h"] == state["h"]).all() and (other.since == 3).all()
        other["h"][...] = 7
        assert not (state["h"] == 7).any()


def test_numbers_of_numpy_are_numbers():
    net = tiny(seed=np.int64(3))
    net.seed, net.draws, net.threads = np.uint8(7), np.int64(2), np.int32(1)
    assert [type(n) for n in (net.seed, net.draws, net.threads)] == [int] * 3


def test_parameters_are_a_mapping():
    p = tiny().parameters
    assert p.get("none") is None and p.get("W").shape == (3, 2) and 3 not in p and [] not in p
    before = p["W"].copy()
    with pytest.raises(InputError, match="no parameter is called 'X'"):
        p.update({"W": np.ones((3, 2)), "X": 1})
    assert (p["W"] == before).all()
    p.update(W=np.ones((3, 2)))
    assert (p["W"] == 1).all()


def test_text_for_a_size_and_a_misspelt_option_are_told_apart():
    with pytest.raises(InputError, match="hidden: got 'a'; a size is a number"):
        rnnc.compile("model m { }\n", hidden="a")
    with pytest.raises(InputError, match="no argument of compile is called 'dtyp'; did you mean 'dtype'"):
        rnnc.compile("model m { }\n", dtyp="float64")


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -np.float32("inf"), [1.0, np.nan], Fraction(10**400, 3)])
def test_sizes_are_finite(value):
    with pytest.raises(InputError, match="hidden: got .*, wanted a (finite )?number"):
        rnnc.compile("model m { }\n", hidden=value)


def test_numbers_beyond_the_type_are_not_taken_for_infinite_ones():
    net, batch = tiny("float32"), inputs(4, 2)
    beyond = "x: holds numbers beyond float32, whose largest is 3.4e[+]38"
    with pytest.raises(InputError, match=beyond):
        net.backprop(**{**batch, "x": np.full((4, 2, 2), 1e300)})
    with pytest.raises(InputError, match="W.*beyond float32"):
        net.parameters["W"] = np.full((3, 2), 1e300)
    net.backprop(**{**batch, "x": np.full((4, 2, 2), np.inf)})      # as asked for
    tiny("float64").backprop(**{**batch, "x": np.full((4, 2, 2), 1e300)})


def test_faults_survive_the_way_between_processes():
    faults = [InputError("w: wrong", "; in Python", "; typed"), rnnc.ToolchainError("failed", ["cc", "-c"], "output")]
    with pytest.raises(rnnc.CompileError) as caught:
        rnnc.compile("model m {\n    output p = a + b\n}\n")
    for fault in [*faults, caught.value]:
        for other in (pickle.loads(pickle.dumps(fault)), copy.deepcopy(fault)):
            assert type(other) is type(fault) and str(other) == str(fault) and vars(other) == vars(fault)
