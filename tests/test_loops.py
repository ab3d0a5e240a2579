"""Loops and their direction, against the dull way: reachability, and every simple cycle of small random graphs."""

import random

import pytest

from rnnc.errors import Broken
from rnnc.graph.loops import Fault, components, direction, loops
from rnnc.graph.nodes import Builder, Initial, Node, Read

# ------------------------------------------------------------------------------------------ the dull way

def simple_cycles(nodes, edges):
    """Every simple cycle, as a list of edges, found by walking from its least node."""
    found = []

    def walk(start, node, path, seen):
        for edge in edges:
            if edge[0] == node:
                if edge[1] == start:
                    found.append(path + [edge])
                elif edge[1] > start and edge[1] not in seen:
                    walk(start, edge[1], path + [edge], seen | {edge[1]})

    for start in nodes:
        walk(start, start, [], {start})
    return found


def reachable(size, edges):
    reach = [[u == v for v in range(size)] for u in range(size)]
    for u, v, *_ in edges:
        reach[u][v] = True
    for k in range(size):
        for i in range(size):
            for j in range(size):
                reach[i][j] = reach[i][j] or (reach[i][k] and reach[k][j])
    return reach


def random_edges(chance, size, count, low, high):
    return [(chance.randrange(size), chance.randrange(size), chance.randint(low, high)) for _ in range(count)]


def connected(chance, size, count, low, high):
    """Random edges through which every node reaches every other: a ring in random order, and more."""
    ring = chance.sample(range(size), size)
    edges = [(ring[i], ring[(i + 1) % size], chance.randint(low, high)) for i in range(size)]
    return edges + random_edges(chance, size, count, low, high)


# ------------------------------------------------------------------------------------------ components

def test_components_are_what_reaches_each_other_in_the_order_of_the_data():
    for seed in range(300):
        chance = random.Random(seed)
        size = chance.randint(1, 9)
        edges = random_edges(chance, size, chance.randint(0, 14), -2, 2)
        reach = reachable(size, edges)
        found = components(size, edges)
        assert sorted(n for members in found for n in members) == list(range(size))
        number = {n: k for k, members in enumerate(found) for n in members}
        for u in range(size):
            for v in range(size):
                assert (number[u] == number[v]) == (reach[u][v] and reach[v][u])
        for u, v, _ in edges:
            assert number[u] <= number[v]
        assert found == components(size, chance.sample(edges, len(edges)))


def test_long_chains_need_no_recursion():
    size = 20_000
    chain = [(n, n + 1, 0) for n in range(size - 1)]
    assert len(components(size, chain)) == size
    ring = [*chain, (size - 1, 0, 1)]
    assert components(size, ring) == [tuple(range(size))]
    assert direction(range(size), ring) == 1
    assert direction(range(size), [*chain, (size - 1, 0, -1)]) == -1


# ------------------------------------------------------------------------------------------ direction

def check_cycle(cycle, edges):
    assert all(edge in edges for edge in cycle)
    assert all(cycle[i][1] == cycle[(i + 1) % len(cycle)][0] for i in range(len(cycle)))
    assert len({edge[0] for edge in cycle}) == len(cycle)


@pytest.mark.parametrize("low, high", [(-2, 2), (0, 2), (-2, 0), (-1, 3), (-4, 1)])
def test_direction_is_the_sign_of_every_simple_cycle(low, high):
    for seed in range(300):
        chance = random.Random(seed)
        size = chance.randint(1, 5)
        edges = connected(chance, size, chance.randint(0, 5), low, high)
        sums = [sum(d for *_, d in cycle) for cycle in simple_cycles(range(size), set(edges))]
        answer = direction(range(size), edges)
        if all(s > 0 for s in sums):
            assert answer == 1
        elif all(s < 0 for s in sums):
            assert answer == -1
        else:
            assert isinstance(answer, Fault)
            for cycle in answer.cycles:
                check_cycle(cycle, edges)
            found = [sum(d for *_, d in cycle) for cycle in answer.cycles]
            instant = any(all(d == 0 for *_, d in cycle) for cycle in simple_cycles(range(size), set(edges)))
            assert (answer.kind == "instant") == instant
            if answer.kind == "instant":
                assert all(d == 0 for *_, d in answer.cycles[0])
            elif answer.kind == "mixed":
                assert found[0] > 0 > found[1]
            else:
                assert found == [0] and not (min(sums) < 0 < max(sums))


def test_direction_of_plain_cases():
    assert direction([0, 1], [(0, 1, 0), (1, 0, 1)]) == 1
    assert direction([0, 1], [(0, 1, 0), (1, 0, -1)]) == -1
    assert direction([0, 1], [(0, 1, -1), (1, 0, 2)]) == 1          # looks ahead, and still runs forwards
    assert direction([0], [(0, 0, 0)]) == Fault("instant", (((0, 0, 0),),))
    assert direction([0, 1], [(0, 1, 1), (1, 0, -1)]).kind == "zero"
    assert direction([0, 1], [(0, 1, 0), (1, 0, 1), (1, 0, -1)]).kind == "mixed"
    assert direction([3], []) == 1                                   # nothing forbids it


# ------------------------------------------------------------------------------------------ graphs

def network(*equations):
    """A graph of scalar nodes: (op, *reads), a read being a number or (number, delay)."""
    make = Builder()
    for op, *reads in equations:
        args = tuple(Read(*r) if isinstance(r, tuple) else Read(r) for r in reads)
        make.add(Node(op, args, (), domain="constant" if op in ("number", "param", "fold_sum") else "frame"))
    return make.finish()


def test_loops_of_a_graph():
    graph = network(
        ("input",),                      # 0
        ("param",),                      # 1
        ("mul", 1, (4, 1)),              # 2
        ("add", 2, 0),                   # 3
        ("tanh", 3),                     # 4  h reads itself
        ("mul", 4, (5, -1)),             # 5  b runs backwards
        ("fold_sum", 5),                 # 6
    )
    found = loops(graph)
    assert [loop.nodes for loop in found] == [(2, 3, 4), (5,)]
    assert [loop.direction for loop in found] == [1, -1]
    assert found.loops[0].edges == ((2, 3, 0), (3, 4, 0), (4, 2, 1))
    assert found.loop[4] is found.loops[0] and 6 not in found.loop
    assert found.component[6] == len(found.components) - 1
    assert found.loops[1].ago((5, 5, -1)) == 1


def test_what_a_start_reads_comes_first():
    make = Builder()
    reader = make.add(Node("identity", (Read(1, 1),), ()))
    signal = make.add(Node("input", (), ()))
    initial = make.add(Node("number", (), (), domain="constant"))
    graph = make.finish(initials={signal: Initial(initial)})
    order = [members[0] for members in loops(graph).components]
    assert order.index(initial) < order.index(reader)


def test_a_graph_without_causality_is_a_bug_of_ours():
    with pytest.raises(Broken, match="without direction"):
        loops(network(("tanh", 1), ("tanh", 0)))


# ------------------------------------------------------------------------------------------ cells by hand
# The layer graphs of a classic toolkit's LSTM (with peepholes) and GRU, one node per layer, `a >> b` if b reads a one
# frame later. Without recurrent products only the part of the LSTM that feeds its cell state is a loop: input, output
# gate and output can be computed for all of time at once.

CELL = """
    input_gate > input_part  input_part > cell  forget_gate > forget_part  forget_part > cell
    cell >> past_cell  past_cell > forget_part
    past_cell > input_peep  input_peep > input_gate  past_cell > forget_peep  forget_peep > forget_gate
    cell > output_peep  output_peep > output_gate  cell > squash  squash > output  output_gate > output
    bias > input_peep  bias > forget_peep  bias > output_peep
"""
LSTM = CELL + "input > input_part  bias > input  bias > input_gate  bias > forget_gate  bias > output_gate "
FAST_LSTM = CELL + """
    bias > input  input > input_squash  input_squash > input_part
    input > input_gate  input > forget_gate  input > output_gate
"""
LSTM_FEEDBACK = "output >> past  past > input  past > input_gate  past > forget_gate  past > output_gate"
FAST_LSTM_FEEDBACK = "output >> past  past > input"
GRU_CORE = """
    output >> past  past > reset_part  reset > reset_part  reset_part > new  update > old_part  past > old_part
    update > one_minus  one_minus > new_part  new > new_part  new_part > output  old_part > output
"""
GRU = GRU_CORE + "past > reset  past > update  bias > reset  bias > update  bias > new"
FAST_GRU = GRU_CORE + "past > input  bias > input  input > reset  input > update  input > new"
INSIDE = {"cell", "past_cell", "input_peep", "forget_peep", "input_gate", "forget_gate", "input_part", "forget_part"}


def layers(text):
    words = text.split()
    names, edges = {}, []
    for u, arrow, v in zip(words[::3], words[1::3], words[2::3]):
        edges.append((names.setdefault(u, len(names)), names.setdefault(v, len(names)), len(arrow) - 1))
    make = Builder()
    for name, number in names.items():
        args = tuple(Read(u, d) for u, v, d in edges if v == number)
        op, domain = ("number", "constant") if name == "bias" else ("add", "frame")
        make.add(Node(op, args, (), domain=domain))
    return list(names), edges, make.finish()


def longest_chain(edges, members):
    depth = dict.fromkeys(members, 1)
    for _ in members:
        for u, v, d in edges:
            if u in depth and v in depth and d == 0:
                depth[v] = max(depth[v], depth[u] + 1)
    return max(depth.values())


@pytest.mark.parametrize("text, count, reads, size, chain, inside", [
    (LSTM + LSTM_FEEDBACK, 14, 28, 14, 8, None),
    (LSTM, 13, 23, 8, 5, INSIDE),
    (FAST_LSTM + FAST_LSTM_FEEDBACK, 15, 26, 15, 8, None),
    (FAST_LSTM, 14, 24, 8, 5, INSIDE),
    (GRU, 9, 16, 9, 6, None),
    (FAST_GRU, 10, 16, 10, 7, None),
], ids=["lstm", "lstm without feedback", "fast lstm", "fast lstm without feedback", "gru", "fast gru"])
def test_cells_whose_loops_are_known(text, count, reads, size, chain, inside):
    names, edges, graph = layers(text)
    assert (len(names) - 1, len(edges)) == (count, reads)            # the bias layer is not the cell's own
    (loop,) = loops(graph)
    assert loop.direction == 1 and len(loop.nodes) == size
    assert longest_chain(loop.edges, loop.nodes) == chain
    if inside:
        assert {names[n] for n in loop.nodes} == inside
    else:
        assert set(names) - {names[n] for n in loop.nodes} == {"bias"}
