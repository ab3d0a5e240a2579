"""PyTorch, from what its users write to what an expert would.

torch-nn          nn.LSTM, nn.GRU (oneDNN where it has the cell)
torch-nn-blocks   the loop over h[t-d] rewritten by hand as nn.RNN over T/d steps of d*B streams
torch-eager       an own cell in a Python loop, the input's product outside
torch-cell        the same, the step through torch.compile
torch-hoist       the loop differentiated with respect to what the input contributes only; the gradients of the matrices
                  by hand, as one product over all frames           torch-cell-hoist: both
"""

import torch
import torch.nn.functional as F

from bench.inputs import reference
from bench.peers import Job
from bench.peers.torch_cells import STEPS, loop
from bench.workloads import Workload

MODULES = {"lstm": torch.nn.LSTM, "characters": torch.nn.LSTM, "gru": torch.nn.GRU, "tanh": torch.nn.RNN}
RATE = 1e-3


def make(w: Workload, values: dict, peer: str, threads: int) -> Job | None:
    torch.set_num_threads(threads)
    style = peer.removeprefix("torch-")
    if w.kind == "stream":
        return stream(w, values, style)
    built = Modules.of(w, values, style) if style.startswith("nn") else Loops.of(w, values, style)
    if built is None:
        return None
    if w.kind == "sequence":
        x = torch.from_numpy(values["x"])

        def step():
            with torch.inference_mode():
                return built.outputs(x)
        return Job(step, lambda: [float(abs(step()[-1].numpy() - reference(w, values["x"])).max())])
    return training(w, values, built)


def training(w: Workload, values: dict, built) -> Job:
    y = torch.from_numpy(values["y"])
    learned = list(built.learned)
    if w.labels:
        V, v = (torch.nn.Parameter(torch.from_numpy(values[name].copy())) for name in "Vv")
        learned += [V, v]
        x, y = built.labels(torch.from_numpy(values["x"]).long()), y.long().flatten()
        loss = lambda: F.cross_entropy(F.linear(built.outputs(x).flatten(0, 1), V, v), y)
        optimiser = torch.optim.Adam(learned, lr=RATE, fused=True)
    else:
        x, optimiser = torch.from_numpy(values["x"]), None
        loss = lambda: (built.outputs(x) * y).sum()

    def gradients():
        for parameter in learned:
            parameter.grad = None
        value = loss()
        value.backward()
        return value.detach()

    def step():
        gradients()
        if optimiser:
            optimiser.step()

    def check():
        return [float(gradients()), *(float(p.grad.abs().sum(dtype=torch.float64)) for p in built.shown)]

    return Job(step, check)


class Modules:
    """PyTorch's own layers."""

    def __init__(self, w: Workload, values: dict, blocks: int):
        self.w, self.blocks, self.module = w, blocks, MODULES[w.cell](w.inputs, w.units, w.layers)
        with torch.no_grad():
            for k, layer in enumerate(values["layers"]):
                for name, key in (("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b"), ("bias_hh", "bu")):
                    target = getattr(self.module, f"{name}_l{k}")
                    target.copy_(torch.from_numpy(layer[key])) if key in layer else target.zero_()
        self.learned = list(self.module.parameters())
        self.shown = [self.module.weight_ih_l0, self.module.weight_hh_l0]

    @classmethod
    def of(cls, w: Workload, values: dict, style: str):
        blocks = w.delay if style == "nn-blocks" else 1
        return cls(w, values, blocks) if w.cell in MODULES and blocks == w.delay and (blocks > 1) == (w.delay > 1) \
            and (style == "nn-blocks") == (w.delay > 1) else None

    def labels(self, x):
        return F.one_hot(x, self.w.inputs).float()

    def outputs(self, x):
        if self.blocks > 1:
            w = self.w
            x = x.reshape(w.frames // self.blocks, self.blocks * w.streams, -1)
            return self.module(x)[0].reshape(w.frames, w.streams, w.units)
        return self.module(x)[0]


class Loops:
    """An own cell in a loop over frames."""

    def __init__(self, w: Workload, values: dict, style: str):
        self.w, self.hoisted = w, "hoist" in style
        self.step = torch.compile(STEPS[w.cell], dynamic=False) if "cell" in style else STEPS[w.cell]
        self.layers = [{name: torch.nn.Parameter(torch.from_numpy(value.copy())) for name, value in layer.items()}
                       for layer in values["layers"]]
        self.learned = [p for layer in self.layers for p in layer.values()]
        first = self.layers[0]
        self.shown = [first["W"], first.get("U", first.get("u", first["b"]))]

    @classmethod
    def of(cls, w: Workload, values: dict, style: str):
        return None if "hoist" in style and w.cell in ("sru", "indrnn") else cls(w, values, style)

    def labels(self, x):
        return x

    def outputs(self, x):
        for layer in self.layers:
            if self.hoisted:
                more = layer.get("p", layer.get("bu"))
                x = Hoisted.apply(self, layer, x, layer["W"], layer["b"], layer["U"], more)
            else:
                x = loop(self.w, self.step, given(x, layer["W"], layer["b"]), layer, x)
        return x


def given(x, W, b):
    """What the input contributes: a product, or for labels columns of W."""
    return F.linear(x, W, b) if x.is_floating_point() else F.embedding(x, W.t()) + b


class Hoisted(torch.autograd.Function):
    """A layer whose loop never sees the gradients of its matrices."""

    @staticmethod
    def forward(ctx, net, layer, x, W, b, U, more):
        w = net.w
        with torch.enable_grad():
            inner = {name: value.detach().requires_grad_(name in ("p", "bu")) for name, value in layer.items()}
            fed = given(x.detach(), W.detach(), b.detach()).requires_grad_()
            extra = torch.zeros(w.frames, w.streams, 3 * w.units, requires_grad=True) if w.cell == "gru" else None
            h = loop(w, net.step, fed, inner, x, extra)
        ctx.kept = net, x.detach(), W.detach(), fed, extra, inner, h
        return h.detach()

    @staticmethod
    def backward(ctx, back):
        net, x, W, fed, extra, inner, h = ctx.kept
        w, more = net.w, inner.get("p", inner.get("bu"))
        wanted = [v for v in (fed, extra, more) if v is not None]
        found = dict(zip(map(id, wanted), torch.autograd.grad(h, wanted, back)))
        dx = found[id(fed)].flatten(0, 1)
        late = (dx if extra is None else found[id(extra)].flatten(0, 1))[w.delay * w.streams:]
        before = h.detach()[:-w.delay].flatten(0, 1)
        if x.is_floating_point():
            dW = dx.t() @ x.flatten(0, 1)
        else:
            dW = torch.zeros(w.inputs, dx.shape[1]).index_add_(0, x.flatten(), dx).t()
        down = (dx @ W).reshape(x.shape) if ctx.needs_input_grad[2] else None
        return None, None, down, dW, dx.sum(0), late.t() @ before, None if more is None else found[id(more)]


def stream(w: Workload, values: dict, style: str) -> Job | None:
    """One frame a call: nn.LSTMCell."""
    if style != "nncell":
        return None
    torch.set_grad_enabled(False)
    cell, layer = torch.nn.LSTMCell(w.inputs, w.units).eval(), values["layers"][0]
    for name, key in (("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b")):
        getattr(cell, name).copy_(torch.from_numpy(layer[key]))
    cell.bias_hh.zero_()
    frames = torch.from_numpy(values["x"]).unbind(0)
    now = [torch.zeros(1, w.units), torch.zeros(1, w.units), 0]

    def step():
        with torch.inference_mode():
            now[0], now[1] = cell(frames[now[2] % 64], (now[0], now[1]))
            now[2] += 1

    def check():
        for _ in range(64):
            step()
        return [float(abs(now[0].numpy() - reference(w, values["x"])).max())]

    return Job(step, check)
