"""Small tasks for networks, as batches of arrays [T, B, ...], each with the loss of the best answer that needs no
network. `batch(seed)` draws one."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

WORDS = "the quick brown fox jumps over a lazy dog and runs home".split()


@dataclass(frozen=True)
class Task:
    """`sizes` of the model; `trivial`: the loss to beat."""

    batch: Callable[[int], dict]
    trivial: float
    sizes: dict


def text(frames: int = 48, streams: int = 8, **sizes) -> Task:
    """Characters of words drawn at random; trivial is how often each character comes."""
    letters = sorted(set(" ".join(WORDS)))
    index = {c: i for i, c in enumerate(letters)}

    def stream(seed: int) -> list[int]:
        chance = np.random.default_rng(seed)
        return [index[c] for c in " ".join(chance.choice(WORDS, frames))][:frames + 1]

    def batch(seed: int) -> dict:
        both = np.array([stream(1000 * seed + b) for b in range(streams)]).T
        return {"x": both[:-1], "y": both[1:]}

    counts = Counter(" ".join(WORDS) + " ")
    shares = [n / sum(counts.values()) for n in counts.values()]
    return Task(batch, -sum(p * math.log(p) for p in shares), {"vocab": len(letters), **sizes})


def recall(lag: int, frames: int = 60, streams: int = 16, **sizes) -> Task:
    """The number that came `lag` frames ago, beside one that does not matter; trivial is the mean, 0."""
    def batch(seed: int) -> dict:
        x = np.random.default_rng(seed).uniform(-1, 1, (frames, streams, 2)).astype(np.float32)
        y = np.zeros((frames, streams), np.float32)
        y[lag:] = x[:-lag, :, 0]
        return {"x": x, "y": y}
    return Task(batch, (frames - lag) / frames / 3, sizes)


def waves(ahead: int, frames: int = 80, streams: int = 16, **sizes) -> Task:
    """Two sines of random phases; trivial is the mean, 0."""
    def batch(seed: int) -> dict:
        phase = np.random.default_rng(seed).uniform(0, 2 * np.pi, (2, streams))
        t = np.arange(frames)[:, None]
        return {"u": (np.sin(0.3 * t + phase[0]) + 0.5 * np.sin(0.17 * t + phase[1])).astype(np.float32)}
    return Task(batch, 0.625 * (frames - ahead) / frames, {"ahead": ahead, **sizes})


def liveliest(frames: int = 40, streams: int = 32) -> Task:
    """Which of four channels has the most pulses, as each frame tells more of it; trivial is a guess."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        y = np.broadcast_to(chance.integers(0, 4, streams), (frames, streams))
        often = np.where(y[..., None] == np.arange(4), 0.5, 0.2)
        return {"x": (chance.random(often.shape) < often).astype(np.float32), "y": np.ascontiguousarray(y)}
    return Task(batch, math.log(4), {})


def inverse(frames: int = 8, streams: int = 64) -> Task:
    """Half of the numbers that say what a vector is, for samples/inference.rnn; trivial is the mean, 0."""
    i, j = np.arange(8)[:, None], np.arange(16)
    A = np.sin(3 * i + 7 * j + 2 * i * j) / 4

    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        truth = chance.normal(size=(streams, 16)).astype(np.float32)
        return {"y": (truth @ A.T + 0.05 * chance.normal(size=(streams, 8))).astype(np.float32), "truth": truth,
                "frames": frames}
    return Task(batch, 1.0, {})


def losses(frames: int = 60, streams: int = 16) -> Task:
    """A sine of which three frames in ten do not arrive; trivial is the mean, 0."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        wave = np.sin(0.25 * np.arange(frames + 1)[:, None] + chance.uniform(0, 2 * np.pi, streams))[..., None]
        arrived = (chance.random((frames, streams)) < 0.7).astype(np.uint8)
        return {"x": np.where(arrived[..., None], wave[:-1], 0).astype(np.float32), "arrived": arrived,
                "following": wave[1:].astype(np.float32)}
    return Task(batch, 0.5, {})


def narma(frames: int = 300, streams: int = 8, **sizes) -> Task:
    """A random input for the system that samples/reservoir.rnn has in its text; trivial is that system's mean."""
    def batch(seed: int) -> dict:
        return {"u": np.stack([narma_10(np.random.default_rng([seed, b]), frames)[0] for b in range(streams)], axis=1)}
    return Task(batch, 0.0154 * (frames - 100) / frames, sizes)


def narma_10(chance, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Input and answer; drawn again where the system runs away."""
    while True:
        u, y = chance.uniform(0, 0.5, frames), np.zeros(frames + 10)
        before = np.concatenate([np.zeros(9), u])
        for t in range(frames):
            y[t + 10] = 0.3 * y[t + 9] + 0.05 * y[t + 9] * y[t:t + 10].sum() + 1.5 * before[t] * u[t] + 0.1
        if np.abs(y).max() < 2:
            return u, y[10:]


def tags(frames: int = 12, streams: int = 32) -> Task:
    """A chain of four tags, each seen through one of twelve words that two tags share; trivial is a guess."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        tag = np.zeros((frames, streams), int)
        tag[0] = chance.integers(0, 4, streams)
        for t in range(1, frames):
            tag[t] = (tag[t - 1] + chance.choice([0, 1, 2], streams, p=[0.2, 0.7, 0.1])) % 4
        seen = (tag + chance.integers(0, 2, tag.shape)) % 4
        return {"word": 3 * seen + chance.integers(0, 3, tag.shape), "tag": tag}
    return Task(batch, frames * math.log(4), {"words": 12, "tags": 4, "hidden": 16})


def gestures(trivial: float, frames: int = 24, streams: int = 32, **sizes) -> Task:
    """Circles to the left or right, slow or fast, seen by three sensors; `trivial` depends on the loss."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        y = chance.integers(0, 4, streams)
        angle = chance.uniform(0, 2 * np.pi, streams) + np.arange(frames)[:, None] * np.array([-0.6, -0.3, 0.3, 0.6])[y]
        x = np.stack([np.cos(angle), np.sin(angle), np.cos(angle + 0.5)], axis=2)
        return {"x": (x + 0.3 * chance.normal(size=x.shape)).astype(np.float32), "y": y}
    return Task(batch, trivial, sizes)


def opposite(frames: int = 5, streams: int = 64) -> Task:
    """Symbols to be said again in the opposite order; trivial is a guess."""
    def batch(seed: int) -> dict:
        x = np.random.default_rng(seed).integers(0, 6, (frames, streams))
        return {"x": x, "y": x[::-1].copy()}
    return Task(batch, math.log(6), {})


def code(frames: int = 20, streams: int = 64) -> Task:
    """Random bits for samples/turbo.rnn; trivial is what the noisy bits say by themselves."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        noise = chance.normal(size=(3, frames, streams)).astype(np.float32)
        return {"bit": chance.integers(0, 2, (frames, streams)), **{f"noise_{i}": n for i, n in enumerate(noise)}}
    alone = np.log1p(np.exp(-2 * (1 + np.random.default_rng(0).normal(size=100_000)))).mean()
    return Task(batch, float(alone), {})


def course(kind: int, frames: int = 60, streams: int = 16) -> Task:
    """A path made of two sines, or a force on an oscillator; trivial is that nothing moves in `ahead` frames."""
    def batch(seed: int) -> dict:
        chance = np.random.default_rng(seed)
        t, phase = np.arange(frames)[:, None], chance.uniform(0, 2 * np.pi, (2, streams))
        slow = np.sin(0.11 * t + phase[0])
        return {"u": (0.8 * np.sin(0.24 * t + phase[0]) if kind else 3 * slow + np.sin(0.31 * t + phase[1]))}

    def place(u: np.ndarray) -> np.ndarray:
        """The oscillator of the sample."""
        x, v, found = 0.0, 0.0, []
        for force in u:
            v = v + 0.2 * (force - 0.3 * v + x - x**3)
            x = x + 0.2 * v
            found.append(x)
        return np.array(found)

    u = batch(0)["u"]
    x = place(u) if kind else u
    return Task(batch, float(((x[5:] - x[1:-4]) ** 2).mean() * (frames - 5) / frames), {"kind": kind})


DAY, AHEAD = 48, 4                             # frames of a day, frames that are foretold


def machines(chance, frames: int, streams: int) -> tuple[np.ndarray, np.ndarray]:
    """Made up, not measured: the load of machines in half hours. Each works by day, less at weekends; work comes
    unforeseen, more when it is busy, and fades by 15 % a frame; 5 % of noise. Also the best forecast of the next
    frames, of who knows all of this but not the future, [frames, streams, AHEAD]."""
    t = chance.integers(0, 7 * DAY, streams) + np.arange(frames + AHEAD)[:, None]
    peak, width = chance.uniform(11, 16, streams), chance.uniform(2, 5, streams)
    away = np.abs((t % DAY * 24 / DAY - peak + 12) % 24 - 12)
    cycle = (0.3 + np.exp(-(away / width) ** 2)) * np.where(t // DAY % 7 < 5, 1, chance.uniform(0.2, 0.7, streams))
    work = np.where(chance.random(t.shape) < 0.02 * cycle, chance.exponential(1, t.shape), 0)
    for i in range(1, len(work)):
        work[i] += 0.85 * work[i - 1]
    level, best, expected = chance.uniform(0.5, 1.5, streams), [], work[:frames]
    for k in range(1, AHEAD + 1):
        expected = 0.85 * expected + 0.02 * cycle[k:frames + k]
        best.append(level * (cycle[k:frames + k] + expected))
    load = level * (cycle + work)[:frames] * (1 + 0.05 * chance.normal(size=(frames, streams)))
    return load.astype(np.float32), np.stack(best, axis=-1)


def next_frames(load: np.ndarray, lag: int = 0) -> np.ndarray:
    """The AHEAD frames that come, or those `lag` earlier: [frames, streams, AHEAD]."""
    return np.stack([np.roll(load, lag - k, 0) for k in range(1, AHEAD + 1)], axis=-1)


def missed(load: np.ndarray, foretold: np.ndarray) -> float:
    """The mean squared error after the first week, of what was foretold in every frame."""
    error = [((np.roll(foretold[..., k - 1], k, 0) - load)[7 * DAY + AHEAD:] ** 2).mean() for k in range(1, AHEAD + 1)]
    return float(np.mean(error))


def naive(load: np.ndarray) -> dict[str, float]:
    """The error of forecasts that need no learning."""
    told = {"last value": np.repeat(load[..., None], AHEAD, -1), "mean": np.full((*load.shape, AHEAD), load.mean()),
            "a day ago": next_frames(load, DAY), "a week ago": next_frames(load, 7 * DAY)}
    return {name: missed(load, foretold) for name, foretold in told.items()}


def workload(frames: int = 14 * DAY, streams: int = 16) -> Task:
    """Two weeks of several machines; trivial is the best of the last value, the mean, and a day and a week ago."""
    def batch(seed: int) -> dict:
        return {"load": machines(np.random.default_rng(seed), frames, streams)[0]}
    return Task(batch, min(naive(batch(20_000)["load"]).values()) * (1 - (7 * DAY + AHEAD) / frames), {})
