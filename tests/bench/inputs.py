"""The same seeded parameters and inputs for every peer, in one layout: W [gates x units, inputs],
U [gates x units, units], b [gates x units]; `gates` says in which order."""

import numpy as np

from bench.workloads import GATES, IN_LOOP, Workload


def data(w: Workload) -> dict:
    chance = np.random.default_rng(7)
    g, n, T, B = GATES[w.cell], w.units, w.frames, w.streams
    reach = 1 / np.sqrt(n)
    draw = lambda *shape: chance.uniform(-reach, reach, shape).astype(np.float32)
    layers = []
    for k in range(w.layers):
        layer = {"W": draw(g * n, w.width(k)), "b": draw(g * n)}
        if w.cell in IN_LOOP:
            layer["U"] = draw(g * n, n)
        if w.cell == "gru":
            layer["bu"] = np.concatenate([np.zeros(2 * n, np.float32), draw(n)])   # only the candidate's own bias
        if w.cell == "peephole":
            layer["p"] = draw(3, n)
        if w.cell == "indrnn":
            layer["u"] = chance.uniform(0, 0.9, n).astype(np.float32)
        layers.append(layer)
    if w.labels:
        text = chance.integers(0, w.inputs, (T + 1, B)).astype(np.int32)
        return {"layers": layers, "x": np.ascontiguousarray(text[:-1]), "y": np.ascontiguousarray(text[1:]),
                "V": draw(w.inputs, n), "v": np.zeros(w.inputs, np.float32)}
    frames = 64 if w.kind == "stream" else T
    return {"layers": layers, "x": chance.standard_normal((frames, B, w.inputs), dtype=np.float32),
            "y": chance.standard_normal((frames, B, n), dtype=np.float32)}


def gates(cell: str) -> str:
    """Gates in the order of the stacked rows."""
    return {"lstm": "ifgo", "peephole": "ifgo", "characters": "ifgo", "gru": "rzh", "sru": "gfr"}.get(cell, "")


def reference(w: Workload, x: np.ndarray) -> np.ndarray:
    """The last output of an LSTM in float64."""
    layer = {name: value.astype(np.float64) for name, value in data(w)["layers"][0].items()}
    sigmoid = lambda v: 1 / (1 + np.exp(-v))
    h = c = np.zeros((w.streams, w.units))
    for frame in x:
        i, f, g, o = np.split(frame @ layer["W"].T + layer["b"] + h @ layer["U"].T, 4, -1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
    return h
