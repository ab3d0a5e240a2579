"""Speakers by their vowels, digits by their rows, and digits with few bits per weight."""

from importlib.resources import files

import numpy as np

import rnnc
from results.datasets import digits, japanese_vowels
from results.harness import Found, compiled, experiment, spread

# ---------------------------------------------------------------------------------------------------- vowels

SPEAKERS = """
model speakers(channels = 12, hidden = 48, classes = 9) {
    input  x : [channels]
    target y : class(classes) per sequence
    v = x + noise(0.3)
    h = dropout(concat(gru(hidden)(v), reversed(gru(hidden))(v)), 0.3)
    logits = dense(classes)(dropout(mean_over(t, h), 0.3))
    output p = softmax(logits)
    loss   cross_entropy(logits, y)
    metric accuracy = argmax(logits) == y
}
"""


def on_average(limit: float):
    """The mean of all seeds."""
    def judge(found: Found) -> tuple[str, bool]:
        mean = found["accuracy"].mean()
        return f"{mean:.1%} on average ({spread(found['accuracy'], '.1%')})", mean >= limit
    return judge


@experiment(known="97 % of the test recordings", seeds=5, judge=on_average(0.97))
def japanese_vowels_by_speaker(seed):
    """JapaneseVowels (270 recordings of nine speakers, 370 for the test, 7 to 29 frames each, packed end to end), GRU
    of 48 units in both directions, mean over time, Adam, 60 epochs"""
    (x, y), (test_x, test_y) = japanese_vowels("TRAIN"), japanese_vowels("TEST")
    frames = np.concatenate(x)
    middle, spread_out = frames.mean(axis=0), frames.std(axis=0)
    x, test_x = ([(a - middle) / spread_out for a in rows] for rows in (x, test_x))
    net = compiled(SPEAKERS, seed)
    data = rnnc.data.sequences({"x": x, "y": y}, batch=30, seed=seed)
    opt = rnnc.Adam(net, lambda step: 5e-3 * (1 - (step - 1) / 540), clip_norm=1.0)
    rnnc.fit(net, data, opt, epochs=60, progress=False)
    return {"accuracy": net.evaluate(x=test_x, y=test_y)["accuracy"]}


# ---------------------------------------------------------------------------------------------------- digits

READERS = """
model rows(hidden = 64, classes = 10) {
    input  x : [8]
    target y : class(classes) per sequence
    h = dropout(CELL, 0.2)
    logits = dense(classes)(dropout(concat(last(h), mean_over(t, h)), 0.3))
    output p = softmax(logits)
    loss   cross_entropy(logits, y)
    metric accuracy = argmax(logits) == y
}
"""
BOTH = "concat(lstm(hidden)(x), reversed(lstm(hidden))(x))"


def shifted(chance, x: np.ndarray) -> np.ndarray:
    """Every picture moved by at most one pixel."""
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1)))
    down, right = chance.integers(0, 3, (2, len(x)))
    return np.stack([p[d:d + 8, r:r + 8] for p, d, r in zip(padded, down, right)])


def halves() -> tuple:
    """The first 70 % to learn, the last 30 % held out."""
    x, y = digits()
    x, cut = x / 16, int(0.7 * len(x))
    return (x[:cut], y[:cut]), (x[cut:], y[cut:])


def read(net, seed: int, updates: int, rate: float = 5e-3) -> float:
    """Trains on batches of 64 pictures, row by row; the accuracy on those held out."""
    (x, y), (test_x, test_y) = halves()
    opt = rnnc.Adam(net, lambda step: rate * (1 - (step - 1) / updates), clip_norm=1.0)
    for update in range(updates):
        chance = np.random.default_rng([seed, update])
        chosen = chance.integers(0, len(x), 64)
        net.backprop(x=shifted(chance, x[chosen]).transpose(1, 0, 2), y=y[chosen])
        opt.step()
    return net.evaluate(x=test_x.transpose(1, 0, 2), y=test_y)["accuracy"]


@experiment(known="97 % of the last 30 %", seeds=3, judge=on_average(0.97))
def digits_by_rows(seed):
    """Digits (1,257 of 8 x 8 pixels, the last 540 for the test), row by row, moved by a pixel at random, LSTM of 64
    units in both directions, Adam, 3,000 updates of 64"""
    return {"accuracy": read(compiled(READERS.replace("CELL", BOTH), seed), seed, 3000)}


BITS = (8, 6, 4, 2)
STORED = ("float32", "int8")


def few_bits_suffice(found: Found) -> tuple[str, bool]:
    mean = {k: v.mean() for k, v in found.items()}
    good = all(mean[f"{b} bits"] > mean["float"] - (0.01 if b > 2 else 0.02) for b in BITS)
    size = ", ".join(f"{mean.pop(f'KiB as {kind}'):.0f} KiB packed as {kind}" for kind in STORED)
    return ", ".join(f"{k} {v:.1%}" for k, v in mean.items()) + f"; {size}", good


@experiment(known="weights of 8 to 2 bits nearly as good as float, if trained so (arXiv:1512.01322)", seeds=3,
            judge=few_bits_suffice)
def fixed_point(seed):
    """The same digits, LSTM of 64 units with weights of few bits (a learned step for each kind), signals of 8 bits;
    all that a run reads, packed"""
    cells = (files("rnnc.samples") / "fixed_point.rnn").read_text().partition("model fixed_point")[0]
    found = {"float": read(compiled(READERS.replace("CELL", "lstm(hidden)(x)"), seed), seed, 3000)}
    for bits in BITS:
        text = cells + READERS.replace("CELL", f"fixed_lstm(hidden, {bits}, 8)(x)")
        found[f"{bits} bits"] = read(compiled(text, seed, weights="int8"), seed, 3000)       # the same numbers
    for kind in STORED:
        run = rnnc.compile(text, gradient=None, weights=kind)
        found[f"KiB as {kind}"] = run.module.function("packed_size")() / 1024
    return found
