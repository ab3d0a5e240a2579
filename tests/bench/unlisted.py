"""Cells that no document names: drawn at random, trained, and compared with what the silicon allows.

    python tests/bench/unlisted.py [--cells 20] [--seed 1] [--threads 1 2] [--show] [--out FOLDER]

Each cell has one or two states, gates of several kinds, delays, sizes of 100 to 500 units and at least one product in
its loop. The bound is the one of workloads.py, taken from the schedule: products outside loops at the measured peak of
multiply-add; a step of a loop at the larger of its operations at that peak and one read of its matrices from the caches
that can hold them; equations, meetings, packing and all other reading free. One thread is timed by its processor time.
"""

import argparse
import json
import math
import random
import statistics
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this folder's profile.py must not hide Python's

import numpy as np  # noqa: E402

from bench import machine  # noqa: E402

TURNS = 9


# ------------------------------------------------------------------------------------------------ the cells

def draw(seed: int) -> tuple[str, int, int]:
    """A program, frames and streams of its calls."""
    chance = random.Random(seed)
    units, inputs = chance.randint(100, 500), chance.randint(50, 500)
    states = ["h", "s"][:chance.choice([1, 2, 2])]
    delay = {s: chance.choice([1, 1, 1, 1, 2, 3, 4]) for s in states}
    lines, gates, params = [], [], []
    old = lambda s: f"{s}[t-{delay[s]}]"

    def param(name: str, *shape: int) -> str:
        params.append(f"    param {name} : [{', '.join(map(str, shape))}]")
        return name

    def term(name: str) -> str:
        """What comes from the past: a full, gated, thin or diagonal product. The first gate's is always full, so
        that every cell has a product in its loop."""
        s = chance.choice(states)
        match chance.choice(["full"] * 5 + ["gated"] * 2 + ["thin", "diagonal"]) if gates else "full":
            case "gated":
                return f"{param(f'U{name}', units, units)} @ ({chance.choice(gates)} * {old(s)})"
            case "thin":
                into, out = param(f"V{name}", units // 4, units), param(f"U{name}", units, units // 4)
                return f"{out} @ ({into} @ {old(s)})"
            case "diagonal":
                return f"{param(f'u{name}', units)} * {old(s)}"
        return f"{param(f'U{name}', units, units)} @ {old(s)}"

    def equation(name: str, kinds: list[str]) -> None:
        total = f"{param(f'W{name}', units, inputs)} @ x + {term(name)} + {param(f'b{name}', units)}"
        if chance.random() < 0.1:
            total = f"layer_norm()({total})"
        lines.append(f"    {name} = {chance.choice(kinds)}({total})")

    for number in range(chance.choice([1, 2, 3, 4])):
        equation(f"g{number}", ["sigmoid", "sigmoid", "tanh"])
        gates.append(f"g{number}")
    equation("c", ["tanh", "tanh", "relu", "softplus"])
    pick = lambda: chance.choice(gates)
    if "s" in states:
        lines.append(f"    s = {pick()} * {old('s')} + (1 - {pick()}) * c")
        lines.append(f"    h = {pick()} * tanh(s)")
    else:
        g = pick()
        lines.append(f"    h = {g} * {old('h')} + (1 - {g}) * c")
    text = "\n".join(["model net {", f"    input x : [{inputs}]", f"    target y : [{units}]", *params, *lines,
                      "    output h", "    loss sum((h - y) ^ 2)", "}", ""])
    streams = chance.choice([1, 1, 4, 16, 16])
    return text, {1: 256, 4: 128, 16: 64}[streams], streams


# ------------------------------------------------------------------------------------------------ bound and time

def bound(made, frames: int, streams: int, limits, threads: int, machine_of_plan) -> float:
    """Least seconds of a call by the schedule's own products."""
    from rnnc.plan.cost import cost
    from rnnc.plan.schedule import Sweep
    peak, near, far = limits.peak[threads], limits.l2[threads], limits.l3[threads]
    told, seconds = cost(made, frames, streams, 1, machine_of_plan), 0.0
    for stage, here in zip(made.stages, told.stages, strict=True):
        if isinstance(stage, Sweep) and here.weights:
            steps = frames / stage.frames
            held = min(here.weights, limits.l2_bytes * threads)
            reading = held / near + (here.weights - held) / far
            seconds += steps * max(here.products / steps / peak, reading)
        else:
            seconds += here.products / peak
    return seconds


def timed(net, frames: int, streams: int, threads: int) -> list[float]:
    """Seconds of a training call in each turn, packing of changed weights included."""
    from rnnc.cli.explain import turns
    draw_numbers = np.random.default_rng(1)
    data = {name: draw_numbers.normal(size=(frames, streams, *signal.shape)).astype(np.float32)
            for name, signal in {**net.inputs, **net.targets}.items()}
    clock = time.process_time if threads == 1 else time.perf_counter

    def call() -> None:
        net.touch()
        net.backprop(**data)
    return turns(call, clock, TURNS, shortest=0.1, patience=math.inf)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--cells", type=int, default=20, metavar="N", help="(20)")
    ask.add_argument("--seed", type=int, default=1, help="of the first cell; the others follow (1)")
    ask.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="(1 2)")
    ask.add_argument("--show", action="store_true", help="the programs, too")
    ask.add_argument("--out", type=Path, help="folder of unlisted.json (none)")
    options = ask.parse_args()

    import rnnc
    from rnnc import pipeline
    from rnnc.errors import Source
    from rnnc.target.measure import machine as this_machine
    plans, record = this_machine(), []
    print("| seed | units | inputs | T | B |" + "".join(f" {n} thr., frames/s | share |" for n in options.threads))
    print("|---|---|---|---|---|" + "---|---|" * len(options.threads))
    limits = machine.limits(options.threads)
    for seed in range(options.seed, options.seed + options.cells):
        text, frames, streams = draw(seed)
        if options.show:
            print(text)
        made = pipeline.schedules(Source("<drawn>", text), pipeline.Options(), {})["backprop"]
        row = {"seed": seed, "program": text, "frames": frames, "streams": streams}
        cells = ""
        for threads in options.threads:
            net = rnnc.compile(text, threads=threads)
            seconds = statistics.median(timed(net, frames, streams, threads))
            share = bound(made, frames, streams, limits, threads, plans) / seconds
            row[f"seconds {threads}"], row[f"share {threads}"] = seconds, share
            cells += f" {frames * streams / seconds:,.0f} | {share:.0%} |"
        record.append(row)
        x, h = net.inputs["x"].shape[0], net.outputs["h"].shape[0]
        print(f"| {seed} | {h} | {x} | {frames} | {streams} |{cells}", flush=True)
    for threads in options.threads:
        worst = min(record, key=lambda row: row[f"share {threads}"])
        print(f"\n{threads} thread{'s' * (threads > 1)}: worst {worst[f'share {threads}']:.0%}, seed {worst['seed']}; "
              f"median {statistics.median(row[f'share {threads}'] for row in record):.0%}")
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        (options.out / "unlisted.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
