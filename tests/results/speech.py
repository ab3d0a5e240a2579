"""Connectionist temporal classification of synthetic speech."""

from importlib.resources import files

import numpy as np

import rnnc
from results.harness import Found, compiled, experiment, first_time, halved, spread

PHONES, BANDS = 6, 8
LISTENER = """
model listener(phones = 6, bands = 8, hidden = 24, both = 1) {
    input  x : [bands]
    target spoken : labels(phones)
    h = [twice(hidden), lstm(hidden)][1 - both](x)
    logits = dense(phones + 1)(h)
    output heard = argmax(logits)
    loss   ctc(logits, spoken)
}
cell twice(n)(x) { return concat(lstm(n)(x), reversed(lstm(n))(x)) }
"""
# Each phone sounds in two bands of its own, or in one it shares.
SOUND = np.array([[np.exp(-(b - 7 * k / 5) ** 2 / 2) + 0.7 * np.exp(-(b - (3 * k) % 8) ** 2) for b in range(BANDS)]
                  for k in range(PHONES)])


def speech(chance, count: int) -> dict:
    """Sequences of 3 to 7 phones, each 3 to 8 frames long with silence of up to 2 frames after it, in noise."""
    x, spoken = [], []
    for _ in range(count):
        phones = chance.integers(0, PHONES, chance.integers(3, 8))
        frames = []
        for phone in phones:
            loud = np.hanning(chance.integers(3, 9) + 2)[1:-1, None] * 0.5 + 0.5
            frames += [loud * SOUND[phone], np.zeros((chance.integers(1, 3), BANDS))]
        frames = np.concatenate(frames)
        x.append((frames + 0.15 * chance.normal(size=frames.shape)).astype(np.float32))
        spoken.append(phones)
    return {"x": x, "spoken": spoken}


def heard(labels: np.ndarray) -> list[int]:
    """The best path: repeats drawn together, blanks left out."""
    return [int(b) for a, b in zip([-1, *labels], labels) if a != b and b != PHONES]


def changes(a: list, b: list) -> int:
    """Insertions, deletions and substitutions that lead from one list to the other."""
    row = list(range(len(b) + 1))
    for i, one in enumerate(a, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(b, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (one != other))
    return row[-1]


def error_rate(net, batch: dict) -> float:
    found = [heard(labels) for labels in net.run(x=batch["x"])["heard"]]
    return sum(map(changes, found, batch["spoken"])) / sum(map(len, batch["spoken"]))


def updates_needed(found: Found) -> tuple[str, bool]:
    said = {0: "one direction", 1: "both"}
    parts = [f"{name}: error {spread(found[f'error {k}'], '.1%')} after {spread(found[f'updates {k}'], '.0f')} updates"
             for k, name in sorted(said.items(), reverse=True)]
    return "; ".join(parts), (found["error 1"] == 0).all()


@experiment(known="both directions: error 0 after 300 updates on 5 of 5 seeds; one direction: after 500 to 600",
            seeds=5, judge=updates_needed)
def ctc_phones(seed):
    """Synthetic phones (6 in 8 bands, in noise), LSTM of 24 units in both directions and in one, CTC, Adam, updates of
    16 sequences until 200 others are spelt without an error"""
    test, found = speech(np.random.default_rng([seed, 10**6]), 200), {}
    for both in (1, 0):
        net = compiled(LISTENER, seed, both=both)
        opt = rnnc.Adam(net, 3e-3, clip_norm=1.0)
        for update in range(1, 1501):
            net.backprop(**speech(np.random.default_rng([seed, update]), 16))
            opt.step()
            if update % 50 == 0 and (error := error_rate(net, test)) == 0:
                break
        found |= {f"error {both}": error, f"updates {both}": update}
    return found


# --------------------------------------------------------------------------------- windows shorter than what is said

LONGEST, WINDOWS = 7, (24, 16, 8)


def endless(chance, frames: int, streams: int = 16) -> dict:
    """Streams of sequences one behind another, for samples/online_ctc.rnn: every frame with the list that it is part
    of, and whether it is the last one of that."""
    rows = []
    for _ in range(streams):
        parts, count = [], 0
        while count < frames:
            one = speech(chance, 1)
            x, phones = one["x"][0], one["spoken"][0]
            spoken = np.full((len(x), LONGEST), -1, np.float32)
            spoken[:, :len(phones)] = phones
            parts.append((x, spoken, np.arange(len(x)) == len(x) - 1))
            count += len(x)
        rows.append([np.concatenate(part)[:frames] for part in zip(*parts)])
    return {name: np.stack(part, axis=1) for name, part in zip(("x", "spoken", "ends"), zip(*rows))}


def in_windows(net, opt, streams: dict, window: int):
    """An update for each window of all streams, whose state goes on; before each one the number of updates so far."""
    state = net.state(streams=streams["x"].shape[1])
    for update, first in enumerate(range(0, len(streams["x"]), window)):
        yield update
        net.backprop(state=state, **{name: part[first:first + window] for name, part in streams.items()})
        opt.step()


def overheard(net, x: np.ndarray, as_it_comes: bool = False) -> list[int]:
    """What is heard in a stream, by somebody who is told nothing."""
    nothing = {"spoken": np.full((len(x), LONGEST), -1), "ends": np.zeros(len(x))}
    if as_it_comes:
        state = net.state()
        frames = [net.step(state, x=x[t], **{k: v[t] for k, v in nothing.items()}) for t in range(len(x))]
        return [int(frame["heard"]) for frame in frames if frame["begins"]]
    out = net.run(x=x, **nothing)
    return out["heard"][out["begins"] != 0].tolist()


def short_windows_do(found: Found) -> tuple[str, bool]:
    parts = [f"{w} frames: error {spread(found[f'error {w}'], '.2%')}, below 1 % after "
             f"{spread(found[f'updates {w}'], '.0f')} updates" for w in WINDOWS]
    return "; ".join(parts), all((found[f"error {w}"] <= 0.002).all() for w in WINDOWS)


@experiment(known="0 %, as from whole sequences; shorter windows take longer", seeds=5, judge=short_windows_do)
def ctc_online(seed):
    """The same phones in 16 streams without a pause or a restart, sequences of 35 frames on average (12 to 70), LSTM of
    24 units in one direction, CTC as a recurrence, Adam, 8,000 updates of windows of 24, 16 and 8 frames; tried on 200
    others in one stream, frame by frame"""
    test, found = speech(np.random.default_rng([seed, 10**6]), 200), {}
    x, spoken = np.concatenate(test["x"]), [int(phone) for phones in test["spoken"] for phone in phones]
    error = lambda net, **how: changes(overheard(net, x, **how), spoken) / len(spoken)
    for window in WINDOWS:
        net = compiled((files("rnnc.samples") / "online_ctc.rnn").read_text(), seed, hidden=24, longest=LONGEST)
        streams = endless(np.random.default_rng([seed, window]), 8000 * window)
        at = in_windows(net, rnnc.Adam(net, halved(1e-2, 3000), clip_norm=1.0), streams, window)
        reached = first_time(error(net) < 0.01 for update in at if update % 100 == 0)
        for _ in at:
            pass
        found |= {f"error {window}": error(net, as_it_comes=True),
                  f"updates {window}": 100 * (reached - 1) if reached else np.inf}
    return found
