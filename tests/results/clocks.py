"""Slow and fast units."""

import numpy as np

import rnnc
from results.harness import Found, compiled, experiment

GENERATOR = """
model generator(kind = 0) {
    input  one
    target y
    z = dense(1)([clockwork(64, [1, 2, 4, 8, 16, 32, 64, 128]), rnn(48)][kind](one))[0]
    output z
    loss   0.5 * mse(z, y)
}
"""


def slower_wins(found: Found) -> tuple[str, bool]:
    return "; ".join(f"{k} {v.mean():.4f} ± {v.std():.4f}" for k, v in found.items()), \
        found["clockwork"].mean() < 0.6 * found["simple RNN"].mean() and found["clockwork"].mean() < 0.13


@experiment(known="half the mean squared error: clockwork .1125 ± .015, simple RNN .2454 (constant answer .25)",
            seeds=5, judge=slower_wins)
def clockwork(seed):
    """A sum of four sines (periods 8, 32, 80, 160) to be made from nothing, 320 frames, clockwork of 64 units in eight
    groups and simple RNN of 48, plain descent, 1,500 updates"""
    phases = np.random.default_rng(seed).uniform(0, 2 * np.pi, 4)
    t = np.arange(320)
    y = sum(np.sin(2 * np.pi * t / p + phase) for p, phase in zip((8, 32, 80, 160), phases)) / 2
    batch, found = {"one": np.ones(320), "y": y}, {}
    for kind, name in enumerate(["clockwork", "simple RNN"]):
        net = compiled(GENERATOR, seed, kind=kind)
        opt = rnnc.SGD(net, 0.02, clip_norm=1.0)
        for _ in range(1500):
            net.backprop(**batch)
            opt.step()
        found[name] = net.evaluate(**batch)["loss"]
    return found
