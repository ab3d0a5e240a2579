"""Cells as their papers write them, in NumPy, as loops over frames: what tests/test_cells.py judges grammar/cells by.

Nothing is shared with the cells but the names of the parameters. Cells with heads, matrices and spikes follow in
papers_of_memories.py.
"""

import numpy as np

FRAMES, UNITS, INPUTS = 7, 4, 4
PAPERS = {}


def paper(sizes: str = str(UNITS), name: str | None = None):
    """A cell's equations: parameters by name, the inputs [T, n] -> the outputs [T, m]."""
    def enter(function):
        PAPERS[name or function.__name__] = (sizes, function)
        return function
    return enter


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def affine(p, gate: str, x, h):
    """W x + U h + b of one gate."""
    return p[f"W{gate}"] @ x + p[f"U{gate}"] @ h + p[f"b{gate}"]


def loop(step, *states: int):
    """Runs step(p, x, *states) -> (output, *states) over the frames, from zeros of the sizes given."""
    def run(p, xs):
        now, out = [np.zeros(size) for size in states], []
        for x in xs:
            y, *now = step(p, x, *now)
            out.append(y)
        return np.array(out)
    return run


@paper()
def dense(p, xs):
    return xs @ p["W"].T + p["b"]


@paper()
def embed(p, xs):
    return xs @ p["W"].T


@paper("4, 3")
def conv(p, xs):
    before = np.vstack([np.zeros((2, INPUTS)), xs])
    return np.array([sum(p["W"][i] @ before[t + 2 - i] for i in range(3)) + p["b"] for t in range(len(xs))])


def _rnn(activation):
    def step(p, x, h):
        h = activation(p["W"] @ x + p["U"] @ h + p["b"])
        return h, h
    return loop(step, UNITS)


PAPERS["rnn"] = ("4", _rnn(np.tanh))
PAPERS["irnn"] = ("4", _rnn(lambda a: np.maximum(a, 0)))


@paper()
def indrnn(p, xs):
    def step(p, x, h):
        h = np.maximum(p["W"] @ x + p["u"] * h + p["b"], 0)
        return h, h
    return loop(step, UNITS)(p, xs)


def lstm_step(p, x, h, c, seen=None):
    """`seen`: what the gates see in place of h."""
    see = h if seen is None else seen
    i, f, o = (sigmoid(affine(p, gate, x, see)) for gate in "ifo")
    c = f * c + i * np.tanh(affine(p, "g", x, see))
    h = o * np.tanh(c)
    return h, h, c


PAPERS["lstm"] = ("4", loop(lstm_step, UNITS, UNITS))


@paper()
def peephole_lstm(p, xs):
    def step(p, x, h, c):
        i = sigmoid(affine(p, "i", x, h) + p["pi"] * c)
        f = sigmoid(affine(p, "f", x, h) + p["pf"] * c)
        c = f * c + i * np.tanh(affine(p, "g", x, h))
        h = sigmoid(affine(p, "o", x, h) + p["po"] * c) * np.tanh(c)
        return h, h, c
    return loop(step, UNITS, UNITS)(p, xs)


@paper()
def coupled_lstm(p, xs):
    def step(p, x, h, c):
        f = sigmoid(affine(p, "f", x, h))
        c = f * c + (1 - f) * np.tanh(affine(p, "g", x, h))
        h = sigmoid(affine(p, "o", x, h)) * np.tanh(c)
        return h, h, c
    return loop(step, UNITS, UNITS)(p, xs)


@paper("4, 2")
def projected_lstm(p, xs):
    def step(p, x, r, c):
        full, _, c = lstm_step(p, x, r, c)
        r = p["P"] @ full
        return r, r, c
    return loop(step, 2, UNITS)(p, xs)


@paper()
def multiplicative_lstm(p, xs):
    def step(p, x, h, c):
        return lstm_step(p, x, h, c, seen=(p["Wm"] @ x) * (p["Um"] @ h))
    return loop(step, UNITS, UNITS)(p, xs)


def _gru(candidate):
    def step(p, x, h):
        z, r = sigmoid(affine(p, "z", x, h)), sigmoid(affine(p, "r", x, h))
        h = z * h + (1 - z) * np.tanh(candidate(p, x, h, r))
        return h, h
    return loop(step, UNITS)


PAPERS["gru"] = ("4", _gru(lambda p, x, h, r: affine(p, "h", x, r * h)))
PAPERS["gru_after"] = ("4", _gru(lambda p, x, h, r: p["Wh"] @ x + p["bh"] + r * (p["Uh"] @ h + p["bu"])))


@paper()
def mgu(p, xs):
    def step(p, x, h):
        f = sigmoid(affine(p, "f", x, h))
        h = (1 - f) * h + f * np.tanh(affine(p, "h", x, f * h))
        return h, h
    return loop(step, UNITS)(p, xs)


@paper()
def ugrnn(p, xs):
    def step(p, x, h):
        g = sigmoid(affine(p, "g", x, h))
        h = g * h + (1 - g) * np.tanh(affine(p, "c", x, h))
        return h, h
    return loop(step, UNITS)(p, xs)


@paper()
def fastgrnn(p, xs):
    def step(p, x, h):
        a = p["W"] @ x + p["U"] @ h
        z = sigmoid(a + p["bz"])
        h = (sigmoid(p["zeta"]) * (1 - z) + sigmoid(p["nu"])) * np.tanh(a + p["bh"]) + z * h
        return h, h
    return loop(step, UNITS)(p, xs)


@paper()
def min_gru(p, xs):
    def step(p, x, h):
        z = sigmoid(p["Wz"] @ x + p["bz"])
        h = (1 - z) * h + z * (p["Wh"] @ x + p["bh"])
        return h, h
    return loop(step, UNITS)(p, xs)


@paper()
def min_lstm(p, xs):
    def step(p, x, h):
        i, f = sigmoid(p["Wi"] @ x + p["bi"]), sigmoid(p["Wf"] @ x + p["bf"])
        h = (f * h + i * (p["Wh"] @ x + p["bh"])) / (f + i)
        return h, h
    return loop(step, UNITS)(p, xs)


@paper()
def sru(p, xs):
    def step(p, x, c):
        f, r = sigmoid(p["Wf"] @ x + p["bf"]), sigmoid(p["Wr"] @ x + p["br"])
        c = f * c + (1 - f) * (p["W"] @ x)
        return r * np.tanh(c) + (1 - r) * x, c
    return loop(step, UNITS)(p, xs)


@paper("")
def layer_norm(p, xs):
    return p["g"] * (xs - xs.mean(1, keepdims=True)) / np.sqrt(xs.var(1, keepdims=True) + 1e-5) + p["b"]


@paper("")
def rms_norm(p, xs):
    return p["g"] * xs / np.sqrt((xs ** 2).mean(1, keepdims=True) + 1e-6)


@paper("rnn(4)")
def residual(p, xs):
    return xs + _rnn(np.tanh)({name.removeprefix("y."): value for name, value in p.items()}, xs)


@paper()
def linear_recurrence(p, xs):
    """In complex numbers, as in the paper."""
    size = np.exp(-np.exp(p["nu"]) + 1j * np.exp(p["theta"]))
    s, out = np.zeros(UNITS, complex), []
    for x in xs:
        s = size * s + np.sqrt(1 - abs(size) ** 2) * ((p["Bre"] + 1j * p["Bim"]) @ x)
        out.append(((p["Cre"] + 1j * p["Cim"]) @ s).real + p["D"] * x)
    return np.array(out)


@paper("4, 3")
def narx(p, xs):
    def step(p, x, one, two, three):
        h = np.tanh(p["W"] @ x + p["U"][0] @ one + p["U"][1] @ two + p["U"][2] @ three + p["b"])
        return h, h, one, two
    return loop(step, UNITS, UNITS, UNITS)(p, xs)


@paper("4, 3")
def highway_rnn(p, xs):
    def step(p, x, s):
        for level in range(3):
            q = p if level == 0 else {n.removeprefix(f"h.{level - 1}."): v for n, v in p.items()}
            given = (p["Wh"] @ x, p["Wz"] @ x) if level == 0 else (0, 0)
            z = sigmoid(given[1] + q["Rz"] @ s + q["bz"])
            s = z * np.tanh(given[0] + q["Rh"] @ s + q["bh"]) + (1 - z) * s
        return s, s
    return loop(step, UNITS)(p, xs)


@paper("4, leak = 0.2")
def leaky_integrator(p, xs):
    def step(p, x, h):
        h = 0.8 * h + 0.2 * np.tanh(p["W"] @ x + p["U"] @ h + p["b"])
        return h, h
    return loop(step, UNITS)(p, xs)


@paper("4, dt = 0.5")
def ctrnn(p, xs):
    def step(p, x, h):
        h = h + 0.5 / np.exp(p["s"]) * (np.tanh(p["W"] @ x + p["U"] @ h + p["b"]) - h)
        return h, h
    return loop(step, UNITS)(p, xs)
