"""`rnnc import` of what torch.onnx.export writes, by both of its exporters, held against PyTorch itself."""

import warnings

import numpy as np
import pytest
from onnx_models import brought, here, needs, roles
from safetensors.numpy import load_file

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.graph import oracle

torch = pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'rnnc[torch]' brings it")
needs("onnx")
T, B, M, N = 6, 2, 5, 4


class Tagger(torch.nn.Module):
    """A recurrent module and a linear one, as most people write it."""

    def __init__(self, kind: str, batch_first: bool, both: bool, layers: int, labels: bool = False,
                 states: bool = False, last: bool = False, **more):
        super().__init__()
        self.emb = torch.nn.Embedding(9, M) if labels else torch.nn.Identity()
        self.rnn = getattr(torch.nn, kind)(M, N, layers, batch_first=batch_first, bidirectional=both, **more)
        self.fc = torch.nn.Linear(N * (1 + both), 3)
        self.states, self.last, self.time = states, last, int(batch_first)

    def forward(self, x, *start):
        y, new = self.rnn(self.emb(x), (start if len(start) == 2 else start[0]) if start else None)
        y = self.fc(y.select(self.time, -1) if self.last else y)
        return (y, *(new if isinstance(new, tuple) else (new,))) if self.states else y


def exported(place, model, arguments: tuple, dynamo: bool, axes: dict | None) -> bytes:
    """The file, or a skip where this exporter cannot run here."""
    if dynamo:
        needs("onnxscript")
    names = ["x", "h0", "c0"][:len(arguments)]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(model, arguments, str(place / "exported.onnx"), dynamo=dynamo, input_names=names,
                              **({} if dynamo or axes is None else {"dynamic_axes": axes}))
    except (TypeError, ImportError) as fault:
        pytest.skip(f"this PyTorch has no such exporter: {fault}")
    return (place / "exported.onnx").read_bytes()


def holds(place, model, arguments: tuple, dynamo: bool = False, axes: dict | None = None, *flags: str) -> str:
    model.eval()
    with torch.no_grad():
        wanted = model(*arguments)
    wanted = [w.numpy() for w in (wanted if isinstance(wanted, tuple) else (wanted,))]
    path = brought(place, exported(place, model, arguments, dynamo, axes), *flags)
    text, weights = path.read_text(), load_file(path.with_suffix(".safetensors"))
    graph, known = pipeline.elaborated(Source("net.rnn", text)), roles(text)
    given = {name: array.numpy() for name, array in zip(["x", "h0", "c0"], arguments)}
    inputs = {part["name"]: here(given[name], part["axes"]) for name, part in known.items() if part["input"]}
    found = oracle.run(graph, inputs, weights)
    parts = [part for part in known.values() if not part["input"]]
    for part, want in zip(parts, wanted, strict=not flags):
        got = found.value(graph.outputs[part["name"]])
        assert np.allclose(got, here(want, part["axes"]), atol=1e-5), text
    return text


@pytest.mark.parametrize("dynamo", [False, True], ids=["TorchScript", "dynamo"])
@pytest.mark.parametrize("batch_first", [False, True], ids=["time first", "batch first"])
@pytest.mark.parametrize("kind,both,layers", [("LSTM", True, 2), ("GRU", False, 2), ("GRU", True, 1),
                                              ("LSTM", False, 1)])
def test_layers_and_a_linear_one(kind, both, layers, batch_first, dynamo, tmp_path):
    torch.manual_seed(1)
    order = ("batch", "time") if batch_first else ("time", "batch")
    x = torch.randn(*[{"time": T, "batch": B}[axis] for axis in order], M)
    text = holds(tmp_path, Tagger(kind, batch_first, both, layers), (x,), dynamo, {"x": dict(enumerate(order))})
    assert text.count(f"{'lstm' if kind == 'LSTM' else 'gru_after'}({N})") == layers * (1 + both)
    assert f"input x : [{M}]    # [{order[0]}, {order[1]}, {M}] in the file" in text and "dense(3)(" in text


@pytest.mark.parametrize("dynamo", [False, True], ids=["TorchScript", "dynamo"])
@pytest.mark.parametrize("both", [False, True])
def test_labels_and_states(both, dynamo, tmp_path):
    torch.manual_seed(2)
    first = (2 * (1 + both), B, N)
    model = Tagger("LSTM", True, both, 2, labels=True, states=True)
    text = holds(tmp_path, model, (torch.randint(0, 9, (B, T)), torch.randn(first), torch.randn(first)), dynamo)
    assert "input x : class(9)" in text and f"input h0 : [{first[0]}, {N}] per sequence" in text
    assert "init c = c0" in text
    zero = torch.zeros(first)
    kept = holds(tmp_path, model, (torch.randint(0, 9, (B, T)), zero, zero), dynamo, None, "--carry")
    assert "h0" not in kept and "last" not in kept


@pytest.mark.parametrize("nonlinearity", ["tanh", "relu"])
def test_simple_networks_and_the_last_frame(nonlinearity, tmp_path):
    model = Tagger("RNN", True, False, 2, last=True, nonlinearity=nonlinearity)
    text = holds(tmp_path, model, (torch.randn(B, T, M),), False, {"x": {0: "batch", 1: "time"}})
    assert "last(" in text and ("relu(" in text) == (nonlinearity == "relu")


def test_a_layer_that_the_exporter_wrote_out_frame_by_frame(tmp_path, capsys):
    content = exported(tmp_path, Tagger("RNN", True, False, 1).eval(), (torch.randn(B, T, M),), True, None)
    if b"Slice" not in content:
        pytest.skip("this PyTorch keeps nn.RNN as one operator")
    with pytest.raises(SystemExit):
        brought(tmp_path, content)
    assert "a recurrent layer written out frame by frame" in capsys.readouterr().err


class Pooled(torch.nn.Module):
    """Normalised input, frames and streams in one axis, attention over time, a residual connection."""

    def __init__(self):
        super().__init__()
        self.inp, self.norm = torch.nn.Linear(M, N), torch.nn.LayerNorm(N)
        self.rnn = torch.nn.GRU(N, N, batch_first=True)
        self.flat, self.score, self.drop = torch.nn.Linear(N, N), torch.nn.Linear(N, 1), torch.nn.Dropout(0.3)

    def forward(self, x):
        h = self.inp(x)
        y = self.drop(torch.nn.functional.gelu(self.rnn(self.norm(h))[0])) + h
        z = torch.relu(self.flat(y.reshape(-1, y.size(2)))).view(x.size(0), x.size(1), -1)
        seen = (torch.softmax(self.score(z), 1) * z).sum(1)
        return torch.cat([seen, z.mean(1), z[:, 0], z.max(1).values], -1)


@pytest.mark.parametrize("dynamo", [False, True], ids=["TorchScript", "dynamo"])
def test_a_larger_network(dynamo, tmp_path):
    torch.manual_seed(3)
    holds(tmp_path, Pooled(), (torch.randn(B, T, M),), dynamo, {"x": {0: "batch", 1: "time"}})


def test_a_state_dict_alone(tmp_path):
    """The same numbers from the state dict as from the graph."""
    from rnnc.cli.app import main
    torch.manual_seed(4)
    model = Tagger("GRU", True, True, 2, labels=True)
    holds(tmp_path, model, (torch.randint(0, 9, (B, T)),))
    torch.save(model.state_dict(), tmp_path / "state.pt")
    assert main(["import", str(tmp_path / "state.pt"), "-o", str(tmp_path / "again.rnn")]) == 0
    one, two = load_file(tmp_path / "net.safetensors"), load_file(tmp_path / "again.safetensors")
    assert set(one) == set(two) and all((one[k] == two[k]).all() for k in one)
