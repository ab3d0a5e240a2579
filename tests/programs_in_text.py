"""Small programs given as text: their graph, arrays for them, and what the interpreter of graphs makes of both."""

import sys

import numpy as np

from rnnc.errors import Source
from rnnc.graph import oracle
from rnnc.graph.check import check
from rnnc.graph.elaborate import load

T, B = 6, 2


def graph_of(text: str, model: str | None = None, **sizes):
    graph = load(Source("test.rnn", text), model, sizes).graph
    check(graph)
    return graph


def values(graph, seed: int = 0) -> dict:
    """Inputs of T frames and B streams."""
    rng, found = np.random.default_rng(seed), {}
    for i in graph.inputs:
        shape = (*([T, B] if i.per == "frame" else [B]), *i.shape)
        match i.kind:
            case "labels":
                found[i.name] = [rng.integers(0, i.classes, 2) for _ in range(B)]
            case "class":
                found[i.name] = rng.integers(0, i.classes, shape)
            case "flag":
                found[i.name] = rng.integers(0, 2, shape).astype(float)
            case _:
                found[i.name] = rng.normal(size=shape)
    return found


def weights(graph, seed: int = 1) -> dict:
    rng = np.random.default_rng(seed)
    return {p.name: rng.normal(size=p.shape) for p in graph.params}


def run(text: str, inputs: dict | None = None, params: dict | None = None, **more):
    """Outputs and losses of a program's text by the oracle, with the inputs and parameters it had."""
    graph = graph_of(text)
    x = {**values(graph), **(inputs or {})}
    w = {**weights(graph), **(params or {})}
    result = oracle.run(graph, x, w, frames=T, streams=B, **more)
    return {**result.outputs, **result.losses}, x, w


def ago(x, k: int, before=0.0):
    """x k frames ago (ahead for a negative k), `before` where there is none."""
    result = np.full_like(x, 0) + before
    if k > 0:
        result[k:] = x[:-k]
    elif k < 0:
        result[:k] = x[-k:]
    else:
        result = x
    return result


def calls(act) -> int:
    """The work of it, counted in calls of functions."""
    found = 0

    def count(frame, event, argument):
        nonlocal found
        found += event in ("call", "c_call")
    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return found
