"""`rnnc import` without the onnx package: its parts on graphs written down as they are read, whole networks from state
dicts, and what the commands do with their weights. Graphs from files: test_import_onnx.py."""

import sys

import numpy as np
import pytest
from commands import rnnc as command
from onnx_models import roles
from safetensors.numpy import load_file, save_file

from rnnc import pipeline
from rnnc.cli.app import main
from rnnc.cli.bring.draft import Draft, literal
from rnnc.cli.bring.file import Network, Node, Port
from rnnc.cli.bring.foreign import placed
from rnnc.cli.bring.modules import of_onnx
from rnnc.cli.bring.reading import program
from rnnc.cli.bring.values import BATCH, TIME, UNITS, Axis, Inexpressible, Size, Value, reshaped, together
from rnnc.errors import Source
from rnnc.graph import oracle

T, B = Axis(None, (TIME,)), Axis(None, (BATCH,))
FIXED_T, FIXED_B = Axis(7, (TIME,)), Axis(1, (BATCH,))
draw = lambda *shape: np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32) * np.float32(0.5)
sigmoid = lambda a: 1 / (1 + np.exp(-a))


def units(*axes) -> Value:
    axes = [Axis(a) if isinstance(a, int) else a for a in axes]
    shape = [a.size for a in axes if not a.roles]
    return Value(tuple(axes), np.arange(np.prod(shape, dtype=int)).reshape(shape), UNITS)


@pytest.mark.parametrize("axes,target,found", [
    ((T, B, 2, 4), [T, B, -1], "[time, batch, 8]"), ((T, B, 1, 4), [T, B, 4], "[time, batch, 4]"),
    ((T, B, 8), [T, B, 2, 4], "[time, batch, 2, 4]"), ((T, B, 8), [-1, 8], "[time and batch, 8]"),
    ((Axis(None, (TIME, BATCH), (None, None)), 3), [Size((TIME,)), Size((BATCH,)), 3], "[time, batch, 3]"),
    ((Axis(14, (TIME, BATCH), (7, 2)), 3), [7, 2, 3], "[time, batch, 3]"), ((FIXED_T, FIXED_B, 4), [7, 4], "[time, 4]"),
    ((FIXED_T, 1, FIXED_B, 4), [7, 1, 4], "[time, batch, 4]"), ((T, B), [T, B, 1], "[time, batch, 1]"),
    ((T, B, 6), [T, B, 4], None), ((T, 2, B), [T, -1], None), ((T, B, 4), [B, T, 4], None),
    ((T, B, 4), [7, 2, 4], None),
    ((2, T, 3), [T, 6], None), ((FIXED_T, FIXED_B, 7), [7, 7], "[time, 7]"),
], ids=str)
def test_new_shapes_keep_frames_and_streams_apart(axes, target, found):
    if found is None:
        with pytest.raises(Inexpressible, match="would mix frames, streams and units"):
            reshaped(units(*axes), target)
    else:
        made = reshaped(units(*axes), target)
        assert str(made) == found and made.data.ravel().tolist() == list(range(made.data.size))
    if found is None and target == [7, 2, 4]:                   # an exporter that fixed what it had declared open
        assert str(reshaped(units(*axes), target, fixed=True)) == "[time, batch, 4]"


def test_shapes_that_meet():
    axes, (a, b) = together([units(T, B, 1, 4), units(2, 1)])
    assert [str(axis) for axis in axes] == ["time", "batch", "2", "4"] and a.shape == b.shape == (2, 4)
    with pytest.raises(Inexpressible, match="axis 0 is time in one value and batch in another"):
        together([units(T, B, 4), units(B, T, 4)])
    with pytest.raises(Inexpressible, match="do not fit together"):
        together([units(T, 3), units(T, 4)])


def test_units_as_text():
    draft = Draft()
    h = draft.equation("h", "f(x)", (4,), ())
    m = draft.add("input", "m", "m : [2, 3]", (2, 3), "sequence")
    one = draft.equation("mean", "mean(h)", (), {"h"})
    said = lambda *parts: draft.say(np.concatenate([np.ravel(p) for p in parts])).text
    assert said(h) == "h" and said(h[1:3]) == "h[1:3]" and said(h[2]) == "h[2]" and said(one) == "mean"
    assert said(h, m) == "concat(h, reshape(m, [6]))" and said(m[1]) == "m[1, 0:3]"
    assert said(m[0, 1:], m[1, :2]) == "concat(m[0, 1:3], m[1, 0:2])" and said(h[::-1][:2]) == "concat(h[3], h[2])"
    assert said(one, one, one) == "(mean * ones(3))" and draft.say(one).number


def test_names_and_numbers():
    draft = Draft()
    assert [draft.name(n) for n in ("x", "x", "1.a/b", "model", "état", "t", "rnn", "rnn_h", "int")] == \
        ["x", "x_2", "v1_a_b", "model_2", "tat", "t_2", "rnn", "rnn_h_2", "int_2"]
    assert [literal(np.float32(n)) for n in (0.1, -2, 1e-5, 3)] == ["0.1", "(-2)", "1e-05", "3"]


# ------------------------------------------------------------------------------------------------ a graph as it is read

def network(n: int = 4, batch_first: bool = True) -> Network:
    """An LSTM in both directions and a linear layer, as an exporter of PyTorch names them."""
    nodes = [("Transpose", "/Transpose", ["x"], ["xt"], {"perm": [1, 0, 2]}),
             ("LSTM", "/enc/rnn/LSTM", ["xt", "W", "R", "B"], ["Y"], {"direction": "bidirectional", "hidden_size": n}),
             ("Transpose", "/enc/rnn/Transpose", ["Y"], ["yt"], {"perm": [0, 2, 1, 3]}),
             ("Reshape", "/enc/rnn/Reshape", ["yt", "keep"], ["y"], {}),
             ("MatMul", "/fc/MatMul", ["y", "onnx::MatMul_9"], ["m"], {}),
             ("Add", "/fc/Add", ["fc.bias", "m"], ["o"], {}),
             ("LogSoftmax", "/LogSoftmax", ["o"], ["scores"], {"axis": -1})]
    numbers = {"W": draw(2, 4 * n, 3), "R": draw(2, 4 * n, n), "B": draw(2, 8 * n), "onnx::MatMul_9": draw(2 * n, 2),
               "fc.bias": draw(2), "keep": np.array([0, 0, -1])}
    return Network([Node(i, op, name, tuple(reads), tuple(writes), more)
                    for i, (op, name, reads, writes, more) in enumerate(nodes)],
                   [Port("x", "real", ("batch", "time", 3))], [Port("scores", "real", None)], numbers, set(numbers), 17)


def by_hand(x: np.ndarray, given: Network) -> np.ndarray:
    """What ONNX's page on LSTM says, then the linear layer. x is [time, batch, 3]."""
    sides = []
    for d, order in enumerate((1, -1)):
        W, R, b = (given.numbers[k][d].astype(float) for k in "WRB")
        h = c = np.zeros((x.shape[1], R.shape[1]))
        steps = []
        for frame in x[::order]:
            i, o, f, g = np.split(frame @ W.T + h @ R.T + sum(np.split(b, 2)), 4, axis=1)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            steps.append(h)
        sides.append(np.stack(steps[::order]))
    z = np.concatenate(sides, 2) @ given.numbers["onnx::MatMul_9"] + given.numbers["fc.bias"]
    return z - np.log(np.exp(z).sum(2, keepdims=True))


@pytest.mark.parametrize("loss", [None, "cross_entropy", "mse"])
def test_a_graph_becomes_a_program(loss):
    given = network()
    made = program(given, "net", "A title.", carry=False, loss=loss)
    graph = pipeline.elaborated(Source("net.rnn", made.text))
    x = draw(5, 2, 3)
    found = oracle.run(graph, {"x": x}, made.weights).value(graph.outputs["scores"])
    assert np.allclose(found, by_hand(x, given), atol=1e-6)
    assert set(made.weights) == {p.name for p in graph.params}
    lines = [line.strip() for line in made.text.splitlines()]
    assert "fc = dense(2)(concat(enc_rnn, enc_rnn_back))" in lines and "# A title." in lines
    assert roles(made.text)["x"]["axes"] == ["batch", "time", "3"]
    if loss:
        kind = {"cross_entropy": "class(2)", "mse": "[2]"}[loss]
        assert f"target wanted : {kind}" in lines and f"loss {loss}(logsoftmax, wanted)" in lines and graph.losses


def test_its_weights_go_into_a_program_of_ones_own():
    text = """model own {
        input x : [3]
        h = concat(lstm(4)(x), reversed(lstm(4))(x))
        output z = dense(2)(h)
    }
    """
    given = network()
    graph = pipeline.elaborated(Source("own.rnn", text))
    modules = of_onnx(given)
    assert list(modules.layers) == ["enc.rnn"] and set(modules.rest) == {"fc.weight", "fc.bias"}
    weights = placed(modules, {"enc.rnn": ["h.lstm", "h.lstm_2"], "fc": ["z"]}, {p.name: tuple(p.shape)
                                                                               for p in graph.params}, set())
    x = draw(5, 2, 3)
    z = oracle.run(graph, {"x": x}, weights).value(graph.outputs["z"])
    assert np.allclose(z - np.log(np.exp(z).sum(2, keepdims=True)), by_hand(x, given), atol=1e-6)


def test_a_gru_of_either_form_and_peepholes_by_their_names():
    """`gru` has one bias for its candidate, `gru_after` two; ONNX's peepholes stand in the order i, o, f."""
    numbers = {"W": draw(1, 6, 3), "R": draw(1, 6, 2), "B": draw(1, 12), "V": draw(1, 8, 3), "S": draw(1, 8, 2),
               "P": draw(1, 6)}
    nodes = [Node(0, "GRU", "a/GRU", ("x", "W", "R", "B"), ("y",), {"hidden_size": 2}),
             Node(1, "GRU", "b/GRU", ("x", "W", "R", "B"), ("z",), {"hidden_size": 2, "linear_before_reset": 1}),
             Node(2, "LSTM", "c/LSTM", ("x", "V", "S", "", "", "", "", "P"), ("p",), {"hidden_size": 2})]
    layers = of_onnx(Network(nodes, [], [], numbers, set(numbers))).layers
    plain, after, seen = (layers[name][0, False] for name in "abc")
    b, p = numbers["B"][0], numbers["P"][0]
    assert "bu" not in plain and np.allclose(plain["bh"], b[4:6] + b[10:12])
    assert np.allclose(after["bh"], b[4:6]) and np.allclose(after["bu"], b[10:12])
    assert np.allclose(after["br"], b[2:4] + b[8:10])
    assert np.allclose([seen["pi"], seen["po"], seen["pf"]], p.reshape(3, 2)) and not seen["bi"].any()


def test_matrices_of_one_scope_keep_apart():
    """The second one has no module of its own, so it has its own name."""
    numbers = {"a": draw(3, 2), "b": draw(2, 4), "c": draw(5, 4)}
    nodes = [Node(0, "MatMul", "att/MatMul", ("x", "a"), ("y",), {}),
             Node(1, "MatMul", "att/MatMul_1", ("y", "b"), ("z",), {}),
             Node(2, "Gemm", "Gemm_2", ("z", "c"), ("w",), {"transB": 1})]
    rest = of_onnx(Network(nodes, [], [], numbers, set(numbers))).rest
    assert {name: array.shape for name, array in rest.items()} == {"att.weight": (2, 3), "b": (4, 2), "c": (5, 4)}


def test_without_the_package(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    (tmp_path / "model.onnx").write_bytes(b"x")
    for more in ((), ("charlm",)):
        assert main(["import", str(tmp_path / "model.onnx"), *more, "-o", str(tmp_path / "net.rnn")]) == 2
        assert "the onnx package, which is not installed\n  hint: pip install 'rnnc[onnx]'" in capsys.readouterr().err
    assert not (tmp_path / "net.rnn").exists()


# ------------------------------------------------------------------------------------------------ state dicts and use

def state_dict(both: bool, layers: int = 2, kind: int = 4, n: int = 4, width: int = 3) -> dict:
    state = {}
    for number in range(layers):
        for back in ("", "_reverse")[:1 + both]:
            inside = width if number == 0 else n * (1 + both)
            shapes = {"weight_ih": (kind * n, inside), "weight_hh": (kind * n, n), "bias_ih": (kind * n,),
                      "bias_hh": (kind * n,)}
            for part, shape in shapes.items():
                state[f"rnn.{part}_l{number}{back}"] = draw(*shape) * (1 + number)
    return state


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind,cell", [(4, "lstm"), (3, "gru_after"), (1, "rnn")])
def test_a_network_from_a_state_dict(kind, cell, both, tmp_path, capsys):
    state = {"emb.weight": draw(7, 3), **state_dict(both, kind=kind), "fc.weight": draw(5, 4 * (1 + both)),
             "fc.bias": draw(5)}
    save_file(state, tmp_path / "state.safetensors")
    assert main(["import", str(tmp_path / "state.safetensors"), "-o", str(tmp_path / "net.rnn")]) == 0
    text, weights = (tmp_path / "net.rnn").read_text(), load_file(tmp_path / "net.safetensors")
    assert "taken to be nn.Embedding, nn." in capsys.readouterr().err and f"{cell}(4)" in text
    graph = pipeline.elaborated(Source("net.rnn", text))
    assert {p.name: tuple(p.shape) for p in graph.params} == {k: v.shape for k, v in weights.items()}
    assert "input x : class(7)" in text and (weights["fc.W"] == state["fc.weight"]).all()
    assert (weights["rnn_2.W" + {"lstm": "f", "gru_after": "z", "rnn": ""}[cell]]
            == state["rnn.weight_ih_l1"][slice(4, 8) if kind > 1 else slice(None)]).all()


@pytest.mark.parametrize("more,message", [
    ({"other.weight_ih_l0": draw(4, 3), "other.weight_hh_l0": draw(4, 4)}, "2 recurrent modules: how modules hang"),
    ({"one.weight": draw(4, 3), "fc.weight": draw(5, 4), "emb.weight": draw(9, 3)}, "is for a state dict does not say"),
    ({"fc.weight": draw(5, 4), "fc.bias": draw(5), "fc2.weight": draw(2, 5)}, "what fc2.weight is for a state dict"),
    ({"norm.weight": draw(4), "norm.bias": draw(4)}, "what norm.bias, norm.weight is for a state dict does not say"),
    ({"rnn.weight_hr_l0": draw(2, 4)}, "what rnn.weight_hr_l0 is for"),
])
def test_state_dicts_that_say_too_little(more, message, tmp_path, capsys):
    save_file(state_dict(False, layers=1) | more, tmp_path / "state.safetensors")
    assert main(["import", str(tmp_path / "state.safetensors"), "-o", str(tmp_path / "net.rnn")]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "net.rnn").exists()


@pytest.mark.parametrize("line,message", [
    (("s.safetensors", "-o", "net.txt"), "a network is written as a .rnn file"),
    (("s.safetensors", "-o", "s.rnn"), "would be written over"),
    (("s.safetensors", "-o", "net.rnn", "--map", "a=b"), "none is named"),
    (("s.safetensors", "-o", "net.rnn", "-D", "n=3"), "none is named"),
    (("s.safetensors", "-o", "net.rnn", "--carry"), "--carry is for ONNX files"),
    (("s.safetensors", "charlm", "-o", "net.safetensors", "--loss", "mse"), "--loss is for whole networks"),
    (("none.onnx", "-o", "net.rnn"), "no such file: none.onnx"),
])
def test_wrong_use(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_file(state_dict(False), tmp_path / "s.safetensors")
    assert main(["import", *line]) == 2
    assert message in capsys.readouterr().err and len(list(tmp_path.iterdir())) == 1


def test_the_weights_run_and_learn(tmp_path, monkeypatch, capsys):
    """`rnnc run` of a program with weights; `rnnc train` begins with them, and goes on where it was stopped."""
    save_file({**state_dict(False, layers=1), "fc.weight": draw(1, 4), "fc.bias": draw(1)}, tmp_path / "s.safetensors")
    command("import", "s.safetensors", "-o", "net.rnn", cwd=tmp_path)
    x = draw(200, 3)
    lines = "\n".join(" ".join(map(str, frame)) for frame in x[:4])
    flags = ("net.rnn", "--weights", "net.safetensors")
    out = [float(v) for v in command("run", *flags, cwd=tmp_path, input=lines).stdout.split()]
    weights = load_file(tmp_path / "net.safetensors")
    text = (tmp_path / "net.rnn").read_text()
    graph = pipeline.elaborated(Source("net.rnn", text))
    wanted = oracle.run(graph, {"x": x[:4, None]}, weights).value(graph.outputs["fc"])
    assert np.allclose(out, wanted.ravel(), atol=1e-5)

    (tmp_path / "net.rnn").write_text(text.rstrip().removesuffix("}") + "    target y : [1]\n    loss mse(fc, y)\n}\n")
    np.savez(tmp_path / "d.npz", x=x, y=x[:, :1])
    more = ("--data", "d.npz", "--streams", "1", "--epochs", "1", "--lr", "1e-9")
    command("train", *flags, *more, "--checkpoint", "run", cwd=tmp_path)
    learned = load_file(tmp_path / "run" / "checkpoint.safetensors")
    assert all(np.allclose(learned[f"parameter/{k}"], v, atol=1e-6) for k, v in weights.items())
    command("train", "net.rnn", *more[:-4], "--epochs", "2", "--lr", "1e-9", "--checkpoint", "run", cwd=tmp_path)
    (tmp_path / "other.safetensors").write_bytes((tmp_path / "s.safetensors").read_bytes())

    monkeypatch.chdir(tmp_path)
    other = ("train", "net.rnn", "--weights", "other.safetensors", *more, "--checkpoint")
    for line, code, message in (
            ((*other, "run"), 1, "first weights"), ((*other, "new"), 1, "it lacks rnn.Wi"),
            (("train", *flags[:2], "x", *more), 2, "no such weights: x"),
            (("run", "net.rnn"), 2, "--weights names its parameters"),
            (("run", "net.rnn", "--weights", "x"), 2, "no such weights: x"),
            (("run", "run", "--weights", "net.safetensors"), 2, "is a checkpoint, with its own weights")):
        assert main(list(line)) == code and message in capsys.readouterr().err, line
