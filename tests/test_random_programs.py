"""The generator of random programs: the same seed gives the same program, and what it calls well-formed is."""

import random
import re

import pytest
from random_programs import draw, spoil

from rnnc import pipeline
from rnnc.errors import CompileError, Source
from rnnc.graph import chunkwise as chunks
from rnnc.graph import memories
from rnnc.graph.blocks import block
from rnnc.graph.elaborate import load
from rnnc.graph.elaborate.bodies import INITIALISERS
from rnnc.graph.elaborate.builtins import TABLE
from rnnc.graph.elaborate.library import standard_names
from rnnc.graph.kinds import kind
from rnnc.graph.loops import loops
from rnnc.graph.ops import OPS
from rnnc.plan.regroup import compact
from rnnc.plan.storage import shorten


def test_a_seed_gives_one_program():
    assert draw(5) == draw(5)
    assert draw(5).text != draw(6).text


def graph_of(program):
    return load(Source(f"random {program.seed}", program.text), sizes=program.sizes).graph


@pytest.mark.parametrize("seeds", [range(0, 50), range(1000, 1050)], ids=str)
def test_well_formed_programs_are_accepted(seeds):
    for seed in seeds:
        graph_of(draw(seed))


def test_all_that_a_loop_can_be_occurs():
    directions, sizes, kinds = set(), set(), set()
    for seed in range(60):
        graph = graph_of(draw(seed))
        for loop in loops(graph):
            found = block(graph, loop)
            directions.add(loop.direction)
            sizes.add(found.frames)
            kinds.add(str(kind(graph, loop)))
    assert directions == {1, -1}
    assert {None, 1, 2, 3} <= sizes
    assert {"dense", "diagonal", "diagonal linear", "linear"} <= kinds


def test_nothing_of_the_language_is_without_a_place(monkeypatch):
    """Every operator of graphs, gradients and plans, every function, initialiser and standard cell occurs soon."""
    monkeypatch.setattr(memories, "LEAST", 1)    # drawn matrices are small
    missing = {*OPS, *(f"{name}()" for name in {*TABLE, *standard_names(), *INITIALISERS} - {"value"})}
    for seed in range(600):
        program = draw(seed)
        graph = graph_of(program)
        missing -= {f"{word}()" for word in re.findall(r"\w+", program.text)}
        graphs = [graph, *pipeline.programs(graph, "all").values()]
        graphs += [shorten(pipeline.forward(graph), weights) for weights in ("bfloat16", "int8")]
        if any(node.op == "outer" for node in graph.nodes):
            plain = pipeline.programs(pipeline.forward(graph), "all")
            graphs += [chunks.chunkwise(compact(made)) for made in plain.values()]
        missing -= {node.op for made in graphs for node in made.nodes}
        if not missing:
            return
    assert not missing


def test_features_can_be_left_out():
    for seed in range(60):
        text = draw(seed, without=("look-ahead", "ahead inside a loop", "backwards", "labels", "cells")).text
        assert "[t+" not in text and "reversed" not in text and "input c" not in text
        assert "cell " not in text


def test_ill_formed_programs_give_compile_errors_only():
    chance = random.Random(1)
    refused = 0
    for seed in range(80):
        text = spoil(draw(chance.randrange(500)).text, seed)
        try:
            load(Source(f"spoiled {seed}", text))
        except CompileError as error:
            refused += 1
            assert error.diagnostics and all(d.message and d.code.startswith("E") for d in error.diagnostics)
    assert refused > 40
