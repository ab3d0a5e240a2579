"""One peer in a process of its own: reads commands from its input, a line of JSON each, and answers on its output.

    python -m bench.worker PEER THREADS

make WORKLOAD   prepares a call, runs it and says what to compare: the loss and sums of two gradients, or an error
time SECONDS    runs the call again and again for so long, after one that does not count; the median of its seconds
drop            forgets it
"""

import gc
import importlib
import json
import os
import statistics
import sys
import time
import traceback

from bench.inputs import data
from bench.workloads import WORKLOADS

MAKERS = {"rnnc": "rnnc_peer", "torch": "torch_peer", "jax": "jax_peer", "ort": "onnx_peer", "openvino": "onnx_peer"}


def timed(job, least: float) -> dict:
    """One turn. A job that times itself, in C, says microseconds instead."""
    if hasattr(job, "turn"):
        return job.turn(least)
    job.step()
    start, cpu, seconds = time.perf_counter(), time.process_time(), []
    while not seconds or time.perf_counter() - start < least:
        begin = time.perf_counter()
        job.step()
        seconds.append(time.perf_counter() - begin)
    wall = time.perf_counter() - start
    return {"seconds": statistics.median(seconds), "calls": len(seconds), "wall": wall,
            "cpu": time.process_time() - cpu}


def spoken():
    """Where answers go; what a library prints is none."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return answers


def serve(answers, commands: dict) -> None:
    """`commands`: functions of their argument, which answer with a dictionary."""
    for line in sys.stdin:
        command, argument = json.loads(line)
        try:
            answer = commands[command](argument)
        except Exception as fault:
            traceback.print_exc()
            answer = {"error": f"{type(fault).__name__}: {fault}"[:300].replace("\n", " ")}
        print(json.dumps(answer), file=answers, flush=True)


def counted(job, least: float) -> dict:
    """A turn, and the processor time of all of it."""
    start = time.process_time()
    return timed(job, least) | {"all_cpu": time.process_time() - start}


def main() -> None:
    peer, threads = sys.argv[1], int(sys.argv[2])
    answers, held = spoken(), {}
    if threads == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})    # before pools of threads are sized
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    maker = importlib.import_module(f"bench.peers.{MAKERS[peer.split('-')[0]]}")

    def make(name: str) -> dict:
        start, w = time.perf_counter(), WORKLOADS[name]
        job = held["job"] = maker.make(w, data(w), peer, threads)
        return {"check": job.check(), "prepared": time.perf_counter() - start} if job else {"skip": True}

    def drop(_) -> dict:
        held.clear()
        gc.collect()
        return {}
    serve(answers, {"make": make, "time": lambda least: counted(held["job"], least), "drop": drop})


if __name__ == "__main__":
    main()
