"""The planner: its schedules pass the checker, the checker sees planted faults, rewrites keep every value, and what
should run together does."""

from dataclasses import replace

import numpy as np
import pytest
from compare import call, draw_data
from random_programs import draw

from rnnc import pipeline
from rnnc.errors import Broken, Source
from rnnc.graph.check import check as check_graph
from rnnc.graph.gradient import gradient
from rnnc.graph.simplify import simplify
from rnnc.plan.advance import advance
from rnnc.plan.check import check
from rnnc.plan.regroup import compact, regroup
from rnnc.plan.schedule import Fold, Map, Phase, RowKernel, Schedule, Step, Sweep, UnitKernel
from rnnc.plan.show import show, show_memory


def plan(text: str, program: str = "backprop", gradient: str = "parameters") -> Schedule:
    graph = pipeline.elaborated(Source("plan.rnn", text))
    return pipeline.planned_and_checked(pipeline.programs(pipeline.forward(graph), gradient)[program], program)


def layer(equations: str, inputs: str = "input x : [6]", size: str = "[n]") -> str:
    """A model of 20 units with a loss, whose last signal is h."""
    body = f"{inputs}\ntarget y : {size}\n{equations}\noutput h\nloss mse(h, y)"
    return f"model m(n = 20) {{\n{body}\n}}\n"


LSTM = layer("h = lstm(n)(x)")
GRU = layer("h = gru(n)(x)")
FOURTH = layer("param W : [n, 6]\n param U : [n, n]\n h = tanh(W @ x + U @ h[t-4])")
MIXED = layer("""param U : [n, n]
                 f = sigmoid(h[t-1])
                 h = f * h[t-1] + tanh(U @ h[t-4] + x)""", "input x : [n]")


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


def at(made: Schedule, kind, nth: int = 0) -> int:
    """The number of the nth stage of a kind."""
    return [i for i, stage in enumerate(made.stages) if isinstance(stage, kind)][nth]


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
    """`advance` and `regroup` may change rounding only."""
    for seed in range(first, first + 10):
        program = draw(seed)
        graph = pipeline.elaborated(Source("random.rnn", program.text), None, program.sizes)
        if not graph.losses:
            continue
        joint = compact(simplify(replace(gradient(graph), losses={}, metrics={})))
        for data in (draw_data(graph, seed, "float64", streams=2), draw_data(graph, seed, "float64", 1, 1)):
            before, frames = values(joint, data), data.frames
            for name, change in (("advance", advance), ("regroup", regroup)):
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


# ------------------------------------------------------------------------------------------------ what runs together

def unit_kernels(made: Schedule, kind) -> list[UnitKernel]:
    """Unit kernels in the stages of a kind, in order."""
    stages = [s for s in made.stages if isinstance(s, kind)]
    kernels = [k for s in stages for k in (s.kernels if kind is Map else [k for p in s.phases for k, _ in p.kernels])]
    return [k for k in kernels if isinstance(k, UnitKernel)]


def sizes(kernel: UnitKernel) -> list[tuple[int, int]]:
    """Gates and inner size of each panel."""
    return [(len(p.gates), p.inner) for p in kernel.panels]


def sweeps(made: Schedule) -> list[Sweep]:
    return [s for s in made.stages if isinstance(s, Sweep)]


def name_of(made: Schedule, n: int) -> str:
    node = made.graph[n]
    return node.name or str(node.attr("name", "")) or node.op


def test_gates_stack_and_input_products_leave():
    made = plan(LSTM, "run")
    outside, = unit_kernels(made, Map)
    inside, = unit_kernels(made, Sweep)
    assert sizes(outside) == [(4, 6)] and sizes(inside) == [(4, 20)]
    assert name_of(made, inside.panels[0].operand.node) == "h.h" and inside.panels[0].operand.delay == 1


def test_everything_elementwise_is_in_the_loop_s_kernel():
    made = plan(LSTM, "run")
    inside, = unit_kernels(made, Sweep)
    assert {name_of(made, n) for n in inside.stores} == {"h.c", "h.h"}     # nothing else is ever written
    assert {"h.i", "h.f", "h.g", "h.o"} <= {name_of(made, n) for n in inside.body}


def test_biases_are_added_where_their_products_are():
    """Sums with biases ride on the products of all frames, not in every step."""
    outside, = unit_kernels(plan(LSTM, "run"), Map)
    assert len(outside.gates) == 4 and len(outside.body) == 4


def test_one_slice_of_a_stacked_product_is_one_gate():
    fast = plan(layer("""
        param W : [4 * n, 6]
        param U : [4 * n, n]
        param b : [4 * n]
        a = W @ x + U @ h[t-1] + b
        i = sigmoid(a[0:n])
        f = sigmoid(a[n:2 * n])
        o = sigmoid(a[2 * n:3 * n])
        g = tanh(a[3 * n:4 * n])
        c = f * c[t-1] + i * g
        h = o * tanh(c)"""))
    forward, backward = sweeps(fast)
    assert len(forward.phases) == len(backward.phases) == 1
    inside = unit_kernels(fast, Sweep)
    assert sizes(inside[0]) == [(4, 20)] and sizes(inside[1]) == [(1, 20)] * 4
    assert sizes(unit_kernels(fast, Map)[0]) == [(4, 6)]


def test_a_concatenation_comes_apart():
    made = plan(layer("param W : [n, 6 + n]\n h = tanh(W @ concat(x, h[t-1]))"))
    assert sizes(unit_kernels(made, Map)[0]) == [(1, 6)]
    assert [sizes(k) for k in unit_kernels(made, Sweep)] == [[(1, 20)], [(1, 20)]]


def test_products_of_one_operand_stand_side_by_side():
    """Two layers read the same input: seven gates, in groups of at most four."""
    made = plan(layer("h = concat(lstm(n)(x), gru(n)(x))", size="[2 * n]"), "run")
    outside, = unit_kernels(made, Map)
    assert sorted(sizes(outside)) == [(3, 6), (4, 6)]


def test_one_meeting_a_step_on_the_way_back():
    forward, backward = sweeps(plan(LSTM))
    assert forward.direction == 1 and backward.direction == -1
    assert len(forward.phases) == len(backward.phases) == 1
    assert backward.frames == 1 and len(backward.phases[0].kernels) == 1


def test_a_reset_before_the_product_needs_a_second_meeting():
    assert [len(s.phases) for s in sweeps(plan(GRU))] == [2, 2]
    assert [len(s.phases) for s in sweeps(plan(layer("h = gru_after(n)(x)")))] == [1, 1]


def test_four_frames_go_together():
    assert [(s.frames, s.meets) for s in sweeps(plan(FOURTH))] == [(4, True), (4, True)]
    assert [s.frames for s in sweeps(plan(MIXED))] == [4, 4]
    assert unit_kernels(plan(MIXED), Sweep)[0].ordered


def test_an_elementwise_loop_needs_no_meeting():
    made = plan(layer("h = sru(n)(x)", "input x : [n]"))
    assert [(s.meets, len(s.phases)) for s in sweeps(made)] == [(False, 1), (False, 1)]
    assert not any(k.panels for k in unit_kernels(made, Sweep))


def test_values_that_one_loop_wants_sink_into_it():
    made = plan(layer("param U : [n, n]\n k = exp(0.1 * x) + x^2\n h = tanh(U @ h[t-1] + k)", "input x : [n]"), "run")
    assert len(made.stages) == 1
    inside, = unit_kernels(made, Sweep)
    assert "k" in {name_of(made, n) for n in inside.body}
    assert "k" not in {name_of(made, n) for n in inside.stores}


def test_weight_gradients_are_in_one_stage_behind_the_loops():
    made = plan(LSTM)
    sums = [s for s in made.stages if isinstance(s, Fold)][-1]
    assert sum(made.graph[n].op == "fold_outer" for n in sums.nodes) == 8
    assert made.stages.index(sums) > at(made, Sweep, 1)


def test_products_of_layers_between_loops_are_outside():
    made = plan(layer("h = lstm(n)(lstm(n)(x)[t-3])"), "run")
    assert [sizes(k) for k in unit_kernels(made, Map)] == [[(4, 6)], [(4, 20)]]
    between = unit_kernels(made, Map)[1].panels[0].operand
    assert between.delay == 3


# ------------------------------------------------------------------------------------------------ memory

def test_what_only_its_step_reads_is_kept_for_a_chunk():
    """Forward only, the memory of a long call is its output's, however many layers there are."""
    kinds = lambda k: [kind for kind, _ in plan(layer(f"h = stack({k}, lstm(n))(x)"), "run").slots]
    assert kinds(4).count("rows") == kinds(8).count("rows") == 1
    assert kinds(8).count("near") == 2 * kinds(4).count("near") + 1


def test_values_of_one_loop_are_kept_for_a_few_frames():
    made = plan(LSTM, "run")
    c, = [b for n, b in made.buffers.items() if name_of(made, n) == "h.c"]
    assert c.ring == 2                                          # written at t, read at t - 1


def test_state_of_a_loop_that_runs_backwards():
    """The state keeps the call's last frames, which such a loop makes first: a few frames would not do."""
    made = plan(layer("param U : [n, n]\n b = tanh(U @ b[t+1] + x)\n q = b[t-2]\n h = 1 * x", "input x : [n]"), "run")
    assert [b.ring for n, b in made.buffers.items() if name_of(made, n) == "b"] == [None]


def test_the_text_of_a_schedule_says_what_runs_where():
    made = plan(LSTM)
    text, memory = show(made), show_memory(made)
    assert "h.Wi, h.Wf, h.Wg, h.Wo @ x: 4 x 20 by 6" in text
    assert "h.Ui, h.Uf, h.Ug, h.Uo @ h.h[t-1]: 4 x 20 by 20" in text
    assert "loop backwards, 1 frame a step, 1 meeting a step" in text
    assert text.count("\nstage ") == len(made.stages)
    assert all(line.startswith("  ") for line in memory.splitlines()[1:])
