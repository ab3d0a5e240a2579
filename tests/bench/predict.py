"""Prediction against measurement: `python -m bench.predict [THREADS]` from tests/.

Each row is a call with packed weights; one thread is timed by its processor time, which other programs do not
lengthen (they still take its caches), more threads by the clock. The machine's constants come from `limits.c`, which
knows none of these shapes.
"""

import os
import statistics
import sys
import time

import numpy as np

import rnnc
from bench.peers.rnnc_peer import PROGRAMS
from rnnc import pipeline
from rnnc.cli.explain import jobs, turns
from rnnc.errors import Source
from rnnc.plan.choose import expected
from rnnc.runtime.trial import FORCED
from rnnc.target.measure import machine as this_machine

# program, inputs, units, layers, frames, streams
SHAPES = (
    ("lstm", 128, 64, 1, 128, 1), ("lstm", 128, 256, 1, 64, 1), ("lstm", 128, 256, 1, 32, 16),
    ("lstm", 128, 512, 1, 32, 1), ("lstm", 128, 512, 1, 16, 16), ("lstm", 64, 160, 2, 32, 8),
    ("gru", 128, 256, 1, 64, 1), ("gru", 128, 256, 1, 32, 16), ("peephole", 128, 192, 1, 32, 4),
    ("tanh", 128, 512, 1, 64, 1), ("tanh", 96, 320, 1, 64, 3),
    ("sru", 256, 256, 1, 128, 1), ("sru", 256, 256, 1, 64, 16), ("indrnn", 128, 512, 2, 128, 1),
    ("both", 64, 64, 1, 128, 1), ("both", 64, 64, 1, 64, 16), ("both", 96, 128, 1, 128, 4),
)
TURNS = 9


def main(threads: int = 1) -> None:
    machine = this_machine(again=True)
    os.environ[FORCED] = "1"                   # the threads asked for, though one might be faster
    clock = time.thread_time if threads == 1 else time.perf_counter
    print(f"{machine.name}, {threads} thread{'s' * (threads > 1)}\n"
          f"| program | in | units | layers | T | B | function | predicted us | measured us | ratio |\n"
          f"|---|---|---|---|---|---|---|---|---|---|")
    ratios = []
    for cell, inputs, units, layers, frames, streams in SHAPES:
        path, sizes = PROGRAMS / f"{cell}.rnn", {"inputs": inputs, "units": units, "layers": layers}
        net = rnnc.compile(path, threads=threads, **sizes)
        planned = pipeline.schedules(Source(str(path), path.read_text()), pipeline.Options(), sizes)
        for name, call in jobs(net, frames, streams).items():
            told = expected(planned[name], frames, streams, threads, machine)
            took = statistics.median(turns(call, clock, TURNS, shortest=0))
            ratios.append(told / took)
            print(f"| {cell} | {inputs} | {units} | {layers} | {frames} | {streams} | {name} | {told * 1e6:.0f} | "
                  f"{took * 1e6:.0f} | {told / took:.2f} |", flush=True)
    off = np.exp(np.abs(np.log(ratios)))
    print(f"\nmedian ratio {np.median(ratios):.2f}; off by a factor of {np.median(off):.2f} in the middle, "
          f"{off.max():.2f} at worst; {np.mean((np.array(ratios) > 0.75) & (np.array(ratios) < 1.25)):.0%} within 25 %")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
