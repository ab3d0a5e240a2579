"""What `rnnc explain` says the planner will choose is what the planner in C chooses."""

import numpy as np
import pytest
from random_programs import draw

import rnnc
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan.choose import choose
from rnnc.plan.machine import Machine
from rnnc.runtime.trial import planned
from rnnc.target.measure import machine

BOTH = """model m(n = 64) {
    input x : [n]
    target y : [2 * n]
    h = concat(lstm(n)(x), reversed(lstm(n))(x))
    output h
    loss mse(h, y)
}
"""
STACKED = """model m(n = 48, layers = 3) {
    input x : [n]
    target y : [n]
    h = stack(layers, gru(n))(x)
    output h
    loss mse(h, y)
}
"""


def same(text: str, sizes: dict) -> list[str]:
    """The kinds of choices that were compared."""
    here, kinds = machine(), []
    assert isinstance(here, Machine)
    net = rnnc.compile(text, sizes=sizes)
    made = pipeline.schedules(Source("<text>", text), pipeline.Options(), sizes)
    for program, schedule in made.items():
        for threads in (2, 3, 12):
            for frames, streams in ((1, 1), (100, 1), (64, 16), (33, 64), (1000, 3)):
                told = choose(schedule, frames, streams, threads, here)
                crews, by_streams, seconds = planned(net, program, frames, streams, threads)
                if crews:                      # a program with nothing to choose has no tables in C
                    assert (told.crews, told.streams) == (crews, by_streams), (program, threads, frames, streams)
                    assert np.allclose(told.seconds, seconds, rtol=2e-3, atol=0)
                else:
                    assert told.kind == "together"
                kinds.append(told.kind)
    return kinds


def test_the_twin_chooses_as_the_c():
    kinds = same(BOTH, {}) + same(STACKED, {})
    assert {"together", "streams", "crews"} <= set(kinds)


@pytest.mark.parametrize("seed", range(12))
def test_the_twin_chooses_as_the_c_in_random_programs(seed):
    program = draw(seed)
    same(program.text, program.sizes)
