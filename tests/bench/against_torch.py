"""The main job in rnnc and in PyTorch, from the same weights over the same data with the same optimiser: the same
numbers? the same learning? which speed?

    python tests/bench/against_torch.py [--epochs 10] [--seeds 1 2 3] [--seconds 120] [--rounds 7] [--only speed]

samples/charlm.rnn (2 x LSTM 256) on the text that `rnnc train charlm` learns, cut and learned as there (Adam, clipped,
rate falling by a cosine). PyTorch runs nn.Embedding, nn.LSTM and nn.Linear, its oneDNN kernels at its defaults; its
second bias of each gate is frozen at 0.
1. update 0: the largest difference of each gradient, relative to its largest entry   (at most 1e-5)
2. the losses of the first 200 updates, relative difference                           (at most 1e-3)
   at Adam's usual rate; for the record at the job's own, three times that, where rounding alone grows a hundredfold
   every fifty updates, as float64 then shows: there both agree to many more digits
3. held-out bits per character after equal updates; and, from the start again, after equal time, where the cosine runs
   over the time instead
4. frames/s of whole updates (gradients, clipping, Adam), both interleaved, 1 and 2 threads, 1, 16 and 64 streams
Exits with 1 if 1. or 2. is missed.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this folder's profile.py must not hide Python's

import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch.nn.functional import cross_entropy  # noqa: E402

import rnnc  # noqa: E402
from bench.twins import Twin, gap  # noqa: E402
from rnnc.cli.corpus import documentation  # noqa: E402
from rnnc.cli.train import DEFAULTS, LAST  # noqa: E402

STREAMS, FRAMES, RATE, CLIP, EPSILON = 32, DEFAULTS["frames"], DEFAULTS["lr"], DEFAULTS["clip_norm"], 1e-8
USUAL = 1e-3                                   # the rate that PyTorch's Adam and ours have if none is given
PARTS = ("gradients", "losses", "updates", "time", "speed")
PROGRAM = Path(__file__).parents[2] / "samples" / "charlm.rnn"


class Mine:
    """The job in rnnc."""

    name = "rnnc"

    def __init__(self, vocabulary: int, threads: int, dtype: str = "float32", seed: int = 1):
        self.net = rnnc.compile(PROGRAM, vocab=vocabulary, threads=threads, seed=seed, dtype=dtype)
        self.optimiser = rnnc.Adam(self.net, learning_rate=RATE, eps=EPSILON, clip_norm=CLIP)
        self.state = None

    def rate(self, value: float) -> None:
        self.optimiser.learning_rate = value

    def threads(self, count: int) -> None:
        self.net.threads = count

    def fresh(self, streams: int) -> None:
        self.state = self.net.state(streams=streams)

    def backprop(self, x, y) -> float:
        return self.net.backprop(x=x, y=y, state=self.state)

    def update(self, x, y) -> float:
        loss = self.backprop(x, y)
        self.optimiser.step()
        return loss

    def bits(self, held) -> float:
        window = held.window(0, held.length)
        return self.net.evaluate(state=self.net.state(held.streams), **window)["loss"] / math.log(2)


class Theirs:
    """The job in PyTorch, from the weights of `net`."""

    name = "PyTorch"

    def __init__(self, net):
        vocabulary, hidden = net.parameters["logits.W"].shape
        self.embedding, self.lstm = torch.nn.Embedding(vocabulary, hidden), torch.nn.LSTM(hidden, hidden, 2)
        self.dense = torch.nn.Linear(hidden, vocabulary)
        for layer in (self.embedding, self.lstm, self.dense):
            layer.to(getattr(torch, net.dtype.name))
        self.twin = Twin(self.lstm, ["h.0", "h.1"])
        self.twin.take(net.parameters)
        with torch.no_grad():
            self.embedding.weight.copy_(torch.from_numpy(np.array(net.parameters["e.W"])).T)
            self.dense.weight.copy_(torch.from_numpy(np.array(net.parameters["logits.W"])))
            self.dense.bias.copy_(torch.from_numpy(np.array(net.parameters["logits.b"])))
        layers = (self.embedding, self.lstm, self.dense)
        self.learned = [p for layer in layers for p in layer.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.learned, lr=RATE, eps=EPSILON, fused=True)
        self.state = None

    def rate(self, value: float) -> None:
        self.optimiser.param_groups[0]["lr"] = value

    def threads(self, count: int) -> None:
        torch.set_num_threads(count)

    def fresh(self, streams: int) -> None:
        self.state = None

    def loss(self, x, y, state):
        h, state = self.lstm(self.embedding(torch.from_numpy(x)), state)
        return cross_entropy(self.dense(h).flatten(0, 1), torch.from_numpy(y).long().flatten()), state

    def backprop(self, x, y) -> float:
        self.optimiser.zero_grad()
        loss, state = self.loss(x, y, self.state)
        self.state = tuple(s.detach() for s in state)
        loss.backward()
        return loss.item()

    def update(self, x, y) -> float:
        loss = self.backprop(x, y)
        torch.nn.utils.clip_grad_norm_(self.learned, CLIP)
        self.optimiser.step()
        return loss

    def gradients(self) -> dict:
        return self.twin.gradients() | {"e.W": self.embedding.weight.grad.T, "logits.W": self.dense.weight.grad,
                                        "logits.b": self.dense.bias.grad}

    def bits(self, held) -> float:
        with torch.no_grad():
            window = held.window(0, held.length)
            return self.loss(window["x"], window["y"], None)[0].item() / math.log(2)


def windows(data):
    """Update after update, epoch after epoch: whether a new epoch starts, and the arguments."""
    while True:
        for index in range(len(data)):
            yield index == 0, data.batch(0, index)


def falling(done: float) -> float:
    """The rate of `rnnc train` by the share of the job that is done."""
    return RATE * (LAST + (1 - LAST) * (1 + math.cos(math.pi * min(1, done))) / 2)


def one_update(job, begins: bool, batch, streams: int, rate: float) -> float:
    if begins:
        job.fresh(streams)
    job.rate(rate)
    return job.update(**batch)


def gradients(mine: Mine, theirs: Theirs, data) -> float:
    first = data.batch(0, 0)
    mine.fresh(data.streams), theirs.fresh(data.streams)
    mine.backprop(**first), theirs.backprop(**first)
    found = {name: gap(mine.net.gradients[name], value.detach() if isinstance(value, torch.Tensor) else value)
             for name, value in theirs.gradients().items()}
    missing = set(mine.net.parameters) - set(found)
    assert not missing, missing
    print("\n1. Gradients of update 0: largest difference relative to the tensor's largest entry")
    for name, value in sorted(found.items(), key=lambda item: -item[1]):
        print(f"   {name:10} {value:.1e}")
    print(f"   worst {max(found.values()):.1e} (at most 1e-5)")
    return max(found.values())


def losses(jobs, data, updates: int, rate) -> float:
    """The largest relative difference between the losses of both."""
    worst = 0.0
    for index, (begins, batch) in zip(range(updates), windows(data)):
        a, b = (one_update(job, begins, batch, data.streams, rate(index)) for job in jobs)
        worst = max(worst, abs(a - b) / abs(b))
    return worst


def same_losses(make, data, updates: int = 200) -> float:
    print(f"\n2. Losses of the first {updates} updates: largest relative difference", flush=True)
    own = lambda index: falling(index / (DEFAULTS["epochs"] * len(data)))
    found = losses(make("float32"), data, updates, lambda index: USUAL)
    print(f"   float32, rate {USUAL}: {found:.1e} (at most 1e-3)", flush=True)
    print(f"   float32, rate {RATE} as in the job: {losses(make('float32'), data, updates, own):.1e}", flush=True)
    print(f"   float64, rate {RATE}, {updates // 2} updates: {losses(make('float64'), data, updates // 2, own):.1e}",
          flush=True)
    return found


def same_updates(make, data, epochs: int, seeds: list[int]) -> None:
    """Both side by side over the same windows, once for each seed of the first weights."""
    ends = np.array([learn_both(make(seed=seed), data, epochs, seed) for seed in seeds])
    worse = ends[:, 0] - ends[:, 1]
    if len(seeds) > 1:
        mean, doubt = worse.mean(), worse.std(ddof=1) / math.sqrt(len(seeds))
        print(f"   {len(seeds)} seeds: means {ends[:, 0].mean():.4f} and {ends[:, 1].mean():.4f}, "
              f"rnnc worse by {mean:+.4f} (standard error {doubt:.4f}; at most 0.01)", flush=True)


def learn_both(jobs, data, epochs: int, seed: int) -> list[float]:
    """The bits per character of each after all epochs."""
    spent, total = [0.0, 0.0], epochs * len(data)
    print(f"\n3. Held-out bits per character, {data.held.total:,} characters, and seconds of training; seed {seed}",
          flush=True)
    for index, (begins, batch) in zip(range(total), windows(data)):
        for turn, job in enumerate(jobs):
            start = time.perf_counter()
            one_update(job, begins, batch, data.streams, falling(index / total))
            spent[turn] += time.perf_counter() - start
        if (index + 1) % len(data) == 0:
            print(f"   after {index + 1:5} updates: " + ", ".join(
                f"{job.name} {job.bits(data.held):.4f} ({used:.0f} s)" for job, used in zip(jobs, spent)), flush=True)
    return [job.bits(data.held) for job in jobs]


def same_time(jobs, data, seconds: float) -> None:
    """Each learns for `seconds`, in turns of a quarter of a second, so that a busy machine slows both."""
    turns = [(job, windows(data), [0.0], [0]) for job in jobs]
    while any(used[0] < seconds for _, _, used, _ in turns):
        for job, steps, used, count in turns:
            start = time.perf_counter()
            while (now := time.perf_counter() - start) < 0.25 and used[0] + now < seconds:
                begins, batch = next(steps)
                one_update(job, begins, batch, data.streams, falling((used[0] + now) / seconds))
                count[0] += 1
            used[0] += time.perf_counter() - start
    print(f"\n   after {seconds:.0f} s each, from the start: " + ", ".join(
        f"{job.name} {job.bits(data.held):.4f} ({count[0]} updates)" for job, _, _, count in turns), flush=True)


def speed(jobs, corpus, rounds: int, counts, frames: int = 128) -> None:
    print(f"\n4. Frames/s of whole updates, {frames} frames each; median of {rounds} turns, taken one after the other")
    print("   | threads | streams | " + " | ".join(job.name for job in jobs) + " | ratio |\n   |---|---|---|---|---|")
    for threads in counts:
        for streams in (1, 16, 64):
            batch = rnnc.data.text(corpus.text, streams, frames).batch(0, 0)
            turns = {job.name: [] for job in jobs}
            for job in jobs:
                job.threads(threads), job.fresh(streams), job.update(**batch)
            for _ in range(rounds):
                for job in jobs:
                    job.fresh(streams), job.update(**batch)           # woken, caches its own again
                    turns[job.name].append(per_second(job, batch, frames * streams))
            a, b = (statistics.median(turns[job.name]) for job in jobs)
            print(f"   | {threads} | {streams} | {a:,.0f} | {b:,.0f} | {a / b:.2f} |", flush=True)


def per_second(job, batch, frames: int, least: float = 0.15) -> float:
    start, count = time.perf_counter(), 0
    while not count or time.perf_counter() - start < least:
        job.update(**batch)
        count += 1
    return frames * count / (time.perf_counter() - start)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--epochs", type=int, default=DEFAULTS["epochs"], help=f"({DEFAULTS['epochs']})")
    ask.add_argument("--seeds", type=int, nargs="+", default=[1], help="of the first weights, at equal updates (1)")
    ask.add_argument("--seconds", type=float, default=120, help="each, in the comparison at equal time (120)")
    ask.add_argument("--rounds", type=int, default=7, help="turns of each in the comparison of speed (7)")
    ask.add_argument("--threads", type=int, default=2, help="while learning (2)")
    ask.add_argument("--counts", type=int, nargs="+", default=(1, 2), help="of threads, comparing speed (1 2)")
    ask.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="(all)")
    args = ask.parse_args()
    torch.set_num_threads(args.threads)
    corpus = documentation()
    print(f"{corpus.summary()}\nPyTorch {torch.__version__}, rnnc {rnnc.__version__}, Adam {RATE} eps {EPSILON} "
          f"clip {CLIP}, {STREAMS} streams of {FRAMES} frames", flush=True)
    data = rnnc.data.text(corpus.text, STREAMS, FRAMES, held_out=DEFAULTS["held_out"])
    make = lambda dtype="float32", seed=1: (mine := Mine(len(corpus.vocabulary), args.threads, dtype, seed),
                                            Theirs(mine.net))
    passed = "gradients" not in args.only or gradients(*make(), data) <= 1e-5
    if "losses" in args.only:
        passed &= same_losses(make, data) <= 1e-3
    if "updates" in args.only:
        same_updates(make, data, args.epochs, args.seeds)
    if "time" in args.only:
        same_time(make(), data, args.seconds)
    if "speed" in args.only:
        speed(make(), corpus, args.rounds, args.counts)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
