"""Where the time of a workload goes in rnnc: stage by stage, kernel by kernel, with operations and share of the peak.

    python tests/bench/profile.py W2-16 [--threads 1] [--calls 20] [--program backprop]
    python tests/bench/profile.py FILE.rnn --streams 16 --frames 64 [-D units=256]
    ... --perf       hot functions and instructions instead, where Linux's perf is installed

The emitted C is compiled with a clock around each of its functions (macros of the same name, defined behind them); of
many calls the fastest is shown, as the first thread sees it: its processor time where it is alone, else wall time.
"meetings" is waiting for the other threads.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this file must not hide Python's own profile

import numpy as np  # noqa: E402

from bench import machine  # noqa: E402
from bench.inputs import data  # noqa: E402
from bench.workloads import WORKLOADS  # noqa: E402

CLOCK = r"""
/* ------------------------------------------------------------------------------------------------ profile.py */
#include <time.h>
#define BENCH_PLACES 4096
#define BENCH_CLOCK {clock}
static _Thread_local double bench_us[BENCH_PLACES], bench_count[BENCH_PLACES], bench_ops[BENCH_PLACES];
static _Thread_local int bench_place;
static double bench_now(void) {
    struct timespec t;
    clock_gettime(BENCH_CLOCK, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}
__attribute__((visibility("default"))) void bench_read(int i, double *three) {
    three[0] = bench_us[i], three[1] = bench_count[i], three[2] = bench_ops[i];
}
__attribute__((visibility("default"))) void bench_clear(void) {
    memset(bench_us, 0, sizeof bench_us);
    memset(bench_count, 0, sizeof bench_count);
    memset(bench_ops, 0, sizeof bench_ops);
}
#define BENCH(i, ...) do {                                              \
        const int bench_outer = bench_place;                            \
        const double bench_start = bench_now();                         \
        bench_place = i;                                                \
        __VA_ARGS__;                                                    \
        bench_us[i] += bench_now() - bench_start, bench_count[i]++;     \
        bench_place = bench_outer;                                      \
    } while (0)
#undef RN_COUNTING
#define RN_COUNTING(text) text
#undef RN_COUNT_PRODUCT
#define RN_COUNT_PRODUCT(stage, rows, columns, inner) \
    (bench_ops[bench_place] += 2.0 * (double)(rows) * (double)(columns) * (double)(inner))
#define rn_meet(...) BENCH(0, rn_meet(__VA_ARGS__))

"""
DECLARED = "\nvoid bench_read(int i, double *three);\nvoid bench_clear(void);\n"
FUNCTION = re.compile(r"((?:/\*(?:(?!\*/).)*?\*/\n)?)static void ((run|evaluate|backprop|vjp)_\d+\w*)"
                      r"\(const rn_call \*c,.*?\n}\n", re.DOTALL)


def with_clocks(text: str, alone: bool) -> tuple[str, list[tuple[str, str, str]]]:
    """The C with clocks, and what they time: name, program, and the comment before the function."""
    begin = text.index("enum { RN_WEIGHTS")
    fixed, made = text[:begin], text[begin:]
    places = [("meetings", "", "")]

    def after(match) -> str:
        title = " ".join(match[1].strip("/* \n").replace("\n *", " ").split())
        places.append((match[2], match[3], title))
        return f"{match[0]}#define {match[2]}(...) BENCH({len(places) - 1}, {match[2]}(__VA_ARGS__))\n"

    clock = CLOCK.replace("{clock}", "CLOCK_THREAD_CPUTIME_ID" if alone else "CLOCK_MONOTONIC")
    return fixed + clock + FUNCTION.sub(after, made), places


def build(path: Path, sizes: dict, gradient: str | None, alone: bool):
    from rnnc import pipeline
    from rnnc.runtime.module import load
    from rnnc.runtime.net import Net
    from rnnc.target.build import build as compile_c
    os.environ["RNNC_FFI"] = "abi"             # only declarations are needed for two more functions
    emitted = pipeline.emit(pipeline.as_source(str(path)), pipeline.Options(gradient=gradient), sizes)
    text, places = with_clocks(emitted.c, alone)
    built = compile_c(text, emitted.cdef + DECLARED, emitted.header, emitted.manifest, whole=True)
    return Net(load(built)), places


def random_inputs(net, frames: int, streams: int) -> dict:
    chance, found = np.random.default_rng(1), {}
    for name, signal in (net.inputs | net.targets).items():
        shape = ((frames, streams) if signal.per == "frame" else (streams,)) + signal.shape
        if signal.kind == "flag":
            found[name] = chance.integers(0, 2, shape).astype(np.uint8)
        elif signal.classes:
            found[name] = chance.integers(0, signal.classes, shape).astype(np.int32)
        else:
            found[name] = chance.standard_normal(shape).astype(np.float32)
    return found


def profile(net, places, call, calls: int, clock) -> tuple[float, list]:
    """Microseconds of the fastest call, and (place, microseconds, times, operations) of it."""
    ffi, lib = net.module.ffi, net.module.lib
    three, best, kept = ffi.new("double[3]"), float("inf"), []
    for _ in range(calls):
        lib.bench_clear()
        start = clock()
        call()
        spent = 1e6 * (clock() - start)
        if spent < best:
            best, kept = spent, []
            for i, place in enumerate(places):
                lib.bench_read(i, three)
                if three[1]:
                    kept.append((place, three[0], three[1], three[2]))
    return best, kept


def table(total: float, rows: list, peak: float) -> None:
    """Stages in order, their kernels below them."""
    stages = {name for (name, _, _), *_ in rows if re.fullmatch(r"[a-z]+_\d+", name)}
    number = lambda name: [int(d) for d in re.findall(r"\d+", name)][:1]
    operations = {}
    for (name, _, _), _, _, ops in rows:
        stage = re.match(r"[a-z]+_\d+|", name)[0]
        operations[stage] = operations.get(stage, 0) + ops
    print(f"{'us':>9} {'share':>6} {'times':>6} {'us each':>9} {'GFLOP/s':>8} {'peak':>5}")
    order = lambda row: (number(row[0][0]), row[0][0] not in stages, -row[1])
    for (name, _, title), spent, times, ops in sorted(rows, key=order):
        if spent < 0.004 * total and name not in stages:
            continue
        work = operations[name] if name in stages else ops
        speed = f"{work / spent * 1e-3:8.1f} {work / spent * 1e6 / peak:5.0%}" if work and spent else " " * 14
        print(f"{spent:9.0f} {spent / total:6.1%} {times:6.0f} {spent / times:9.2f} {speed}"
              f"  {'' if name in stages else '  '}{name}: {title[:90]}")
    inside = sum(spent for (name, _, _), spent, _, _ in rows if name in stages)
    print(f"{total - inside:9.0f} {1 - inside / total:6.1%}{'':40}outside of stages: the call from Python, copies in "
          f"and out, the start of threads, meetings between stages\n{total:9.0f} us a call")


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("work", help=f"{', '.join(i for i in WORKLOADS if not i.startswith('I1'))}; or a program")
    ask.add_argument("--threads", type=int, default=1)
    ask.add_argument("--calls", type=int, default=20, help="of which the fastest is shown (20)")
    ask.add_argument("--streams", type=int, default=1)
    ask.add_argument("--frames", type=int, default=64)
    ask.add_argument("--program", choices=("backprop", "run"), help="(what the workload does)")
    ask.add_argument("-D", dest="sizes", action="append", default=[], metavar="NAME=NUMBER")
    ask.add_argument("--perf", action="store_true", help="sample with perf instead")
    args = ask.parse_args()
    if args.perf:
        return perf([a for a in sys.argv[1:] if a != "--perf"])
    if args.work in WORKLOADS:
        w = WORKLOADS[args.work]
        path, sizes = Path(__file__).parent / "programs" / f"{w.cell}.rnn", {
            "inputs": w.inputs, "units": w.units, "layers": w.layers}
        frames, streams, program = w.frames, w.streams, "backprop" if w.kind == "training" else "run"
    else:
        path, sizes = Path(args.work), {k: int(v) for k, v in (d.split("=") for d in args.sizes)}
        frames, streams, program = args.frames, args.streams, "backprop"
    program = args.program or program
    net, places = build(path, sizes, "parameters" if program == "backprop" else None, args.threads == 1)
    net.threads = args.threads
    inputs = random_inputs(net, frames, streams)
    if args.work in WORKLOADS:
        inputs["x"] = data(w)["x"]
    if program == "run":
        inputs = {name: a for name, a in inputs.items() if name in net.inputs}
    call = lambda: getattr(net, program)(**inputs)
    call()
    packing = min(packed(net) for _ in range(5))
    clock = time.thread_time if args.threads == 1 else time.perf_counter
    total, rows = profile(net, places, call, args.calls, clock)
    limits = machine.limits([args.threads])
    peak = limits.peak[args.threads]
    print(f"{args.work} {program}, T {frames}, B {streams}, {args.threads} threads, peak {peak / 1e9:.0f} GFLOP/s, "
          f"{1e6 * frames * streams / total:,.0f} frames/s; packing the weights takes {packing:.0f} us more\n")
    table(total, [r for r in rows if r[0][1] in ("", program)], peak / args.threads)
    return 0


def packed(net) -> float:
    net.touch()
    start = time.perf_counter()
    net._pack()
    return 1e6 * (time.perf_counter() - start)


def perf(arguments: list[str]) -> int:
    """The same calls without clocks' rows, sampled."""
    record = Path(os.environ.get("TMPDIR", "/tmp"), f"rnnc-perf-{os.getpid()}")
    command = [sys.executable, __file__, *arguments, "--calls", "100"]
    try:
        subprocess.run(["perf", "record", "-q", "-F", "999", "-o", str(record), *command], check=True)
        subprocess.run(["perf", "report", "-i", str(record), "--stdio", "--percent-limit", "0.5"], check=True)
    except FileNotFoundError:
        print("perf is not installed", file=sys.stderr)
        return 1
    finally:
        record.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
