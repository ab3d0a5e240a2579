"""What an experiment is, how it is run and timed, and its row in the table.

An experiment is a function of a seed that gives some numbers, with a judge of the numbers of all seeds:

    @experiment(known="at most 0.003", seeds=5, judge=at_most("error", 0.003))
    def adding(seed):
        '''The adding problem: what is learned, by which network, how.'''
        ...
        return {"error": 0.001}
"""

import itertools
import json
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

import rnnc

Found = dict[str, np.ndarray]                    # name -> a number for each seed
EXPERIMENTS: dict[str, "Experiment"] = {}


@dataclass(frozen=True)
class Experiment:
    name: str
    task: str
    known: str
    seeds: int
    once: Callable[[int], dict[str, float]]
    judge: Callable[[Found], tuple[str, bool]]    # what to say of the numbers, and whether they are as known


@dataclass(frozen=True)
class Record:
    """One line of results.json."""

    name: str
    task: str
    known: str
    measured: str
    reproduced: bool
    seeds: int
    seconds: float
    found: dict[str, list[float]]


def experiment(*, known: str, seeds: int, judge):
    """Enters a function of a seed into EXPERIMENTS, by its name; its docstring says the task."""
    def enter(once):
        name = once.__name__.removeprefix("_").replace("_", "-")
        assert name not in EXPERIMENTS and once.__doc__, name
        EXPERIMENTS[name] = Experiment(name, " ".join(once.__doc__.split()), known, seeds, once, judge)
        return once
    return enter


def perform(one: Experiment, seeds: int | None = None) -> Record:
    """Seeds 0, 1, ... one after another."""
    rows, began = [], time.perf_counter()
    for seed in range(seeds or one.seeds):
        start = time.perf_counter()
        rows.append(one.once(seed))
        numbers = ", ".join(f"{k} {v:.5g}" for k, v in rows[-1].items())
        print(f"{one.name} seed {seed}: {numbers} ({time.perf_counter() - start:.0f} s)", file=sys.stderr, flush=True)
    found = {k: [float(row[k]) for row in rows] for k in rows[0]}
    measured, reproduced = one.judge({k: np.array(v) for k, v in found.items()})
    return Record(one.name, one.task, one.known, measured, bool(reproduced), len(rows),
                  round(time.perf_counter() - began, 1), found)


def table(records: Iterable[Record]) -> str:
    """The records as Markdown."""
    rows = ["| task | known | measured | reproduced | seeds | time |", "|---|---|---|---|---|---|"]
    for r in records:
        rows.append(f"| {r.task} | {r.known} | {r.measured} | {'yes' if r.reproduced else '**no**'} | {r.seeds} | "
                    f"{r.seconds:.0f} s |")
    return "\n".join(rows) + "\n"


def kept(folder: Path) -> dict[str, Record]:
    """The records of a folder, by name."""
    path = folder / "results.json"
    rows = json.loads(path.read_text(encoding="utf-8"))["results"] if path.exists() else []
    return {row["name"]: Record(**row) for row in rows}


def keep(folder: Path, records: dict[str, Record], order: Iterable[str]) -> str:
    """Writes results.json and results.md; returns the table."""
    place = {name: i for i, name in enumerate(order)}
    rows = sorted(records.values(), key=lambda r: place.get(r.name, len(place)))
    folder.mkdir(parents=True, exist_ok=True)
    record = {"rnnc": rnnc.__version__, "results": [asdict(r) for r in rows]}
    (folder / "results.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    (folder / "results.md").write_text(table(rows), encoding="utf-8")
    return table(rows)


# -------------------------------------------------------------------------------------------------- training

def compiled(text: str, seed: int, **more):
    """A net on one thread: sequences are short and machines shared."""
    return rnnc.compile(text, seed=seed, threads=1, **more)


def train(net, opt, batches: Iterable[dict]) -> None:
    """An update for each batch."""
    for batch in batches:
        net.backprop(**batch)
        opt.step()


def drawn(batch: Callable[[np.random.Generator], dict], seed: int, updates: int) -> Iterable[dict]:
    """So many batches, each from a generator of its own."""
    return (batch(np.random.default_rng([seed, update])) for update in range(updates))


def halved(rate: float, every: int) -> Callable[[int], float]:
    return lambda step: rate * 0.5 ** (step // every)


def first_time(reached: Iterable[bool]) -> int | None:
    """How many updates it took, or None if it never happened."""
    return next((i + 1 for i in itertools.compress(itertools.count(), reached)), None)


# -------------------------------------------------------------------------------------------------- judges

def at_most(name: str, limit: float, form: str = ".4f"):
    """Every seed."""
    def judge(found: Found) -> tuple[str, bool]:
        good = found[name] <= limit
        return f"{spread(found[name], form)}; {good.sum()} of {len(good)}", good.all()
    return judge


def at_least(name: str, limit: float, form: str = ".1%"):
    """Every seed."""
    def judge(found: Found) -> tuple[str, bool]:
        good = found[name] >= limit
        return f"{spread(found[name], form)}; {good.sum()} of {len(good)}", good.all()
    return judge


def spread(numbers: np.ndarray, form: str) -> str:
    low, high = format(numbers.min(), form), format(numbers.max(), form)
    return low if low == high else f"{format(np.median(numbers), form)} ({low} to {high})"
