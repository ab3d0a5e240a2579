"""`rnnc explain` and `rnnc bench`: what the plan is and should cost, and what it does cost here."""

import argparse
import json
import statistics
import time

from rnnc.cli.console import note, patience
from rnnc.cli.numbers import add_numbers, numbers
from rnnc.cli.sources import add_program, find

TURNS, SHORTEST = 7, 0.05                      # turns of a median; seconds that one lasts at least
WARM, PATIENCE = 20, 0.5                       # calls beforehand, and seconds after which they are enough


def add(commands) -> None:
    command = commands.add_parser("explain", help="which loop runs how and why, with predicted times")
    add_program(command)
    add_call(command, positive, 16, None)
    command.set_defaults(run=explain)

    command = commands.add_parser("bench", help="frames a second, and the share of the machine's limits")
    add_program(command)
    add_call(command, several, [1, 16], None)
    command.add_argument("--json", action="store_true", help="for machines")
    command.set_defaults(run=bench)


def add_call(command, number, streams, threads) -> None:
    more = "" if number is positive else ", or several: 1,16"
    command.add_argument("--streams", type=number, default=streams, metavar="B", help=f"sequences side by side{more}")
    command.add_argument("--frames", type=positive, default=64, metavar="T", help="frames of a call (default: 64)")
    command.add_argument("--threads", type=number, default=threads, metavar="N",
                         help=f"default: every core that this process may use{more}")
    add_numbers(command)
    command.add_argument("--inference", action="store_true", help="without gradients")


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def several(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def wanted(options):
    from rnnc import pipeline
    return pipeline.Options(**numbers(options), gradient=None if options.inference else "parameters")


def explain(options) -> int:
    from rnnc import pipeline
    from rnnc.runtime.trial import cores
    program = find(options.file)
    with patience(f"planning {program.stem}", options.progress):
        text = pipeline.explained(program.source, options.frames, options.streams, options.threads or cores(),
                                  wanted(options), dict(options.sizes), options.model)
    print(text.rstrip("\n"))
    return 0


# ------------------------------------------------------------------------------------------------ bench

def bench(options) -> int:
    from rnnc import pipeline
    from rnnc.plan.choose import expected
    from rnnc.plan.cost import cost
    from rnnc.target.measure import machine as this_machine
    program, chosen, sizes = find(options.file), wanted(options), dict(options.sizes)
    with patience(f"compiling {program.stem}", options.progress):
        planned = pipeline.schedules(program.source, chosen, sizes, options.model)     # faults are told by its own name
        net = pipeline.compile_net(program.given, options.model, chosen, sizes)
        machine = this_machine()
    rows = []
    for threads in timed(options.threads):
        net.threads = threads
        for streams in options.streams:
            calls = jobs(net, options.frames, streams)
            for name, call in calls.items():
                with patience(f"{name}, {streams} streams, {threads} threads", options.progress):
                    seconds = statistics.median(turns(call))
                shape = planned[name], options.frames, streams, threads, machine, net.dtype.itemsize
                rows.append(row(name, options.frames, streams, threads, seconds, cost(*shape).total("products"),
                                expected(*shape), machine, net.dtype.itemsize))
    if options.json:
        print(json.dumps({"program": program.stem, "machine": machine.name, "dtype": chosen.dtype,
                          "weights": chosen.weights, "rows": rows}, indent=2))
    else:
        stored = {"bfloat16": ", bfloat16 in loops", "int8": ", quantised matrices as int8"}.get(chosen.weights, "")
        print(f"{program.stem}, {options.frames} frames a call, {chosen.dtype}{stored}; {machine.name}")
        print("\n".join(lines(rows)))
    return 0


def timed(threads: list[int] | None) -> list[int]:
    """How many threads are timed, in the order asked for."""
    from rnnc.runtime.trial import capped, cores
    given = {number: capped(number, silent=True) for number in threads or [cores()]}
    for number, most in given.items():
        if number > most:
            note(f"{number} threads asked for; this process may use {most}, and gets as many")
    return list(dict.fromkeys(given.values()))


def jobs(net, frames: int, streams: int) -> dict:
    """One call of each function, on random inputs."""
    import numpy as np
    numbers = np.random.default_rng(1)
    given = {name: values(signal, frames, streams, net.dtype, numbers) for name, signal in net.inputs.items()}
    sought = {name: values(signal, frames, streams, net.dtype, numbers) for name, signal in net.targets.items()}
    fresh, made = net.state(streams=streams), {}
    # Where no array tells how long a call is, `frames` does.
    asked = lambda *signals: {} if any(s.per == "frame" for group in signals for s in group.values()) \
        else {"frames": frames}
    made["run"] = lambda: net.run(**given, **(asked(net.inputs) if net.outputs else {}), state=fresh)
    if "backprop" in net.manifest["functions"]:
        made["backprop"] = lambda: net.backprop(**given, **sought, **asked(net.inputs, net.targets), state=fresh)
    return made


def values(signal, frames: int, streams: int, dtype, numbers):
    if signal.kind == "labels":                                 # lists that any way of spelling has room for
        return [numbers.integers(0, signal.classes, frames // 2).astype("int32") for _ in range(streams)]
    shape = (streams, *signal.shape) if signal.per == "sequence" else (frames, streams, *signal.shape)
    if signal.kind == "class":
        return numbers.integers(0, signal.classes, shape).astype("int32")
    if signal.kind == "flag":
        return numbers.integers(0, 2, shape).astype("uint8")
    return numbers.standard_normal(shape).astype(dtype)


def turns(call, clock=time.perf_counter, count: int = TURNS, shortest: float = SHORTEST,
          patience: float = PATIENCE) -> list[float]:
    """Seconds of one call in each turn, a turn being several calls if they are short."""
    begun = clock()
    for _ in range(WARM):                      # ways of running it are tried first
        start = clock()
        call()
        if start - begun > patience:
            break
    times = max(1, int(shortest / max(1e-9, clock() - start)))
    taken = []
    for _ in range(count):
        start = clock()
        for _ in range(times):
            call()
        taken.append((clock() - start) / times)
    return taken


def row(name, frames, streams, threads, seconds, products, told, machine, number) -> dict:
    return {"function": name, "frames": frames, "streams": streams, "threads": threads, "seconds": seconds,
            "frames_per_second": frames * streams / seconds, "flops_per_second": products / seconds,
            "share_of_product_peak": products / seconds / (machine.peak * 4 / number * threads),
            "share_of_prediction": told / seconds, "predicted_seconds": told}


def lines(rows: list[dict]) -> list[str]:
    made = [f"{'function':10}{'streams':>8}{'threads':>8}{'frames/s':>12}{'GFLOP/s':>9}{'of peak':>9}{'predicted':>11}"]
    for r in rows:
        made.append(f"{r['function']:10}{r['streams']:8}{r['threads']:8}{r['frames_per_second']:12,.0f}"
                    f"{r['flops_per_second'] / 1e9:9.1f}{100 * r['share_of_product_peak']:8.0f}%"
                    f"{r['frames'] * r['streams'] / r['predicted_seconds']:11,.0f}")
    return made
