"""The generator of random programs: the same seed gives the same program, and what it calls well-formed is."""

import random

import pytest
from random_programs import draw, spoil

from rnnc.errors import CompileError, Source
from rnnc.front.parse import parse


def test_a_seed_gives_one_program():
    assert draw(5) == draw(5)
    assert draw(5).text != draw(6).text


@pytest.mark.parametrize("seeds", [range(0, 60), range(1000, 1060)], ids=str)
def test_well_formed_programs_parse(seeds):
    for seed in seeds:
        parse(Source(f"random {seed}", draw(seed).text))


def test_features_can_be_left_out():
    for seed in range(60):
        text = draw(seed, without=("look-ahead", "ahead inside a loop", "backwards", "labels", "cells")).text
        assert "[t+" not in text and "reversed" not in text and "input c" not in text
        assert "cell " not in text


def test_ill_formed_programs_give_compile_errors_only():
    chance = random.Random(1)
    refused = 0
    for seed in range(60):
        text = spoil(draw(chance.randrange(500)).text, seed)
        try:
            parse(Source(f"spoiled {seed}", text))
        except CompileError as error:
            refused += 1
            assert error.diagnostics and all(d.message and d.code.startswith("E") for d in error.diagnostics)
    assert refused > 10
