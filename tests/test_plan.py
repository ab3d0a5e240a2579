"""The planner: its schedules pass the checker, the checker sees planted faults, rewrites keep every value, and what
should run together does."""

from dataclasses import replace

import numpy as np
import pytest
from compare import call, draw_data
from plans import FOURTH, GRU, LSTM, MIXED, at, layer, plan
from random_programs import draw

from rnnc import pipeline
from rnnc.errors import Broken, Source
from rnnc.graph.check import check as check_graph
from rnnc.graph.gradient import gradient
from rnnc.graph.simplify import simplify
from rnnc.plan.advance import advance
from rnnc.plan.check import check
from rnnc.plan.cost import cost
from rnnc.plan.crews import works
from rnnc.plan.guards import masked
from rnnc.plan.machine import TYPICAL
from rnnc.plan.needs import needs
from rnnc.plan.regroup import compact, regroup
from rnnc.plan.schedule import Map, Phase, RowKernel, Schedule, Step, Sweep, UnitKernel

# ------------------------------------------------------------------------------------------------ the checker

@pytest.mark.parametrize("first", range(0, 250, 50))
def test_schedules_of_random_programs_hold(first):
    for seed in range(first, first + 50):
        program = draw(seed)
        graph = pipeline.forward(pipeline.elaborated(Source("random.rnn", program.text), None, program.sizes))
        for name, each in pipeline.programs(graph, "all").items():
            try:
                check(pipeline.planned_and_checked(each, name))
            except Broken as fault:
                pytest.fail(f"seed {seed}, {name}: {fault}")


def with_stage(made: Schedule, number: int, stage) -> Schedule:
    stages = list(made.stages)
    stages[number] = stage
    return replace(made, stages=tuple(stages))


def changed_sweep(made: Schedule, nth: int = 0, **changes) -> Schedule:
    number = at(made, Sweep, nth)
    return with_stage(made, number, replace(made.stages[number], **changes))


def with_kernel(made: Schedule, wanted, change) -> Schedule:
    """The first kernel that `wanted` accepts is changed."""
    for number, stage in enumerate(made.stages):
        if isinstance(stage, Map):
            for i, kernel in enumerate(stage.kernels):
                if wanted(kernel):
                    kernels = (*stage.kernels[:i], change(kernel), *stage.kernels[i + 1:])
                    return with_stage(made, number, replace(stage, kernels=kernels))
        elif isinstance(stage, Sweep):
            for p, phase in enumerate(stage.phases):
                for i, (kernel, offset) in enumerate(phase.kernels):
                    if wanted(kernel):
                        kernels = (*phase.kernels[:i], (change(kernel), offset), *phase.kernels[i + 1:])
                        phases = (*stage.phases[:p], Phase(kernels), *stage.phases[p + 1:])
                        return with_stage(made, number, replace(stage, phases=phases))
    raise AssertionError("no such kernel")


def stages_swapped(made):
    order = list(range(len(made.stages)))
    loop = at(made, Sweep)
    order[loop - 1], order[loop] = loop, loop - 1
    return replace(made, stages=tuple(made.stages[i] for i in order))


def moved_to_the_end(made):
    """A value that the loop reads is made in a stage of its own, behind everything."""
    first = made.stages[0].kernels[0]
    late = RowKernel(99, (first.body[-1],), (first.body[-1],))
    without = replace(first, body=first.body[:-1], stores=tuple(n for n in first.stores if n != first.body[-1]))
    made = with_stage(made, 0, Map((without,)))
    return replace(made, stages=(*made.stages, Map((late,))), steps=(*made.steps, Step((len(made.stages),))))


def left_out(made):
    return with_kernel(made, lambda k: k.body, lambda k: replace(k, body=k.body[:-1]))


def computed_twice(made):
    return replace(made, stages=(*made.stages, made.stages[0]), steps=(*made.steps, Step((len(made.stages),))))


def phases_swapped(made):
    return changed_sweep(made, phases=made.stages[at(made, Sweep)].phases[::-1])


def phases_merged(made):
    sweep = made.stages[at(made, Sweep)]
    return changed_sweep(made, phases=(Phase(tuple(k for phase in sweep.phases for k in phase.kernels)),))


def longer_blocks(made):
    return changed_sweep(made, frames=made.stages[at(made, Sweep)].frames + 1)


def no_meetings(made):
    return changed_sweep(made, meets=False)


def other_direction(made):
    return changed_sweep(made, direction=-made.stages[at(made, Sweep)].direction)


def body_backwards(made):
    return with_kernel(made, lambda k: isinstance(k, UnitKernel) and len(k.body) > 5,
                       lambda k: replace(k, body=k.body[::-1]))


def not_written(made):
    return with_kernel(made, lambda k: k.stores, lambda k: replace(k, stores=k.stores[1:]))


def rows_dealt_out(made):
    return with_kernel(made, lambda k: getattr(k, "ordered", False), lambda k: replace(k, ordered=False))


def one_offset_more(made):
    sweep = made.stages[at(made, Sweep)]
    (kernel, offset), *rest = sweep.phases[0].kernels
    return changed_sweep(made, phases=(Phase(((kernel, offset + 1), *rest)), *sweep.phases[1:]))


def slots_merged(made):
    """Two values of one loop in one slot."""
    kernel = next(k for k in made.kernels() if len(k.stores) > 1 and all(
        n in made.buffers and made.buffers[n].ring is None for n in k.stores))
    a, b = kernel.stores[:2]
    return replace(made, buffers={**made.buffers, b: replace(made.buffers[b], slot=made.buffers[a].slot)})


def slot_too_small(made):
    slots = list(made.slots)
    number = next(b.slot for b in made.buffers.values() if b.slot is not None and b.place == "work")
    slots[number] = (slots[number][0], 1)
    return replace(made, slots=tuple(slots))


def ring_too_short(made):
    n = next(n for n, b in made.buffers.items() if b.ring and b.ring > 1)
    return replace(made, buffers={**made.buffers, n: replace(made.buffers[n], ring=made.buffers[n].ring // 2)})


def step_forgotten(made):
    return replace(made, steps=made.steps[:-1])


FAULTS = [
    (LSTM, stages_swapped, "a later stage makes"),
    (LSTM, moved_to_the_end, "a later stage makes"),
    (LSTM, left_out, "nothing computes"),
    (LSTM, computed_twice, "is computed twice"),
    (GRU, phases_swapped, "not made yet"),
    (GRU, phases_merged, "not made yet"),
    (LSTM, longer_blocks, "own these units|may own that row"),
    (FOURTH, longer_blocks, "own these units|may own that row"),
    (GRU, no_meetings, "in a loop without meetings"),
    (LSTM, other_direction, "is not made yet"),
    (LSTM, body_backwards, "later in its own kernel"),
    (LSTM, not_written, "is not written"),
    (MIXED, rows_dealt_out, "another thread may own that row"),
    (GRU, one_offset_more, "not made yet"),
    (LSTM, slots_merged, "share slot"),
    (LSTM, slot_too_small, "numbers a row"),
    (LSTM, ring_too_short, "overwritten|longer than it is kept"),
    (LSTM, step_forgotten, "the steps"),
]


@pytest.mark.parametrize("text,fault,message", FAULTS, ids=lambda v: getattr(v, "__name__", ""))
def test_the_checker_sees(text, fault, message):
    made = plan(text)
    check(made)
    with pytest.raises(Broken, match=message):
        check(fault(made))


# ------------------------------------------------------------------------------------------------ rewrites

def values(graph, data):
    """Everything that a graph yields, by name."""
    found = call(graph, data, "float64")
    groups = {"output": found.outputs, "score": found.scores, "gradient": found.gradients,
              "state": found.state.signals}
    return {f"{group} {name}": value for group, named in groups.items() for name, value in named.items()}


@pytest.mark.parametrize("first", range(0, 40, 10))
def test_rewrites_keep_every_value(first):
    """`masked`, `advance` and `regroup` may change rounding only."""
    for seed in range(first, first + 10):
        program = draw(seed)
        graph = pipeline.elaborated(Source("random.rnn", program.text), None, program.sizes)
        if not graph.losses:
            continue
        joint = compact(simplify(replace(gradient(graph), losses={}, metrics={})))
        for data in (draw_data(graph, seed, "float64", streams=2), draw_data(graph, seed, "float64", 1, 1)):
            before, frames = values(joint, data), data.frames
            for name, change in (("masked", masked), ("advance", advance), ("regroup", regroup)):
                after = check_graph(change(joint))
                for key, value in values(after, data).items():
                    wanted = before[key]
                    assert np.allclose(value, wanted, rtol=1e-9, atol=1e-9, equal_nan=True), \
                        f"seed {seed}, {frames} frames, {name}: {key}"


def test_a_sum_may_hold_a_term_twice():
    text = layer("param U : [n, n]\n h = tanh(x + U @ h[t-1] + x)", "input x : [n]")
    graph = pipeline.elaborated(Source("twice.rnn", text))
    data = draw_data(graph, 1, "float64", 5, 2)
    before, after = values(graph, data), values(regroup(graph), data)
    assert np.allclose(before["output h"], after["output h"])


def test_quotients_are_made_again_behind():
    """A layer norm keeps the centred numbers and one deviation for the way back, not their quotient as well."""
    text = "model m { input x : [4]\n target y : [24]\n u = layer_norm()(dense(24)(x) + dense(24)(h[t-1]))\n" \
           " h = tanh(u)\n output h\n loss mse(h, y) }"
    made = plan(text, "backprop")
    long = [n for n, b in made.buffers.items() if b.ring is None and b.near is None and made.graph[n].shape == (24,)]
    assert long and not any(made.graph[n].op == "div" for n in long)


def test_products_of_a_single_gate_and_of_two_take_several_blocks_of_units():
    at_once = lambda n, text: {(len(p.gates), k.spread) for s in plan(f"model m(n = {n}) {{ {text} }}").stages
                               if isinstance(s, Sweep) for phase in s.phases for k, _ in phase.kernels
                               for p in getattr(k, "panels", ())}
    cell = "input x : [4]\n target y : [n]\n h = {}(n)(x)\n output h\n loss mse(h, y)"
    assert at_once(206, cell.format("rnn")) == {(1, 4)} and at_once(64, cell.format("rnn")) == {(1, 1)}
    assert at_once(206, cell.format("lstm")) == {(4, 1), (1, 4)}
    assert (2, 2) in at_once(206, cell.format("gru"))


def test_a_matrix_is_asked_in_the_step_that_makes_it():
    """Then one frame of it is kept, not all; what it is asked comes before the loop, though no loop waits for it."""
    text = "model m { input x : [4]\n target y : [6]\n k = dense(6)(x)\n v = dense(6)(x)\n" \
           " S = 0.9 * S[t-1] + outer(tanh(S[t-1] @ k) + v, k)\n h = S @ dense(6)(tanh(dense(6)(x)))\n" \
           " output h\n loss mse(h, y) }"
    made = plan(text, "run")
    matrix = next(n for n in range(len(made.graph)) if made.graph[n].name == "S")
    assert made.buffers[matrix].ring == 1


@pytest.mark.parametrize("more, frames", [("D = S - S[t-1]", 2), ("D = S[t-1] @ k", 1), ("D = S @ (S[t-1] @ k)", 1),
                                          ("D = S[t-1] @ (S @ k)", 2), ("D = S @ k + S[t-2] @ k", 4)])
def test_a_matrix_stays_in_place_where_nothing_reads_it_before_and_after(more, frames):
    text = "model m { input x : [4]\n target y : [6]\n k = tanh(dense(6)(x))\n" \
           f" S = 0.9 * S[t-1] + outer(tanh(dense(6)(k) + S[t-1] @ k), k)\n {more}\n" \
           " h = (S @ k) * norm(D)\n output h\n loss mse(h, y) }"
    made = plan(text, "run")
    matrix = next(n for n in range(len(made.graph)) if made.graph[n].name == "S")
    assert made.buffers[matrix].ring == frames


def test_what_a_loop_s_matrix_gains_is_made_in_the_loop():
    """Not as a matrix of every frame outside."""
    text = "model m { input x : [4]\n target y : [6]\n k = dense(16)(x)\n v = 0.5 * dense(6)(x)\n q = sigmoid(k)\n" \
           " S = S[t-1] * reshape(q, [1, 16]) + outer(tanh(S[t-1] @ k), q) + outer(2 * v, k)\n" \
           " h = S @ q\n output h\n loss mse(h, y) }"
    for program, outside in (("run", set()), ("backprop", {"broadcast"})):    # which the loop of the adjoint reads, too
        made = plan(text, program)
        kept = {made.graph[n].op for n in made.buffers if made.graph[n].shape == (6, 16) and n not in made.views}
        assert kept & {"outer", "broadcast"} == outside


def test_two_factors_of_a_matrix_product_count_once_each():
    """[m, k] times [k, n] are m k n steps, and a vector's n is 1."""
    made = plan("model m(n = 8) { input x : [n]\n S = 0.9 * S[t-1] + outer(tanh(S[t-1] @ x) + x, x)\n"
                " h = sum(tanh(S @ S), axis = 1)\n output h }", "run")
    vector, matrix = 2 * 8 * 8, 2 * 8 * 8 * 8
    told = sum(w.flops for w in works(made, needs(made), 4))
    assert told == 2 * vector + matrix         # S[t-1] @ x, the outer product, S @ S
    assert cost(made, 4, 3, 1, TYPICAL).total("products") == told * 4 * 3
