"""Cells with heads, matrices for memories, exponential gates, clocks, spikes and fixed systems, as their papers write
them; see papers.py."""

import math
from types import SimpleNamespace

import numpy as np
from papers import INPUTS, UNITS, loop, paper, sigmoid

from rnnc.graph.ops.random import row_keys, words


def units(p, name: str) -> list[dict]:
    """The parameters of the cells applied as `name`, `name_2`, ... inside an expression."""
    found = []
    while True:
        label = f"{name}_{len(found) + 1}" if found else name
        inner = {path.removeprefix(f"{label}."): v for path, v in p.items() if path.startswith(f"{label}.")}
        if not inner:
            return found
        found.append(inner)


def silu(v):
    return v * sigmoid(v)


def normalised(v, eps=1e-5):
    return (v - v.mean()) / np.sqrt(v.var() + eps)


@paper()
def norm_lstm(p, xs):
    def layer(name, v):
        return p[f"{name}.g"] * normalised(v) + p[f"{name}.b"]

    def step(p, x, h, c):
        stacked = lambda letter, v: np.concatenate([p[f"{letter}{gate}"] @ v for gate in "ifgo"])
        a = layer("new", stacked("W", x)) + layer("held", stacked("U", h))
        i, f, g, o = (part + p[f"b{gate}"] for part, gate in zip(np.split(a, 4), "ifgo"))
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(layer("seen", c))
        return h, h, c
    return loop(step, UNITS, UNITS)(p, xs)


@paper("4, 3")
def qrnn(p, xs):
    before = np.vstack([np.zeros((2, INPUTS)), xs])
    conv = lambda gate: np.array([sum(p[f"W{gate}"][i] @ before[t + 2 - i] for i in range(3)) + p[f"b{gate}"]
                                  for t in range(len(xs))])
    c, out = np.zeros(UNITS), []
    for z, f, o in zip(np.tanh(conv("z")), sigmoid(conv("f")), sigmoid(conv("o"))):
        c = f * c + (1 - f) * z
        out.append(o * c)
    return np.array(out)


@paper("4, periods = [1, 3]")
def clockwork(p, xs):
    """Two groups; the quick one sees both, the slow one itself alone, every third frame."""
    quick, slow, out = np.zeros(2), np.zeros(2), []
    for t, x in enumerate(xs):
        u = p["W"] @ x + p["b"]
        new = np.tanh(u[:2] + p["U"][:2] @ np.concatenate([quick, slow]))
        if t % 3 == 0:
            slow = np.tanh(u[2:] + p["U"][2:, 2:] @ slow)
        quick = new
        out.append(np.concatenate([quick, slow]))
    return np.array(out)


@paper("0.3")
def zoneout(p, xs):
    """As in training: the draws are the oracle's, its first of seed 0."""
    y, out = np.zeros(INPUTS), []
    for t, x in enumerate(xs):
        node = SimpleNamespace(size=INPUTS, attr=lambda key: "y.y.dropout" if key == "site" else None)
        kept = words(node, row_keys(0, 0, np.array([t])))[0][0] < 0.3 * 2 ** 32
        y = np.where(kept, y, x)
        out.append(y)
    return np.array(out)


@paper("4, steps = 3, dt = 0.5")
def ltc(p, xs):
    h, out = np.zeros(UNITS), []
    for x in xs:
        for _ in range(3):
            f = sigmoid(p["W"] @ x + p["b"] + p["h.U"] @ h)
            h = (h + 0.5 / 3 * f * p["h.A"]) / (1 + 0.5 / 3 * (1 / np.exp(p["h.s"]) + f))
        out.append(h)
    return np.array(out)


@paper("4, decay = 0.8, threshold = 0.5")
def lif(p, xs):
    v, s, out = np.zeros(UNITS), np.zeros(UNITS), []
    for x in xs:
        v = 0.8 * v + p["W"] @ x + p["b"] - 0.5 * s
        s = (v > 0.5) * 1.0
        out.append(s)
    return np.array(out)


@paper("4, order = 3, span = 5")
def legendre_memory(p, xs):
    """Exponentials as their power series."""
    i = np.arange(3)
    A = (2 * i[:, None] + 1) / 5 * np.where(i[:, None] < i, -1, (-1.0) ** (i[:, None] - i + 1))
    B = (2 * i + 1) / 5 * (-1.0) ** i
    powers = [np.linalg.matrix_power(A, k) / math.factorial(k) for k in range(40)]
    keep, feed = sum(powers), sum(power / (k + 1) for k, power in enumerate(powers)) @ B

    def step(p, x, h, m):
        u = p["ex"] @ x + p["eh"] @ h + p["em"] @ m
        m = keep @ m + feed * u
        h = np.tanh(p["Wx"] @ x + p["Wh"] @ h + p["Wm"] @ m)
        return h, h, m
    return loop(step, UNITS, 3)(p, xs)


@paper("4, heads = 2")
def retention(p, xs):
    """The parallel form: every frame looks at all frames before it, in complex numbers."""
    turn, heads = np.exp(1j * np.arange(len(xs)))[:, None], []
    as_complex = lambda m: (m[:, :1] + 1j * m[:, 1:]) * turn
    for i, q in enumerate(units(p, "o.head")):
        gamma = 1 - 2.0 ** (-5 - i)
        queries, keys, values = as_complex(xs @ q["Wq"].T / np.sqrt(2)), as_complex(xs @ q["Wk"].T), xs @ q["Wv"].T
        age = np.subtract.outer(np.arange(len(xs)), np.arange(len(xs)))
        weights = (queries @ keys.conj().T).real * np.where(age >= 0, gamma ** np.maximum(age, 0), 0)
        heads.append(np.array([normalised(o) for o in weights @ values]))
    return (silu(xs @ p["Wg"].T) * np.hstack(heads)) @ p["Wo"].T


@paper("4, heads = 2, rank = 3")
def gated_linear_attention(p, xs):
    heads = []
    for q in units(p, "o.head"):
        S, out = np.zeros((1, 2)), []
        for x in xs:
            a = sigmoid(q["A2"] @ (p["A1"] @ x) + q["b"]) ** (1 / 16)
            S = np.diag(a) @ S + np.outer(q["Wk"] @ x, q["Wv"] @ x)
            out.append(q["o.g"] * normalised(S.T @ (q["Wq"] @ x)) + q["o.b"])
        heads.append(np.array(out))
    return (silu(xs @ p["Wr"].T + p["br"]) * np.hstack(heads)) @ p["Wo"].T


@paper("4, heads = 2")
def delta_net(p, xs):
    heads = []
    for q in units(p, "o.head"):
        S, out = np.zeros((2, 2)), []
        for x in xs:
            query, key, value = (silu(q[name] @ x) for name in ("Wq", "Wk", "Wv"))
            query, key = (v / np.sqrt(v @ v + 1e-6) for v in (query, key))
            beta = sigmoid(q["wb"] @ x)
            S = S @ (np.eye(2) - beta * np.outer(key, key)) + beta * np.outer(value, key)
            o = S @ query
            out.append(q["o.g"] * o / np.sqrt((o ** 2).mean() + 1e-6))
        heads.append(np.array(out))
    return np.hstack(heads) @ p["Wo"].T


@paper("6, modes = 3, rank = 2")
def selective_ssm(p, xs):
    before = np.vstack([np.zeros((3, 6)), xs @ p["Wu"].T])
    A = -np.exp(np.log(np.arange(1, 4)) + p["a"])
    S, out = np.zeros((6, 3)), []
    for t, x in enumerate(xs):
        u = silu(sum(p["K"][i] * before[t + 3 - i] for i in range(4)) + p["bk"])
        d = np.log1p(np.exp(p["W2"] @ (p["W1"] @ u) + p["bd"]))
        S = np.exp(d[:, None] * A) * S + (d * u)[:, None] * (p["Wb"] @ u)
        out.append(p["Wo"] @ ((S @ (p["Wc"] @ u) + p["D"] * u) * silu(p["Wz"] @ x)))
    return np.array(out)


@paper()
def rwkv(p, xs):
    """The means as sums over all frames before, without any scaling."""
    before = np.vstack([np.zeros(INPUTS), xs[:-1]])
    r, k, v = ((p[f"m{s}"] * xs + (1 - p[f"m{s}"]) * before) @ p[f"W{s}"].T for s in "rkv")
    out = []
    for t in range(len(xs)):
        weights = [np.exp(-np.exp(p["w"]) * (t - 1 - s) + k[s]) for s in range(t)] + [np.exp(p["u"] + k[t])]
        wkv = sum(w * v[s] for s, w in enumerate(weights)) / sum(weights)
        out.append(p["Wo"] @ (sigmoid(r[t]) * wkv))
    return np.array(out)


@paper("4, heads = 2")
def mlstm(p, xs):
    """Without the stabiliser."""
    heads = []
    for q in units(p, "h.head"):
        C, s, out = np.zeros((2, 2)), np.zeros(2), []
        for x in xs:
            query, key, value = (q[f"W{n}"] @ x / (np.sqrt(2) if n == "k" else 1) + q[f"b{n}"] for n in "qkv")
            i, f = np.exp(q["wi"] @ x + q["bi"]), sigmoid(q["wf"] @ x + q["bf"])
            C, s = f * C + i * np.outer(value, key), f * s + i * key
            out.append(C @ query / max(abs(s @ query), 1))
        heads.append(np.array(out))
    return sigmoid(xs @ p["Wo"].T + p["bo"]) * np.hstack(heads)


@paper("4, heads = 2")
def slstm(p, xs):
    """Without the stabiliser."""
    heads = []
    for q in units(p, "h.head"):
        h, c, s, out = np.zeros(2), np.zeros(2), np.zeros(2), []
        for x in xs:
            z, i, f, o = (q[f"W{n}"] @ x + q[f"R{n}"] @ h + q[f"b{n}"] for n in "zifo")
            c, s = sigmoid(f) * c + np.exp(i) * np.tanh(z), sigmoid(f) * s + np.exp(i)
            h = sigmoid(o) * c / s
            out.append(h)
        heads.append(np.array(out))
    return np.hstack(heads)


@paper("4, leak = 0.6")
def echo_state(p, xs):
    def step(p, x, h):
        h = 0.4 * h + 0.6 * np.tanh(p["W"] @ x + p["U"] @ h + p["b"])
        return h, h
    return loop(step, UNITS)(p, xs)
