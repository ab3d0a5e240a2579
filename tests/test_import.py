"""`rnnc import`: PyTorch's state dicts, layer by layer; what does not fit is refused by name."""

import numpy as np
import pytest
from commands import rnnc as command
from safetensors.numpy import load_file, save_file

import rnnc
from rnnc.cli.bring import states

PROGRAM = """model reader(vocab = 7, n = 5) {
    input x : class(vocab)
    emb = embed(n)(x)
    enc = stack(2, lstm(n))(emb)
    g = concat(gru_after(n)(enc), reversed(gru_after(n))(enc))
    r = rnn(n)(layer_norm()(g))
    head = dense(vocab)(r)
    output head
}
"""
BOTH = ("--map", "gru=g.gru_after,g.gru_after_2", "--map", "norm=r.layer_norm")


def state_dict(n: int = 5, vocab: int = 7) -> tuple[dict, dict]:
    """As PyTorch has it, gates below one another and two biases; and the parameters that it stands for."""
    chance = np.random.default_rng(3)
    draw = lambda *shape: chance.standard_normal(shape).astype(np.float32)
    state = {"emb.weight": draw(vocab, n), "norm.weight": draw(2 * n), "norm.bias": draw(2 * n),
             "head.weight": draw(vocab, n), "head.bias": draw(vocab)}
    wanted = {"emb.W": state["emb.weight"].T, "r.layer_norm.g": state["norm.weight"], "head.b": state["head.bias"],
              "r.layer_norm.b": state["norm.bias"], "head.W": state["head.weight"]}
    layers = [("enc", "l0", "ifgo", n, "enc.0"), ("enc", "l1", "ifgo", n, "enc.1"), ("r", "l0", ("",), 2 * n, "r"),
              ("gru", "l0", "rzh", n, "g.gru_after"), ("gru", "l0_reverse", "rzh", n, "g.gru_after_2")]
    for module, end, gates, width, path in layers:
        shapes = {"weight_ih": (n, width), "weight_hh": (n, n), "bias_ih": (n,), "bias_hh": (n,)}
        parts = {kind: [draw(*shape) for _ in gates] for kind, shape in shapes.items()}
        state |= {f"{module}.{kind}_{end}": np.concatenate(rows) for kind, rows in parts.items()}
        for i, gate in enumerate(gates):
            wanted |= {f"{path}.W{gate}": parts["weight_ih"][i], f"{path}.U{gate}": parts["weight_hh"][i],
                       f"{path}.b{gate}": parts["bias_ih"][i] + parts["bias_hh"][i]}
        if gates == "rzh":
            wanted |= {f"{path}.bh": parts["bias_ih"][2], f"{path}.bu": parts["bias_hh"][2]}
    return state, wanted


@pytest.fixture
def place(tmp_path):
    (tmp_path / "reader.rnn").write_text(PROGRAM)
    save_file({k: np.ascontiguousarray(v) for k, v in state_dict()[0].items()}, tmp_path / "state.safetensors")
    return tmp_path


def test_every_layer_finds_its_place(place):
    done = command("import", "state.safetensors", "reader.rnn", "-o", "here.safetensors", *BOTH, cwd=place)
    assert done.stdout == "here.safetensors\n"
    found, wanted = load_file(place / "here.safetensors"), state_dict()[1]
    assert set(found) == set(wanted)
    for name, value in wanted.items():
        assert (found[name] == value).all(), name
    net = rnnc.compile(place / "reader.rnn", gradient=None)
    net.load(place / "here.safetensors")
    assert (net.parameters["enc.1.Wf"] == wanted["enc.1.Wf"]).all()
    command("build", "reader.rnn", "--weights", "here.safetensors", "-o", "out", cwd=place)


def test_layers_without_biases(place):
    state = {k: v for k, v in state_dict()[0].items() if not (k.startswith("enc.") and "bias" in k)}
    save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, place / "state.safetensors")
    command("import", "state.safetensors", "reader.rnn", "-o", "here.safetensors", *BOTH, cwd=place)
    found = load_file(place / "here.safetensors")
    assert not any(found[f"enc.0.b{gate}"].any() for gate in "ifgo") and found["g.gru_after.bu"].any()


@pytest.mark.parametrize("change,more,message", [
    ({}, (), "gru runs in both directions; --map gru=PATH,PATH,... names a path for each of its 2 layers"),
    ({}, BOTH[:2], "nothing is there for r.layer_norm.g, r.layer_norm.b; the program has no place for norm.bias, nor"),
    ({}, (*BOTH, "--map", "encoder=enc"), "no module or array is called encoder; there is enc, gru, r, emb.weight"),
    ({}, ("--map", "gru=a,b,c"), "gru has 2 layers, but --map names 3 paths"),
    ({}, (*BOTH, "-D", "n=6"), "emb.weight: shape [5, 7] for emb.W, which has [6, 7]"),
    ({"enc.weight_hr_l0": np.zeros((2, 5))}, BOTH, "the program has no place for enc.weight_hr_l0"),
    ({"enc.weight_hh_l0": np.zeros((20, 3))}, BOTH, "enc, layer 0: these are no weights of an LSTM, a GRU or"),
    ({"enc.weight_hh_l1": None}, BOTH, "enc, layer 1: weight_hh is missing"),
    ({"head.bias": np.zeros(7, np.int64)}, BOTH, "head.bias holds int64; real numbers are wanted"),
])
def test_refusals(change, more, message, place):
    state = {k: v for k, v in {**state_dict()[0], **change}.items() if v is not None}
    save_file({k: np.ascontiguousarray(v) for k, v in state.items()}, place / "state.safetensors")
    done = command("import", "state.safetensors", "reader.rnn", "-o", "here.safetensors", *more, cwd=place, code=1)
    assert message in done.stderr and not (place / "here.safetensors").exists()


def test_a_sparse_parameter_has_no_counterpart(place):
    (place / "thin.rnn").write_text("model thin { input x : [32]  param W : [32, 32] sparse(0.5)  output y = W @ x }")
    done = command("import", "state.safetensors", "thin.rnn", "-o", "here.safetensors", cwd=place, code=1)
    assert "W is sparse" in done.stderr


@pytest.mark.parametrize("file,message", [
    ("none.pt", "no such file: none.pt"), ("reader.rnn", "a .onnx, .safetensors or .pt file is wanted"),
])
def test_other_files(file, message, place):
    assert message in command("import", file, "reader.rnn", "-o", "h.safetensors", cwd=place, code=2).stderr


@pytest.mark.parametrize("kept", [4, 40, -3])
def test_a_file_that_is_cut_short(kept, place):
    save_file({"fc.weight": np.ones((3, 2), np.float32)}, place / "c.safetensors")
    (place / "c.safetensors").write_bytes((place / "c.safetensors").read_bytes()[:kept])
    done = command("import", "c.safetensors", "-o", "o.rnn", cwd=place, code=1)
    assert done.stderr.startswith("rnnc: c.safetensors: the file is cut short, or not a safetensors file (")


def test_as_pytorch_computes(place):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'rnnc[torch]' brings it")
    modules = {"emb": torch.nn.Embedding(7, 5), "enc": torch.nn.LSTM(5, 5, 2), "norm": torch.nn.LayerNorm(10),
               "gru": torch.nn.GRU(5, 5, bidirectional=True), "r": torch.nn.RNN(10, 5), "head": torch.nn.Linear(5, 7)}
    model = torch.nn.ModuleDict(modules)
    for value in model.parameters():
        torch.nn.init.uniform_(value, -0.5, 0.5)
    x = torch.randint(0, 7, (9, 3))
    wanted = x
    for module in (modules[name] for name in ("emb", "enc", "gru", "norm", "r", "head")):
        wanted = module(wanted)
        wanted = wanted[0] if isinstance(wanted, tuple) else wanted
    torch.save({"epoch": 1, "model": model.state_dict()}, place / "model.pt")
    command("import", "model.pt", "reader.rnn", "-o", "here.safetensors", *BOTH, cwd=place)
    net = rnnc.compile(place / "reader.rnn", gradient=None)
    net.load(place / "here.safetensors")
    assert np.allclose(net.run(x=x.numpy())["head"], wanted.detach().numpy(), atol=1e-5)
    (place / "bad.pt").write_bytes(b"nonsense")
    done = command("import", "bad.pt", "reader.rnn", "-o", "h.safetensors", cwd=place, code=1)
    assert "bad.pt: no state dict that can be read" in done.stderr


def test_files_of_torch_that_hold_something_else(place):
    """Each is a fault of the file, told in its own words, or read for what it is."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'rnnc[torch]' brings it")
    gru = torch.nn.GRU(3, 4)
    of = lambda **more: {**gru.state_dict(), **more}
    files = {
        "empty": (b"", "it is empty"), "nonsense": (b"nonsense", "it is damaged, or a file of another kind"),
        "module": (gru, "it holds more than tensors, such as a whole module; torch.save(model.state_dict(), ...)"),
        "numbered": ({1: gru.weight_ih_l0.data}, "no state dict is in it"),
        "nowhere": (of(x=torch.zeros(3, device="meta")), "x holds torch.float32 on the device meta, of which no array"),
        "nothing": (of(weight_hh_l0=torch.zeros(12, 0)), "the state dict, layer 0: weight_hh is missing, or no matrix"),
    }
    for name, (held, message) in files.items():
        file = place / f"{name}.pt"
        file.write_bytes(held) if isinstance(held, bytes) else torch.save(held, file)
        done = command("import", file.name, "-o", "net.rnn", cwd=place, code=1)
        assert f"{name}.pt: " in done.stderr and message in done.stderr and "\x1b" not in done.stderr
    torch.save(of(), place / "plain.pt")
    torch.save(dict(gru.named_parameters()), place / "learning.pt")
    torch.save(of(weight_hh_l0=gru.weight_hh_l0.data.to_sparse()), place / "sparse.pt")
    torch.save({"model": of(**{"_extra_state": {"step": 3}, "part._extra_state": None})}, place / "more.pt")
    plain, *others = [states.read(place / f"{name}.pt") for name in ("plain", "learning", "sparse", "more")]
    assert all(set(o) == set(plain) and all((o[k] == plain[k]).all() for k in plain) for o in others)
