"""Standard layers against PyTorch's, where it is installed: outputs, gradients of every parameter, of the inputs and of
the initial state."""

import numpy as np
import pytest

import rnnc

torch = pytest.importorskip("torch", reason="PyTorch is not installed; pip install 'rnnc[torch]' brings it")

from bench.twins import Twin, gap  # noqa: E402

HEAD = "cell both(n)(x) {{ f = lstm(n)(x)  b = reversed(lstm(n))(x)  return concat(f, b) }}\n"
MODEL = "model m(n = 20) {{\n input x : [13]\n h = {layer}(x)\n output h\n}}\n"
CASES = {                                      # program, PyTorch's module, paths of its layers
    "lstm": ("lstm(n)", lambda: torch.nn.LSTM(13, 20), ["h"]),
    "gru_after": ("gru_after(n)", lambda: torch.nn.GRU(13, 20), ["h"]),
    "rnn": ("rnn(n)", lambda: torch.nn.RNN(13, 20), ["h"]),
    "three_layers": ("stack(3, lstm(n))", lambda: torch.nn.LSTM(13, 20, 3), ["h.0", "h.1", "h.2"]),
    "two_gru_layers": ("stack(2, gru_after(n))", lambda: torch.nn.GRU(13, 20, 2), ["h.0", "h.1"]),
    "bidirectional": ("both(n)", lambda: torch.nn.LSTM(13, 20, bidirectional=True), ["h.f", "h.b"]),
    "bidirectional_layers": ("stack(2, both(n))", lambda: torch.nn.LSTM(13, 20, 2, bidirectional=True),
                             ["h.0.f", "h.0.b", "h.1.f", "h.1.b"]),
}


@pytest.mark.parametrize("case, dtype, allowed", [
    *((case, "float32", 1e-5) for case in CASES),
    *((case, "float64", 1e-11) for case in ("gru_after", "bidirectional_layers")),
])
def test_as_pytorch_computes(case, dtype, allowed):
    layer, make, paths = CASES[case]
    net = rnnc.compile((HEAD + MODEL).format(layer=layer), gradient="all", dtype=dtype, seed=3)
    chance = np.random.default_rng(7)
    for name in net.parameters:                # biases too, which start at 0
        shape = net.parameters[name].shape
        net.parameters[name] = chance.uniform(-0.3, 0.3, shape)
    twin = Twin(make().to(getattr(torch, dtype)), paths)
    twin.take(net.parameters)
    x = chance.standard_normal((9, 5, 13)).astype(dtype)
    given = torch.from_numpy(x.copy()).requires_grad_()
    theirs = twin.module(given)[0]
    mine = net.run(x=x)["h"]
    assert gap(mine, theirs.detach()) <= allowed

    seed = chance.standard_normal(mine.shape).astype(dtype)
    theirs.backward(torch.from_numpy(seed))
    back = net.vjp({"h": seed}, x=x)
    assert gap(back["x"], given.grad) <= allowed
    gradients = twin.gradients()
    assert set(gradients) == set(net.parameters)
    assert {name: d for name in gradients if (d := gap(net.gradients[name], gradients[name])) > allowed} == {}


def test_goes_on_from_a_state():
    net = rnnc.compile(HEAD.format() + MODEL.format(layer="lstm(n)"), gradient="all", seed=3)
    twin = Twin(torch.nn.LSTM(13, 20), ["h"])
    twin.take(net.parameters)
    x = np.random.default_rng(1).standard_normal((8, 3, 13)).astype(np.float32)
    state = net.state(streams=3)
    net.run(x=x[:4], state=state)
    _, (h, c) = twin.module(torch.from_numpy(x[:4]))
    h, c = h.detach().requires_grad_(), c.detach().requires_grad_()
    assert gap(state["h.h"][0], h[0].detach()) <= 1e-5 and gap(state["h.c"][0], c[0].detach()) <= 1e-5
    theirs, (last, memory) = twin.module(torch.from_numpy(x[4:]), (h, c))
    torch.autograd.backward([theirs.sum(), (last * 2).sum(), memory.sum()])
    ones = np.ones((1, 3, 20), np.float32)
    seeds = {"h": np.ones((4, 3, 20), np.float32), "state": {"h.h": 2 * ones, "h.c": ones}}
    back = net.vjp(seeds, x=x[4:], state=state)
    assert gap(back["state"]["h.h"], h.grad) <= 1e-5 and gap(back["state"]["h.c"], c.grad) <= 1e-5


def test_cross_entropy_and_adam_as_pytorch_computes():
    """Thirty updates of a small language model: loss, clipping and Adam side by side."""
    net = rnnc.compile("model m(k = 11, n = 16) {\n input x : class(k)\n target y : class(k)\n h = lstm(n)(x)\n"
                       " logits = dense(k)(h)\n output logits\n loss cross_entropy(logits, y)\n}\n", seed=5)
    twin, dense = Twin(torch.nn.LSTM(11, 16), ["h"]), torch.nn.Linear(16, 11)
    twin.take(net.parameters)
    with torch.no_grad():
        dense.weight.copy_(torch.from_numpy(np.array(net.parameters["logits.W"])))
        dense.bias.copy_(torch.from_numpy(np.array(net.parameters["logits.b"])))
    learned = [p for p in (*twin.module.parameters(), *dense.parameters()) if p.requires_grad]
    theirs = torch.optim.Adam(learned, lr=1e-2)
    mine = rnnc.Adam(net, learning_rate=1e-2, clip_norm=0.2)
    labels = np.random.default_rng(2).integers(0, 11, (13, 4))
    x, y = torch.from_numpy(labels[:-1]), torch.from_numpy(labels[1:])
    for _ in range(30):
        theirs.zero_grad()
        loss = torch.nn.functional.cross_entropy(dense(twin.module(torch.nn.functional.one_hot(x, 11).float())[0])
                                                 .reshape(-1, 11), y.reshape(-1))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learned, 0.2)
        theirs.step()
        assert net.backprop(x=labels[:-1], y=labels[1:]) == pytest.approx(loss.item(), rel=1e-4)
        mine.step()
