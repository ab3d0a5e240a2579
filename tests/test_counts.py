"""The counting build: which products ran, how large, in which stage, and how often threads met; held against theory.

A product that several threads share is logged as their pieces. Theory speaks of whole products, so pieces are put
together again: inside a loop by the meetings that separate its steps, outside by their area, rows times columns.
"""

from collections import defaultdict
from dataclasses import dataclass
from math import ceil

import numpy as np
import pytest
from compare import compare, draw_data, force, net_of, set_params

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan import waves
from rnnc.plan.schedule import MOST_ROWS, Fold, Map, Sweep
from rnnc.target import build

BETWEEN = 1023                                 # RN_BETWEEN of runtime/base.h
T, B = 7, 5
CUTS = {512: "whole", 10: "chunks"}            # rows of a chunk: all of a call, or two frames


def between(made, frames: int, streams: int, crews: bool) -> int:
    """Meetings between stages: behind every stage of every chunk, of crews those of fine chunks, but for sums."""
    total = 0
    for step in made.steps:
        chunk, most = (-(-max(1, rows // streams) // step.frames) * step.frames for rows in (step.rows, MOST_ROWS))
        if step.fine:
            chunk = chunk // step.fine * step.fine or min(step.fine, most)
        chunk = chunk if step.rows else frames
        sums = sum(isinstance(made.stages[s], Fold) for s in step.stages)
        pieces = ceil(frames / (step.fine if crews and step.fine else chunk))
        total += (len(step.stages) - sums) * pieces + sums * ceil(frames / chunk)
    return total


@dataclass
class Piece:
    stage: int
    rows: int
    columns: int
    inner: int

    @property
    def area(self) -> int:
        return self.rows * self.columns

    @property
    def volume(self) -> int:
        return self.area * self.inner


@dataclass
class Log:
    """One call: the pieces of its products in order, the meetings of each stage, the stages of its schedule."""

    pieces: list[Piece]
    meetings: dict[int, int]
    stages: tuple
    threads: int

    def kind(self, kind) -> list[int]:
        return [number for number, stage in enumerate(self.stages) if isinstance(stage, kind)]

    def of(self, *stages: int) -> list[Piece]:
        return [p for p in self.pieces if p.stage in stages]

    def inside(self) -> list[Piece]:
        """Products that run inside a loop."""
        return self.of(*self.kind(Sweep))

    def outside(self) -> list[Piece]:
        return self.of(*self.kind(Map))

    def steps(self, stage: int) -> list[list[Piece]]:
        """The pieces of a loop, step by step: every thread logs one piece for each product of a step."""
        mine = self.of(stage)
        products = max(1, sum(len(gates) for _, gates in kernels_of(self.stages[stage])))
        each = products * self.threads
        assert len(mine) % each == 0
        return [mine[i:i + each] for i in range(0, len(mine), each)]


def kernels_of(sweep: Sweep) -> list[tuple]:
    """The kernels of a loop with their products: panels that add into the same gates are one, with the same guards."""
    return [(k, {(p.gates, p.guards) for p in k.panels}) for phase in sweep.phases for k, _ in phase.kernels
            if getattr(k, "panels", ())]


class Counted:
    def __init__(self, text: str):
        graph = pipeline.elaborated(Source("counted.rnn", text))
        self.net, self.graph = net_of(graph, counting=True), graph
        self.schedules = {name: pipeline.planned_and_checked(program, name) for name, program
                          in pipeline.programs(pipeline.forward(graph), "parameters").items()}

    def log(self, program: str, threads: int, frames: int = T, streams: int = B, plan: str = "together",
            **inputs) -> Log:
        net, data = self.net, draw_data(self.graph, 1, "float32", frames, streams)
        data.inputs |= inputs
        set_params(net, data)
        net.threads = threads
        force(net, plan)
        lib, ffi, prefix = net.module.lib, net.module.ffi, net.module.prefix
        count = lambda name, *args: getattr(lib, f"{prefix}_count_{name}")(*args)
        count("clear")
        if program == "run":
            net.run(**data.inputs)
        else:
            net.backprop(**data.inputs, **data.targets)
        size = ffi.new("long[3]")
        pieces = []
        for i in range(count("products")):
            stage = count("read", i, size, size + 1, size + 2)
            pieces.append(Piece(stage, *size))
        stages = self.schedules[program].stages
        met = {s: count("meetings", s) for s in (*range(len(stages)), BETWEEN)}
        assert met.pop(BETWEEN) == between(self.schedules[program], frames, streams, plan == "crews" and threads > 1)
        return Log(pieces, met, stages, threads)


MODEL = """
model counted(n = 20) {{
    input  x : [6]
    target y : [6]
    h = {layer}
    z = dense(6)(h)
    output z
    loss   mse(z, y)
}}
"""
LAYERS = {
    "lstm": "lstm(n)(x)",
    "sru": "sru(n)(dense(n)(x))",
    "gru": "gru(n)(x)",
    "both": "concat(lstm(n)(x), reversed(lstm(n))(x))",
    "late": "lstm(n)(lstm(n)(x)[t-3])",
    "wide": "lstm(100)(x)",
    "clockwork": "clockwork(32)(x)",
}
FOURTH = """
model counted(n = 20) {
    input  x : [6]
    target y : [20]
    param  W : [n, 6]
    param  U : [n, n]
    h = tanh(W @ x + U @ h[t-4])
    output h
    loss   mse(h, y)
}
"""
CLOCKED = """
model counted(n = 20) {
    input  x : [6]
    input  clock
    target y : [20]
    param  W : [n, 6]
    param  U : [n, n]
    h = where(clock > 0, tanh(W @ x + U @ h[t-1]), h[t-1])
    output h
    loss   mse(h, y)
}
"""
OWN = {"fourth": FOURTH, "clocked": CLOCKED}


@pytest.fixture(scope="module")
def nets():
    return {}


@pytest.fixture(params=[(1, 512), (2, 512), (3, 512), (1, 10), (2, 10)], ids=lambda p: f"{p[0]}threads-{CUTS[p[1]]}")
def setting(request):
    return request.param


@pytest.fixture
def threads(setting):
    return setting[0]


@pytest.fixture
def whole(setting):
    """Whether a call of T frames is done in one chunk."""
    return setting[1] == 512


@pytest.fixture
def counted(nets, setting, monkeypatch):
    """Nets by name, each built once for each way of cutting."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(waves, "ROWS", setting[1])
    monkeypatch.setattr(waves, "FEW", setting[1])
    monkeypatch.setattr(waves, "FINE", 1)
    monkeypatch.setattr(build, "FLAGS", tuple("-O1" if f == build.LEVEL else f for f in build.FLAGS))    # sooner built

    def get(name: str) -> Counted:
        if (name, setting[1]) not in nets:
            nets[name, setting[1]] = Counted(OWN[name] if name in OWN else MODEL.format(layer=LAYERS[name]))
        return nets[name, setting[1]]

    return get


def total(pieces: list[Piece], **sizes) -> int:
    """The area of all pieces with these sizes."""
    return sum(p.area for p in pieces if all(getattr(p, key) == value for key, value in sizes.items()))


# ------------------------------------------------------------------------------------------------ LSTM

def test_lstm_forward(counted, threads, whole):
    log = counted("lstm").log("run", threads)
    loop, = log.kind(Sweep)
    steps = log.steps(loop)
    assert len(steps) == T and log.meetings[loop] == T
    for step in steps:                                         # one product: four gates, B rows
        assert {p.inner for p in step} == {20} and total(step) == B * 4 * 20
    assert total(log.outside(), inner=6) == T * B * 4 * 20     # of x, all four gates, all frames at once
    assert total(log.outside(), inner=20) == T * B * 6         # the dense layer behind
    if threads == 1:
        assert [(p.rows, p.columns) for p in log.of(loop)] == [(B, 80)] * T
        for inner, columns in ((6, 80), (20, 6)):
            products = [p for p in log.outside() if p.inner == inner]
            assert {p.columns for p in products} == {columns} and sum(p.rows for p in products) == T * B
            assert len(products) == (1 if whole else ceil(T / 2))


def test_lstm_backward(counted, threads):
    log = counted("lstm").log("backprop", threads)
    forward, backward = log.kind(Sweep)
    for loop, columns, inner in ((forward, 80, 20), (backward, 20, 80)):
        steps = log.steps(loop)
        assert len(steps) == T and log.meetings[loop] == T
        assert all({p.inner for p in step} == {inner} and total(step) == B * columns for step in steps)
    if threads == 1:
        assert len(log.inside()) == 2 * T


@pytest.mark.parametrize("name", ["lstm", "gru", "sru", "both", "late", "fourth"])
def test_weight_gradients_are_sums_over_all_frames(counted, threads, whole, name):
    """Outside every loop; the inner sizes of each add up to T * B, and together they cover every matrix once."""
    log = counted(name).log("backprop", threads)
    sums = log.of(*log.kind(Fold))
    shapes = sorted(p.shape for p in counted(name).graph.params if len(p.shape) == 2)
    assert sum(p.volume for p in sums) == T * B * sum(rows * columns for rows, columns in shapes)
    if whole:
        assert {p.inner for p in sums if p.area} == {T * B}
    if threads == 1:
        inner = defaultdict(int)
        for p in sums:
            inner[p.rows, p.columns] += p.inner
        assert all(total % (T * B) == 0 for total in inner.values())
        if name == "lstm":
            assert inner == {shape: T * B * shapes.count(shape) for shape in shapes}
    assert not any(p.inner == T * B for p in log.inside())


def test_lstm_of_several_panels(counted, threads):
    """100 units: several blocks of vectors, the last one not full."""
    log = counted("wide").log("backprop", threads, frames=3, streams=17)
    forward, backward = log.kind(Sweep)
    assert [total(step) for step in log.steps(forward)] == [17 * 400] * 3
    assert [total(step) for step in log.steps(backward)] == [17 * 100] * 3
    assert log.meetings[forward] == log.meetings[backward] == 3


def test_one_frame_of_one_stream(counted, threads):
    log = counted("lstm").log("run", threads, frames=1, streams=1)
    loop, = log.kind(Sweep)
    assert [total(step) for step in log.steps(loop)] == [80]


# ------------------------------------------------------------------------------------------------ other loops

def test_sru_has_no_product_in_its_loop(counted, threads):
    for program in ("run", "backprop"):
        log = counted("sru").log(program, threads)
        loops = log.kind(Sweep)
        assert len(loops) == (1 if program == "run" else 2)
        assert log.inside() == [] and all(log.meetings[loop] == 0 for loop in loops)
        assert total(log.outside(), inner=20) >= T * B * 3 * 20


def test_gru_meets_twice(counted, threads):
    """Its reset gate must be known before the candidate's product."""
    log = counted("gru").log("run", threads)
    loop, = log.kind(Sweep)
    assert log.meetings[loop] == 2 * T
    assert [total(step) for step in log.steps(loop)] == [B * 60] * T


def test_both_directions(counted, threads):
    log = counted("both").log("backprop", threads)
    loops = log.kind(Sweep)
    assert sorted(log.stages[s].direction for s in loops) == [-1, -1, 1, 1]
    assert all(log.meetings[s] == T and len(log.steps(s)) == T for s in loops)
    assert total(log.outside(), inner=6) >= T * B * 160


@pytest.mark.parametrize("frames", [1, 3, 4, 5, 7, 8, 11])
def test_four_frames_at_once(counted, threads, frames):
    for program in ("run", "backprop"):
        log = counted("fourth").log(program, threads, frames)
        for loop in log.kind(Sweep):
            steps = log.steps(loop)
            assert len(steps) == log.meetings[loop] == ceil(frames / 4)
            expected = sorted([4] * (len(steps) - 1) + [frames % 4 or 4])      # one is ragged: the last frames' chunk
            assert sorted(total(s) for s in steps) == [k * B * 20 for k in expected]
            if threads == 1:
                assert sorted(p.rows for s in steps for p in s) == [k * B for k in expected]
        assert len(log.kind(Sweep)) == (1 if program == "run" else 2)
        assert total(log.outside(), inner=6) == frames * B * 20


def test_a_delay_between_loops(counted, threads):
    """The second layer reads the first three frames ago: its products with it are outside both loops."""
    log = counted("late").log("run", threads)
    first, second = log.kind(Sweep)
    assert all(total(step) == B * 80 for loop in (first, second) for step in log.steps(loop))
    assert total(log.outside(), inner=20) == T * B * (80 + 6)
    assert total(log.outside(), inner=6) == T * B * 80
    assert [log.meetings[loop] for loop in (first, second)] == [T, T]


# ------------------------------------------------------------------------------------------------ clocks

def test_slow_modules_of_a_clockwork(counted, threads):
    """Groups of 8 units with periods 1, 2, 4, 8; each sees itself and the slower ones. The first frame moves them all.
    Backwards the product of a group makes what it sees, in the frame before it moved."""
    frames, periods = 21, (1, 2, 4, 8)
    moves = [ceil(frames / period) for period in periods]
    for program in ("run", "backprop"):
        log = counted("clockwork").log(program, threads, frames)
        forward, *backward = log.kind(Sweep)
        for group, moved in enumerate(moves):
            sees = 32 - 8 * group
            assert sum(p.area for p in log.of(forward) if p.inner == sees) == moved * B * 8
        assert sum(p.volume for p in log.of(forward)) == B * sum(m * 8 * (32 - 8 * g) for g, m in enumerate(moves))
        for loop in backward:                                   # the first group's product, of a frame that follows
            volume = sum(m * 8 * (32 - 8 * g) for g, m in enumerate(moves))
            assert sum(p.volume for p in log.of(loop)) == B * volume
            summed = sum(m * 8 * (32 - 8 * g + 6) for g, m in enumerate(moves))
            dense = frames * 6 * 32                             # which is not slow
            assert sum(p.volume for p in log.of(*log.kind(Fold))) == B * (summed + dense)


def test_streams_that_move_at_their_own_times(counted, threads):
    """13 streams, blocks of rows 7 and 6 of them: a product of a block is left out where no stream of it moves."""
    clock = np.zeros((6, 13), np.float32)
    clock[1] = 1                               # all
    clock[3, 2], clock[4, 12] = 1, 1           # one of the first block, one of the second
    clock[5, [0, 11]] = 1                      # one of each
    blocks = 13 + 6 + 7 + 13
    log = counted("clocked").log("run", threads, 6, 13, clock=clock)
    loop, = log.kind(Sweep)
    assert total(log.of(loop)) == blocks * 20 and log.meetings[loop] == 6
    log = counted("clocked").log("backprop", threads, 6, 13, clock=clock)
    forward, backward = log.kind(Sweep)
    assert total(log.of(forward)) == blocks * 20
    assert total(log.of(backward)) == blocks * 20
    assert sum(p.volume for p in log.of(*log.kind(Fold))) == int(clock.sum()) * 20 * (20 + 6)
    assert total(counted("clocked").log("run", threads, 6, 13, clock=0 * clock).of(loop)) == 0


# ------------------------------------------------------------------------------------------------ other plans

def test_threads_that_take_streams_never_meet_in_a_loop(counted, threads):
    for program in ("run", "backprop"):
        log = counted("lstm").log(program, threads, streams=13, plan="streams")
        assert total(log.inside()) == T * 13 * sum(80 if log.stages[s].direction > 0 else 20 for s in log.kind(Sweep))
        assert all(log.meetings[s] == (0 if threads > 1 else T) for s in log.kind(Sweep))


def test_crews_do_what_all_together_do(counted, threads):
    """Both directions of a layer: the same products, and as many meetings, of fewer threads each."""
    for program in ("run", "backprop"):
        log, other = (counted("both").log(program, threads, plan=plan) for plan in ("together", "crews"))
        for s in log.kind(Sweep):
            assert total(other.of(s)) == total(log.of(s)) and other.meetings[s] == log.meetings[s]
            assert len(other.of(s)) * threads == len(log.of(s)) if threads == 2 else True
        assert total(other.outside()) == total(log.outside())


def test_the_numbers_are_right_across_the_delay():
    graph = pipeline.elaborated(Source("counted.rnn", MODEL.format(layer=LAYERS["late"])))
    assert compare(graph, "float32", 3, frames=9, streams=3)["ratio"] is not None
