"""Block size D against the dull ways: every linear order, every set of stretched reads, and blocks run one by one."""

import itertools
import random

import pytest
from test_loops import connected, simple_cycles

from rnnc.graph.blocks import Block, block, search
from rnnc.graph.loops import direction, loops
from rnnc.graph.nodes import Builder, Node, Read

# ------------------------------------------------------------------------------------------ the dull ways

def best_over_orders(nodes, edges):
    """D when every node mixes: over all orders, the least over all cycles of floor(sum / reads going back)."""
    cycles = simple_cycles(nodes, edges)
    best = 0
    for order in itertools.permutations(nodes):
        place = {node: i for i, node in enumerate(order)}
        least = min(sum(d for *_, d in c) // sum(place[v] <= place[u] for u, v, _ in c) for c in cycles)
        best = max(best, least)
    return best


def best_over_stretched(nodes, edges, mixing):
    """D in general: over all sets of reads that get a delay of D or more and cut every cycle that mixes."""
    cycles = simple_cycles(nodes, edges)
    through = [c for c in cycles if any(u in mixing for u, *_ in c)]
    best = 0
    for chosen in itertools.product([False, True], repeat=len(edges)):
        stretched = {e for e, take in zip(edges, chosen) if take}
        if all(stretched.intersection(c) for c in through):
            touched = [c for c in cycles if stretched.intersection(c)]
            best = max(best, min(sum(d for *_, d in c) // len(stretched.intersection(c)) for c in touched))
    return best


def runs(nodes, edges, mixing, frames, offsets, length=23):
    """Blocks run one by one: a mixing node makes its frames of a block at once, another one frame by frame."""
    made = set()
    for k in range(-(-(length + max(offsets.values())) // frames)):
        todo = {v: [t for t in range(k * frames - offsets[v], (k + 1) * frames - offsets[v]) if 0 <= t < length]
                for v in nodes}
        ready = lambda v, t: all(not 0 <= t - d < length or (u, t - d) in made for u, w, d in edges if w == v)
        while any(todo.values()):
            before = len(made)
            for v in nodes:
                if v in mixing:
                    if all(ready(v, t) for t in todo[v]):
                        made.update((v, t) for t in todo[v])
                        todo[v] = []
                else:
                    while todo[v] and ready(v, todo[v][0]):
                        made.add((v, todo[v].pop(0)))
            if len(made) == before and any(todo.values()):
                return False
    return len(made) == len(nodes) * length


def causal(low, high, most, count):
    """Random loops that run forwards, nearest reads only."""
    seed = 0
    while count:
        seed += 1
        chance = random.Random(seed)
        size = chance.randint(1, most)
        edges = {}
        for u, v, d in connected(chance, size, chance.randint(0, 8 - min(size, 5)), low, high):
            edges[u, v] = min(d, edges.get((u, v), d))
        edges = tuple((u, v, d) for (u, v), d in edges.items())
        if direction(range(size), edges) == 1:
            count -= 1
            yield chance, tuple(range(size)), edges


# ------------------------------------------------------------------------------------------ random loops

@pytest.mark.parametrize("low, high, most, count", [(0, 3, 5, 150), (-1, 4, 5, 100), (0, 2, 6, 15)])
def test_block_size_when_every_node_mixes(low, high, most, count):
    for _, nodes, edges in causal(low, high, most, count):
        found = search(nodes, edges, frozenset(nodes))
        assert found.exact and found.frames == best_over_orders(nodes, edges)
        assert found.bound == min(sum(d for *_, d in c) for c in simple_cycles(nodes, edges))
        check(found, nodes, edges, frozenset(nodes))


@pytest.mark.parametrize("low, high", [(0, 3), (-1, 4)])
def test_block_size_when_some_nodes_mix(low, high):
    for chance, nodes, edges in causal(low, high, 5, 150):
        mixing = frozenset(n for n in nodes if chance.random() < 0.4)
        found = search(nodes, edges, mixing)
        if mixing:
            assert found.exact and found.frames == best_over_stretched(nodes, edges, mixing)
            check(found, nodes, edges, mixing)
        else:
            assert found.frames is None and found.bound is None


def check(found: Block, nodes, edges, mixing):
    """The block runs, its limit is a cycle with the least sum, and offsets are no larger than they claim to be."""
    assert min(found.offsets.values()) == 0
    assert runs(nodes, edges, mixing, found.frames, found.offsets)
    assert sum(d for *_, d in found.limit) == found.bound
    assert any(u in mixing for u, *_ in found.limit)
    assert found.needs_offsets == any(d < 0 for *_, d in edges)


def test_block_size_without_offsets():
    for chance, nodes, edges in causal(0, 4, 5, 200):
        mixing = frozenset(n for n in nodes if chance.random() < 0.6)
        found = search(nodes, edges, mixing, offsets=False)
        through = [c for c in simple_cycles(nodes, edges) if any(u in mixing for u, *_ in c)]
        if not through:
            assert found.frames is None
            continue
        assert found.frames == min(max(d for *_, d in c) for c in through)
        assert max(d for *_, d in found.limit) == found.frames
        assert not any(found.offsets.values())
        assert runs(nodes, edges, mixing, found.frames, found.offsets)
        whole = search(nodes, edges, frozenset(nodes), offsets=False)
        assert not runs(nodes, edges, set(nodes), whole.frames + 1, whole.offsets)
        assert found.frames <= search(nodes, edges, mixing).frames


# ------------------------------------------------------------------------------------------ loops known by hand

def test_three_signals_that_all_read_each_other_go_one_frame_at_a_time():
    edges = tuple((u, v, 1) for u in range(3) for v in range(3) if u != v)
    found = search(range(3), edges, frozenset(range(3)))
    assert (found.bound, found.frames, found.exact) == (2, 1, True)


def test_colouring():
    """Every edge of an undirected graph as two reads of delay 2: D >= 3 iff three colours are enough."""
    def arcs(*pairs):
        return tuple((u, v, 2) for pair in pairs for u, v in (pair, pair[::-1]))
    ring = arcs(*((i, (i + 1) % 5) for i in range(5)))
    complete = arcs(*itertools.combinations(range(4), 2))
    assert search(range(5), ring, frozenset(range(5))).frames >= 3
    assert search(range(4), complete, frozenset(range(4))).frames == 2


def network(*equations):
    """Nodes over vectors of 3 units: (op, *reads), a read being a number or (number, delay)."""
    make = Builder()
    for op, *reads in equations:
        args = tuple(Read(*r) if isinstance(r, tuple) else Read(r) for r in reads)
        shape, domain = ((3, 3), "constant") if op == "param" else ((3,), "frame")
        make.add(Node(op, args, shape, domain=domain))
    return make.finish()


def lstm(delay):
    gates = [equation for k in range(4) for equation in [("matmul", 0, (17, delay)), ("add", 2 + 3 * k, 1),
                                                         ("tanh" if k == 3 else "sigmoid", 3 + 3 * k)]]
    return network(
        ("param",), ("input",), *gates,                             # 2-13: i 4, f 7, o 10, g 13
        ("mul", 4, 13), ("mul", 7, (16, delay)), ("add", 14, 15), ("mul", 10, 18), ("tanh", 16))


def only_loop(graph):
    (loop,) = loops(graph)
    return graph, loop


@pytest.mark.parametrize("delay", [1, 3, -1, -2])
def test_an_lstm_goes_as_many_frames_at_once_as_its_delay(delay):
    graph, loop = only_loop(lstm(delay))
    found = block(graph, loop)
    assert loop.direction == (1 if delay > 0 else -1)
    assert found.frames == found.bound == abs(delay)
    assert block(graph, loop, offsets=False).frames == abs(delay)
    assert sum(d for *_, d in found.limit) == delay and found.limit[0] in loop.edges


def test_a_product_with_a_far_frame():
    graph, loop = only_loop(network(("param",), ("matmul", 0, (2, 4)), ("tanh", 1)))
    assert block(graph, loop, offsets=False).frames == 4


def test_elementwise_cycles_do_not_count():
    """h = f * h[t-1] + tanh(U @ h[t-4])"""
    graph, loop = only_loop(network(("param",), ("input",), ("matmul", 0, (5, 4)), ("tanh", 2), ("mul", 1, (5, 1)),
                                    ("add", 4, 3)))
    assert block(graph, loop).frames == block(graph, loop, offsets=False).frames == 4
    assert sum(d for *_, d in block(graph, loop).limit) == 4


def test_the_nearer_of_two_products_decides():
    graph, loop = only_loop(network(("param",), ("matmul", 0, (4, 2)), ("matmul", 0, (4, 3)), ("add", 1, 2),
                                    ("tanh", 3)))
    assert block(graph, loop).frames == block(graph, loop, offsets=False).frames == 2


def test_two_signals_one_frame_apart_gain_from_an_offset():
    """a = tanh(U @ b[t-1]), b = tanh(V @ a[t-1]): one frame as written, two if b lags by one."""
    graph, loop = only_loop(network(("param",), ("matmul", 0, (4, 1)), ("tanh", 1), ("matmul", 0, (2, 1)), ("tanh", 3)))
    assert block(graph, loop, offsets=False).frames == 1
    assert block(graph, loop).frames == 2
    assert any(block(graph, loop).offsets.values())


def test_a_read_ahead_inside_a_loop_needs_an_offset_even_for_one_frame():
    """a = U @ b[t+1], b = tanh(a[t-2])"""
    graph, loop = only_loop(network(("param",), ("matmul", 0, (2, -1)), ("tanh", (1, 2))))
    found = block(graph, loop, offsets=False)
    assert found.needs_offsets and found.frames == 1 and found.offsets == {1: 1, 2: 0}
    assert block(graph, loop).frames == 1


def test_a_loop_without_mixing_has_no_bound():
    graph, loop = only_loop(network(("input",), ("mul", 0, (2, 1)), ("tanh", 1)))
    assert block(graph, loop) == Block(None, {1: 0, 2: 0}, False, None)


def test_a_search_that_is_cut_short_says_so(monkeypatch):
    edges = tuple((u, v, 2) for u in range(5) for v in range(5) if u != v)
    monkeypatch.setattr("rnnc.graph.blocks.SOLVES", 2)
    found = search(range(5), edges, frozenset(range(5)))
    assert not found.exact and found.frames >= 1
    assert runs(range(5), edges, set(range(5)), found.frames, found.offsets)
