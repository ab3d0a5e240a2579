"""Random well-formed programs, forward and gradient, against the oracle; the same bits for any number of threads.

RNNC_RANDOM=n draws n programs (24), half from a fixed seed and half from a fresh one, which is printed with a table of
what occurred.
"""

import os

import pytest
from compare import compare, continued, cut_equals_whole, judges, net_of, same_bits, set_params
from random_programs import draw

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.graph import memories
from rnnc.graph.blocks import block
from rnnc.graph.loops import loops
from rnnc.plan import waves

pytestmark = pytest.mark.usefixtures("any_threads", "small_ways")
COUNT = int(os.environ.get("RNNC_RANDOM", "24"))
FRESH = int(os.environ["RNNC_SEED"])           # drawn by conftest.py if none was asked for
SEEDS = [*range(COUNT - COUNT // 2), *range(FRESH, FRESH + COUNT // 2)]
TITLE = f"random programs: {COUNT}, fresh seed {FRESH} (RNNC_SEED={FRESH} repeats it)"


@pytest.mark.parametrize("seed", SEEDS)
def test_program(seed, monkeypatch, occurred):
    program = draw(seed)
    graph = pipeline.elaborated(Source("random.rnn", program.text), None, program.sizes)
    dtype = "float64" if seed % 3 == 0 else "float32"
    monkeypatch.setattr(waves, "ROWS", [512, 1, 8][seed % 3])    # chunks of one frame and of a few, too
    monkeypatch.setattr(waves, "FEW", [64, 3, 6][seed % 3])
    monkeypatch.setattr(waves, "FINE", [8, 3, 3][seed % 3])
    monkeypatch.setattr(memories, "LEAST", 1)                   # no matrix is too small to be asked in chunks
    weights = ["float32", "bfloat16", "int8"][seed % 3]
    outcome = compare(graph, dtype, seed, weights=weights)
    net, data = outcome["net"], outcome["data"]
    planned = {node.op for g in judges(graph, "int8" if weights == "int8" else "bfloat16").values() for node in g.nodes}
    plain = net_of(graph, dtype, weights="float32") if "int8" in planned else None
    if plain:
        set_params(plain, data)
    same_bits(net, data, like=plain)
    if net.manifest["lookahead"] is None:
        cut_equals_whole(net, graph, data, dtype, data.frames // 2 or 1, outcome["answers"]["run"])
    continued(net, graph, dtype, seed)
    occurred(TITLE, [*program.features.elements(), dtype, f"{outcome['attempts']} attempts", *sizes_of_blocks(graph),
                     *places_of_starts(data.starts), *[f"stored as {weights}"] * (weights in planned),
                     *["asked in chunks"] * ("attend" in planned)])


def sizes_of_blocks(graph) -> list[str]:
    """Of every loop, how many frames of it go at once."""
    simple = pipeline.forward(graph)
    frames = [block(simple, loop).frames for loop in loops(simple)]
    return [f"loop, D = {'any' if n is None else n}" for n in frames]


def places_of_starts(starts) -> list[str]:
    """Where in a call its sequences begin."""
    if starts is None:
        return ["no starts"]
    first, last, row = starts[0].any(), starts[-1].any(), (starts[1:] & starts[:-1]).any()
    inside = len(starts) > 2 and starts[1:-1].any()
    found = {"at the first frame": first, "inside": inside, "at the last frame": last, "on frames in a row": row}
    return ["starts", *(f"starts {place}" for place, there in found.items() if there)]
