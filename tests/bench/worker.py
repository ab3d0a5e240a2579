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


def main() -> None:
    peer, threads = sys.argv[1], int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)                              # what a library prints is no answer
    if threads == 1:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})    # before pools of threads are sized
    os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = str(threads)
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    maker = importlib.import_module(f"bench.peers.{MAKERS[peer.split('-')[0]]}")
    job = None
    for line in sys.stdin:
        command, argument = json.loads(line)
        try:
            if command == "make":
                start = time.perf_counter()
                w = WORKLOADS[argument]
                job = maker.make(w, data(w), peer, threads)
                answer = {"check": job.check(), "prepared": time.perf_counter() - start} if job else {"skip": True}
            elif command == "time":
                start = time.process_time()
                answer = timed(job, argument) | {"all_cpu": time.process_time() - start}
            else:
                job, answer = None, {}
                gc.collect()
        except Exception as fault:
            traceback.print_exc()
            answer = {"error": f"{type(fault).__name__}: {fault}"[:300]}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
