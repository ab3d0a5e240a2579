"""One side of any_program.py in a process of its own: reads commands from its input, a line of JSON each.

    python -m bench.peers.any_side rnnc|jax THREADS

make CASE            prepares a program: rnnc draws inputs and parameters and leaves them, and what it made of them, in
                     CASE["place"]; JAX tries its forms on them, compares, and keeps the fastest
time [WHAT, SECONDS] trains or runs for so long; as worker.py
"""

import gc
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.peers import Job
from bench.worker import counted, serve, spoken, timed

TOLERANCE = 2e-3                               # of the largest number of an array
UNROLLED = 150                                 # nodes in loops; compiling eight times as many would take minutes


def drawn(graph, frames: int, streams: int) -> dict:
    """Inputs and targets of a call."""
    chance, found = np.random.default_rng(7), {}
    for i in graph.inputs:
        lead = (frames, streams) if i.per == "frame" else (streams,)
        if i.kind == "labels":
            found[i.name] = [chance.integers(0, i.classes, max(1, frames // 8)) for _ in range(streams)]
        elif i.kind == "class":
            found[i.name] = chance.integers(0, i.classes, lead).astype(np.int32)
        elif i.kind == "flag":
            found[i.name] = (chance.random(lead) < 0.2).astype(np.float32)
        else:
            found[i.name] = chance.uniform(0, 0.5, (*lead, *i.shape)).astype(np.float32)
    return found


def graph_of(case: dict):
    from rnnc import pipeline
    return pipeline.elaborated(pipeline.as_source(case["source"]), sizes=case["sizes"])


def rnnc_jobs(case: dict, threads: int) -> tuple[dict, dict]:
    import rnnc
    graph = graph_of(case)
    data = drawn(graph, case["frames"], case["streams"])
    chosen = 1 if threads == 1 else None       # as JAX, which leaves small work to one of its threads
    net = rnnc.compile(case["source"], threads=chosen, sizes=case["sizes"])
    targets = {i.name for i in graph.inputs if i.target}
    if not any(i.per == "frame" for i in graph.inputs):            # nothing else says how many frames and streams
        data["starts"] = np.arange(case["frames"])[:, None] + np.zeros(case["streams"]) == 0
    inputs = {name: value for name, value in data.items() if name not in targets}
    arrays = {f"parameter {name}": np.array(value) for name, value in net.parameters.items()}
    arrays |= {f"input {name}": value for name, value in data.items() if isinstance(value, np.ndarray)}
    skipped, jobs = {}, {}
    if graph.losses:
        arrays["loss"] = np.float64(net.backprop(**data))
        arrays |= {f"gradient {p.name}": np.array(net.gradients[p.name]) for p in graph.params if p.trainable}

        def train():
            net.touch()
            net.backprop(**data)
        jobs["train"] = Job(train)
    else:
        skipped["train"] = "no loss"
    if graph.outputs:
        arrays |= {f"output {name}": value for name, value in net.run(**inputs).items()}
        jobs["run"] = Job(lambda: net.run(**inputs))
    else:
        skipped["run"] = "no output"
    np.savez(Path(case["place"], "case.npz"), **arrays)
    return jobs, {"skipped": skipped}


def difference(mine, theirs) -> float:
    """The largest, as a share of the largest number."""
    mine, theirs = np.asarray(mine, np.float64), np.asarray(theirs, np.float64)
    if not np.isfinite(theirs).all():
        return 0.0 if np.array_equal(mine, theirs, equal_nan=True) else np.inf
    return float(np.abs(mine - theirs).max(initial=0) / max(np.abs(theirs).max(initial=0), 1e-6))


def jax_jobs(case: dict, threads: int, forms: list | None = None) -> tuple[dict, dict]:
    """`forms`: these instead of those that seem worth a try."""
    import jax
    import jax.numpy as jnp

    from bench.peers.jax_graph import Form, Translation
    from bench.peers.jax_ops import Untranslated
    from rnnc import pipeline
    arrays = np.load(Path(case["place"], "case.npz"))
    graph = pipeline.forward(graph_of(case))
    plain = pipeline.programs(graph, None)["run"]
    part = lambda kind: {name.removeprefix(f"{kind} "): arrays[name] for name in arrays.files
                         if name.startswith(f"{kind} ")}
    frames, streams = case["frames"], case["streams"]
    inputs = {name: jnp.asarray(v) for name, v in part("input").items()}
    learnt = {p.name for p in graph.params if p.trainable}
    told: dict = {"skipped": {}, "form": {}, "difference": {}, "tried": {}}

    def train(form):
        translation = Translation(graph, form)
        held = {name: translation.stored(name, v) for name, v in part("parameter").items()}
        frozen = {name: v for name, v in held.items() if name not in learnt}
        held = {name: v for name, v in held.items() if name in learnt}
        loss = lambda held, frozen, inputs: translation.loss(held | frozen, inputs, frames, streams)
        compute = jax.jit(jax.value_and_grad(loss))
        value, found = compute(held, frozen, inputs)
        largest = max((float(np.abs(v).max(initial=0)) for v in part("gradient").values()), default=0)
        apart = [difference(value, arrays["loss"])]
        for name, wanted in part("gradient").items():
            gap = np.abs(np.float64(translation.plain(name, found[name])) - wanted).max(initial=0)
            apart.append(float(gap / max(np.abs(wanted).max(initial=0), 1e-3 * largest, 1e-12)))
        return lambda: jax.block_until_ready(compute(held, frozen, inputs)), max(apart)

    def run(form):
        translation = Translation(plain, form)
        held = {name: translation.stored(name, v) for name, v in part("parameter").items()}
        compute = jax.jit(lambda held, inputs: translation.outputs(held, inputs, frames, streams))
        found = compute(held, inputs)
        apart = max(difference(found[name], wanted) for name, wanted in part("output").items())
        return lambda: jax.block_until_ready(compute(held, inputs)), apart

    jobs: dict = {}

    def fastest(what: str, make, first: list) -> None:
        """The plain forms, then the best of them with several steps in a turn of the scan, or without a scan."""
        took: dict = {}
        said = Translation(graph, Form())
        turns = 0 < len(said.loops.loop) <= UNROLLED and not case["quick"]
        more = [] if forms else [{"unroll": 8}] * turns + [{"associative": True}] * said.linear
        for form in [*first, *more]:
            if isinstance(form, dict):
                form = replace(min(took, key=lambda form: took[form][0]), **form)
            step, apart = make(form)
            told["difference"][f"{what} {form}"] = apart
            if not apart <= TOLERANCE:
                raise Untranslated(f"differs by {apart:.1g} ({form})")
            took[form] = timed(Job(step), 0.02)["seconds"], step
            told["tried"][f"{what} {form}"] = took[form][0]
        best = min(took, key=lambda form: took[form][0])
        jobs[what], told["form"][what] = Job(took[best][1]), str(best)

    for what, make, asked in (("train", train, graph.losses), ("run", run, graph.outputs)):
        if asked:
            try:
                hoists = what == "train" and Translation(graph, Form()).hoists
                turned = [False] if case["quick"] else [False, True]
                fastest(what, make, forms or [Form(h, t) for h in (False, True)[:1 + hoists] for t in turned])
            except Untranslated as fault:
                told["skipped"][what] = str(fault)
    return jobs, told


def main() -> None:
    side, threads = sys.argv[1], int(sys.argv[2])
    answers, jobs = spoken(), {}
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))    # before pools of threads are sized
    os.environ["OMP_NUM_THREADS"] = str(threads)
    jobs_of = {"rnnc": rnnc_jobs, "jax": jax_jobs}[side]

    def make(case: dict) -> dict:
        jobs.clear()
        gc.collect()
        made, answer = jobs_of(case, threads)
        jobs.update(made)
        return answer
    serve(answers, {"make": make, "time": lambda asked: counted(jobs[asked[0]], asked[1])})


if __name__ == "__main__":
    main()
