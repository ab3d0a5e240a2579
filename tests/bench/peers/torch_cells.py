"""Cells as a user of PyTorch writes them: a step of each, given what the input contributes, and the loop."""

import torch
from torch import sigmoid, tanh

from bench.workloads import Workload


def lstm(x, h, c, U):
    i, f, g, o = torch.addmm(x, h, U.t()).chunk(4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    return sigmoid(o) * tanh(c), c


def peephole(x, h, c, U, pi, pf, po):
    i, f, g, o = torch.addmm(x, h, U.t()).chunk(4, -1)
    c = sigmoid(f + pf * c) * c + sigmoid(i + pi * c) * tanh(g)
    return sigmoid(o + po * c) * tanh(c), c


def gru(x, h, U, bu):
    xr, xz, xn = x.chunk(3, -1)
    hr, hz, hn = torch.addmm(bu, h, U.t()).chunk(3, -1)
    z, n = sigmoid(xz + hz), tanh(xn + sigmoid(xr + hr) * hn)
    return n + z * (h - n)


def delayed(x, h, U):
    return tanh(torch.addmm(x, h, U.t()))


def sru(g, f, c):
    return g + f * (c - g)


def indrnn(x, h, u):
    return torch.relu(x + u * h)


STEPS = {"lstm": lstm, "characters": lstm, "peephole": peephole, "gru": gru, "tanh": delayed, "sru": sru,
         "indrnn": indrnn}


def loop(w: Workload, step, given, layer: dict, x, extra=None):
    """All frames of a layer. `given` is W x + b, [T, B, gates x units]; `extra` is added to a GRU's second bias frame
    by frame, so that the gradient of the recurrent product is to be had."""
    frames, h = given.unbind(0), torch.zeros(w.streams, w.units)
    c, out = h, []
    if w.cell in ("lstm", "characters", "peephole"):
        peeps = layer["p"].unbind(0) if "p" in layer else ()
        for frame in frames:
            h, c = step(frame, h, c, layer["U"], *peeps)
            out.append(h)
    elif w.cell == "gru":
        biases = [layer["bu"]] * w.frames if extra is None else (layer["bu"] + extra).unbind(0)
        for frame, bias in zip(frames, biases):
            h = step(frame, h, layer["U"], bias)
            out.append(h)
    elif w.cell == "tanh":
        out = [h] * w.delay
        for t, frame in enumerate(frames):
            out.append(step(frame, out[t], layer["U"]))
        out = out[w.delay:]
    elif w.cell == "indrnn":
        for frame in frames:
            h = step(frame, h, layer["u"])
            out.append(h)
    else:
        g, f, r = given.chunk(3, -1)
        f, r = sigmoid(f), sigmoid(r)
        for candidate, forget in zip(g.unbind(0), f.unbind(0)):
            c = step(candidate, forget, c)
            out.append(c)
        return r * tanh(torch.stack(out)) + (1 - r) * x
    return torch.stack(out)
