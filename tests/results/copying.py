"""Copy memory: ten symbols to be said again after a long pause."""

import numpy as np

import rnnc
from results.harness import Found, compiled, drawn, experiment, spread, train

PAUSE, SYMBOLS = 500, 8
FLOOR = 10 * np.log(SYMBOLS) / (PAUSE + 20)       # all blanks right, the ten symbols guessed
COPIER = """
model copier(n = 64, kind = 0, lag = 510) {
    input  x : class(10)
    target y : class(10)
    logits = dense(10)([lstm(n), gru(n), delayed(n, lag)][kind](x))
    output p = softmax(logits)
    loss   cross_entropy(logits, y)
}
cell delayed(n, lag)(x) {                         # sees its own output of one frame ago, and of `lag` frames
    param W : [n, dim(x)]
    param U, V : [n, n]
    param b : [n] = 0
    h = tanh(W @ x + 0.5 * U @ h[t-1] + V @ h[t-lag] + b)
    return h
}
"""


def copies(chance, streams: int = 16) -> dict:
    """Ten symbols, the pause, a sign to begin (label 9), room for the answer; blanks are label 8."""
    said = chance.integers(0, SYMBOLS, (10, streams))
    x = np.full((PAUSE + 20, streams), 8)
    y = x.copy()
    x[:10], x[PAUSE + 9], y[-10:] = said, 9, said
    return {"x": x, "y": y}


def floor_holds(found: Found) -> tuple[str, bool]:
    floor = [found[k] for k in ("LSTM", "GRU")]
    said = ", ".join(f"{k} {spread(v, '.4f')}" for k, v in found.items())
    return said, all((0.9 * FLOOR < v).all() and (v < 1.3 * FLOOR).all() for v in floor) and \
        (found["delayed"] < 0.1 * FLOOR).all()


@experiment(known=f"LSTM and GRU learn no more than the floor, 10 ln 8 / 520 = {FLOOR:.4f} (arXiv:1803.01271)", seeds=2,
            judge=floor_holds)
def copy_memory(seed):
    """Copy memory, a pause of 500 frames, 64 units, Adam, 400 updates of 16 sequences; `delayed` is a simple RNN that
    also sees its output of 510 frames ago"""
    found = {}
    for kind, name in enumerate(["LSTM", "GRU", "delayed"]):
        net = compiled(COPIER, seed, kind=kind)
        train(net, rnnc.Adam(net, lambda step: 3e-3, clip_norm=1.0), drawn(copies, seed, 400))
        found[name] = net.evaluate(**copies(np.random.default_rng([seed, 10**6]), 64))["loss"]
    return found
