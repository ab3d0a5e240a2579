"""What should run together does: which products stack, what leaves a loop, where threads meet, what is kept."""

from plans import FOURTH, GRU, LSTM, MIXED, at, layer, plan

from rnnc.plan.schedule import Fold, Map, RowKernel, Schedule, Sweep, UnitKernel
from rnnc.plan.show import show, show_memory


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
    """Seven gates that one loop waits for, in groups of at most four."""
    made = plan(layer("""
        param W : [7, n, 6]
        param U : [n, n]
        h = tanh(U @ h[t-1] + (W[0] @ x) * (W[1] @ x) * (W[2] @ x) * (W[3] @ x) + (W[4] @ x) * (W[5] @ x) * (W[6] @ x))
        """), "run")
    outside, = unit_kernels(made, Map)
    assert sorted(sizes(outside)) == [(3, 6), (4, 6)]


def test_products_that_two_loops_wait_for_stand_apart():
    """Two layers read the same input, and may go through time without one another."""
    made = plan(layer("h = concat(lstm(n)(x), gru(n)(x))", size="[2 * n]"), "run")
    assert [sizes(kernel) for kernel in unit_kernels(made, Map)] == [[(4, 6)], [(3, 6)]]


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


STEPS = """input x : [n]
 param A : [n, n]
 k = A @ s[t-1]   m = A @ (s[t-1] + 0.1 * k)   r = A @ (s[t-1] + 0.1 * m)
 s = s[t-1] + 0.1 * (x + k + m + r)"""


def test_small_products_that_wait_for_one_another_go_in_lanes():
    few, many = (plan(f"model m(n = {n}) {{\n {STEPS}\n output s\n}}", "run") for n in (5, 8))
    assert all(isinstance(k, RowKernel) for s in sweeps(few) for p in s.phases for k, _ in p.kernels)
    assert len(sweeps(many)[0].phases) == 3 and unit_kernels(many, Sweep)


SPREAD = """input x : [n]
 param a, w : [n, k]
 m = a * m[t-1] + (1 - a) * reshape(x, [n, 1])
 o = sum(w * m, axis = 1)"""


def test_a_matrix_driven_by_a_vector_stays_in_its_loop():
    """What is spread and what is summed up are nowhere in memory; large matrices keep their units apart."""
    small, large = (plan(f"model m(n = 40, k = {k}) {{\n {SPREAD}\n output o\n}}", "run") for k in (8, 32))
    assert len(small.stages) == 1 and len(large.stages) == 3
    assert {name_of(small, n) for s in sweeps(small) for p in s.phases for k, _ in p.kernels for n in k.stores} == {
        "m", "o"}


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


def test_a_normalised_loop_meets_for_its_product_and_its_sums():
    norms = layer("""param U : [n, n]
                     a = x + layer_norm()(U @ h[t-1])
                     h = tanh(layer_norm()(a))""", "input x : [n]")
    made = plan(norms)
    assert [len(sweep.phases) for sweep in sweeps(made)] == [2, 2]
    rows = [kernel for sweep in sweeps(made) for kernel, _ in sweep.phases[1].kernels]
    assert [type(kernel) for kernel in rows] == [RowKernel, RowKernel]      # from the mean to the end in one kernel
