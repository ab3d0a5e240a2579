"""What a schedule costs: operations, bytes, meetings, and the time they take on a machine, for a T, B and threads.

In: a schedule, a shape of call, a `Machine`. Out: `Cost`, stage by stage. The one idea: follow the slowest thread. It
gets whole panels or whole row blocks (as `rn_split` deals them); a tile takes as long as its arithmetic or as reading
its panel, whichever is longer; equations add their own time; whoever is done waits at the meeting.
"""

from dataclasses import dataclass, replace
from math import ceil, inf, log2, prod

from rnnc.graph.chunkwise import CHUNKED
from rnnc.graph.kinds import in_lanes
from rnnc.graph.nodes import FRAME, SEQUENCE, Graph
from rnnc.plan.asked import axes, chunk_of, in_chunks
from rnnc.plan.few import TURNED, statements
from rnnc.plan.guards import FUNCTIONS, share
from rnnc.plan.machine import Machine
from rnnc.plan.schedule import Fold, Kernel, Map, Once, Panel, RowKernel, Schedule, Spans, Sweep, UnitKernel, kernels_of
from rnnc.plan.storage import bytes_of, stored_as

# Elementwise operators that cost some additions; others but FUNCTIONS cost one.
SLOW = {"div": 6, "sqrt": 6, "mod": 8, "floor": 2, "where": 2, "quantize": 12}
FREE = frozenset("slice reshape column broadcast identity stop_gradient real".split())
GROUP = 384 << 10                              # bytes of panels that meet all row blocks before the next ones do
INLINE = 0.3                                   # share of what surrounds a tile that is left around one of one row
LOOSE = 0.15                                   # share of a tile's speed that products of a row kernel reach
SHORT = 0.6                                    # the share that products of a chunk of frames reach
MAKING = 1.3                                   # rows that a tile could do while it makes numbers of bytes (int8.h)
# In rows touched: a call beside its stages, and a vector that is given or asked for; a row that becomes one number; an
# equation, a load or a store of numbers of a vector of rows, and one step of finding what frames hand on (scan.h).
BESIDE, COPIED, REDUCED, TOGETHER, SCANNED = 1, 1, 5, 1.1, 0.25
ENDLESS = 1 << 20                              # as many threads as could be of any use


def terms(graph: Graph, n: int) -> int:
    """Of the sum that each number of a product is: the root of (m k) (k n) / (m n), where a vector's n is 1."""
    node = graph[n]
    return max(1, round((prod(graph[read.node].size for read in node.args) / node.size) ** 0.5))


@dataclass(frozen=True)
class StageCost:
    """One stage over the whole call. Operations and bytes are of all threads together, seconds of the slowest."""

    stage: int
    steps: int                                 # that must follow one another
    meetings: int
    products: float                            # operations of matrix products (a multiply-add is two)
    equations: float                           # numbers made by equations, times their operators
    functions: float                           # of these, the ones made by tanh and its kin
    weights: float                             # bytes of matrices that one step reads
    values: float                              # bytes of signals read and written
    seconds: float
    arithmetic: float                          # parts of `seconds`: tiles bound by arithmetic,
    reading: float                             # tiles bound by reading their matrix,
    elementwise: float                         # equations,
    waiting: float                             # meetings and the work around a kernel
    level: str                                 # which memory holds a thread's share of the matrices

    @property
    def limit(self) -> str:
        parts = {"arithmetic": self.arithmetic, f"reading matrices from {self.level}": self.reading,
                 "equations": self.elementwise, "meetings and overhead": self.waiting}
        return max(parts, key=parts.get)


@dataclass(frozen=True)
class Cost:
    """Of one call."""

    frames: int
    streams: int
    threads: int
    stages: tuple[StageCost, ...]
    overhead: float                            # seconds of the call itself

    @property
    def seconds(self) -> float:
        return self.overhead + sum(s.seconds for s in self.stages)

    def total(self, what: str) -> float:
        return sum(getattr(s, what) for s in self.stages)


@dataclass
class Work:
    """Of one kernel over some rows: all threads' operations and bytes, the slowest thread's seconds."""

    products: float = 0
    equations: float = 0
    functions: float = 0
    weights: float = 0
    values: float = 0
    arithmetic: float = 0
    reading: float = 0
    elementwise: float = 0
    waiting: float = 0

    def add(self, other: "Work", times: float = 1) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value * times)


def cost(made: Schedule, frames: int, streams: int, threads: int, machine: Machine, number: int = 4) -> Cost:
    """`number`: bytes of a number. No packing of weights: it is paid once, after they change."""
    return Costs(made, frames, streams, threads, machine, number).all()


def least(made: Schedule, frames: int, streams: int, machine: Machine, number: int = 4) -> Cost:
    """The critical path: as many threads as could be of use, that meet for free and hold their matrices in L1."""
    free = replace(machine, meeting=0.0, region=0.0, call=0.0, begin=0.0, row=0.0, touch=0.0, memory=inf)
    return cost(made, frames, streams, ENDLESS, free, number)


class Costs:
    """The run of one question."""

    def __init__(self, made: Schedule, frames: int, streams: int, threads: int, machine: Machine, number: int):
        self.made, self.graph = made, made.graph
        self.frames, self.streams, self.threads, self.machine = frames, streams, threads, machine
        self.number = number
        self.lanes = max(1, machine.lanes * 4 // number)
        self.slow = number / 4                                  # float64 goes at half the speed
        self.step_of = {s: step for step in made.steps for s in step.stages}

    def all(self) -> Cost:
        found = tuple(self.stage(i, stage) for i, stage in enumerate(self.made.stages))
        region = self.machine.region if self.threads > 1 else 0.0
        outside = [n.shape for n in self.graph.nodes if n.op == "input"]
        outside += [self.graph[n].shape for n in self.graph.outputs.values()]
        rows = self.frames * self.streams
        around = (BESIDE + COPIED * sum(map(bool, outside))) * self.machine.touch * rows
        return Cost(self.frames, self.streams, self.threads, found, region + around)

    # -------------------------------------------------------------------------------------------- stages

    def stage(self, number: int, stage) -> StageCost:
        rows = self.frames * self.streams
        if getattr(stage, "per", FRAME) == SEQUENCE:            # taken to be one in each stream
            rows = self.streams
        step = self.step_of.get(number)
        chunk = min(rows, step.chunk(self.streams)) if step and step.rows else rows
        chunks = ceil(rows / max(1, chunk))
        work, steps, meetings, resident = Work(), 1, chunks, 0.0
        match stage:
            case Map(kernels=kernels):
                resident = sum(self.share(k, chunk) * self.bytes_of(k) for k in kernels)
                for kernel in kernels:
                    work.add(self.kernel(kernel, chunk, resident, chunk), rows / chunk)
            case Sweep(frames=block, phases=phases, meets=meets):
                kernels = [pair for phase in phases for pair in phase.kernels]
                reach = max((offset for _, offset in kernels), default=0)
                steps = ceil((self.frames + reach) / block)
                at_once = min(block, self.frames) * self.streams
                resident = sum(self.share(k, at_once) * self.bytes_of(k) for k, _ in kernels)
                for kernel, _ in kernels:
                    if meets:
                        work.add(self.kernel(kernel, at_once, resident, chunk), rows / at_once)
                    else:
                        work.add(self.alone(kernel, chunk), self.frames)
                        steps = ceil(self.frames / (self.lanes if self.in_lanes(kernel) else 1))
                meetings = steps * len(phases) + chunks if meets else chunks
                steps *= len(phases)
            case Fold(nodes=nodes):
                for n in nodes:
                    work.add(self.fold(n, rows, chunk, chunks))
            case Spans(nodes=nodes):
                for n in nodes:
                    work.add(self.span(n, rows))
                    steps = max(steps, ceil(self.frames / chunk_of(self.graph, n)) * (self.graph[n].op in CHUNKED))
            case Once(kernel=kernel):
                work.add(self.numbers(kernel.body, 1, 1, 0, kernel.stores))
        meet = self.machine.meeting * ceil(log2(self.threads)) if self.threads > 1 else 0.0
        work.waiting += meetings * meet
        weights = sum(self.bytes_of(k) for k in kernels_of(stage))
        seconds = work.arithmetic + work.reading + work.elementwise + work.waiting
        return StageCost(number, steps, meetings if self.threads > 1 else 0, work.products, work.equations,
                         work.functions, weights, work.values, seconds, work.arithmetic, work.reading,
                         work.elementwise, work.waiting, self.machine.level(resident, self.used(resident)))

    def used(self, _: float = 0) -> int:
        """Cores that share what is shared: no more than any machine has."""
        return min(self.threads, 256)

    # -------------------------------------------------------------------------------------------- kernels

    def bytes_of(self, kernel: Kernel) -> float:
        """A kernel's packed matrices."""
        if isinstance(kernel, RowKernel):
            return 0.0
        return float(sum(self.panel(p) for p in kernel.panels) * ceil(kernel.width / self.lanes))

    def panel(self, panel: Panel) -> int:
        """Bytes of one panel that is a vector of units wide."""
        return panel.inner * len(panel.gates) * self.lanes * bytes_of(self.graph, panel, self.number)

    def tiles(self, kernel: UnitKernel, rows: int) -> tuple[int, int, int]:
        """Row blocks and panels of a kernel, and the rows that a block may have."""
        most = self.machine.most_rows(self.vectors(kernel)) if kernel.panels else 1
        blocks = 1 if kernel.ordered else ceil(rows / most)
        return blocks, ceil(kernel.width / self.lanes), most

    def vectors(self, kernel: UnitKernel) -> int:
        """Of its widest product."""
        return self.machine.at_once if kernel.spread > 1 else kernel.widest

    def dealt(self, kernel: UnitKernel, rows: int) -> tuple[int, int]:
        """Row blocks and panels of the thread that has most: the rule of rn_split."""
        blocks, panels, _ = self.tiles(kernel, rows)
        n = self.threads
        if n == 1:
            return blocks, panels
        if n == ENDLESS and kernel.panels:
            return 1, 1
        if panels >= 8 * n or panels >= n and (panels % n == 0 or blocks < n) or panels >= blocks and blocks < n:
            return blocks, ceil(panels / n)
        return ceil(blocks / n), panels

    def share(self, kernel: Kernel, rows: int) -> float:
        """The part of a kernel's matrices that one thread reads."""
        if isinstance(kernel, RowKernel):
            return 0.0
        return self.dealt(kernel, rows)[1] / self.tiles(kernel, rows)[1]

    def kernel(self, kernel: Kernel, rows: int, resident: float, chunk: int, inlined: bool = False) -> Work:
        """One run of a kernel over `rows` rows; its values are shared with a chunk of `chunk` rows. `inlined`: one run
        follows another without a call."""
        if isinstance(kernel, RowKernel):
            mine = ceil(rows / min(self.threads, rows))
            return self.numbers(kernel.body, rows, mine, chunk, kernel.stores, None, self.rows_in_lanes(kernel))
        rows = max(1, round(rows * share(self.graph, kernel.guards)))       # streams are taken to be in phase
        blocks, panels, _ = self.tiles(kernel, rows)
        my_blocks, my_panels = self.dealt(kernel, rows)
        per_block = rows / blocks
        mine = max(1.0, rows * my_blocks / blocks) * min(kernel.width, my_panels * self.lanes)
        done = self.numbers(kernel.body, rows, mine / kernel.width, chunk, kernel.stores, kernel)
        at_once = self.vectors(kernel) // kernel.widest
        products = my_panels / at_once
        for panel in kernel.panels:
            vectors = len(panel.gates) * at_once
            size = self.panel(panel) * at_once
            part = share(self.graph, panel.guards)
            operations = 2.0 * panel.inner * vectors * self.lanes * per_block
            compute = operations / self.machine.tile(vectors, per_block) * self.slow
            if stored_as(self.graph, panel) == "int8":
                compute *= 1 + MAKING / per_block
            first = size / self.machine.rate(resident, self.used())
            again = size / self.machine.rate(min(resident, max(size, GROUP)), self.used())
            for seconds, times in ((first, products), (again, products * (my_blocks - 1))):
                if seconds > compute:
                    done.reading += part * times * seconds
                else:
                    done.arithmetic += part * times * compute
            begin = self.machine.begin * (1 if per_block > 1 else INLINE)
            done.waiting += begin * ceil(products) * my_blocks
            done.products += part * 2.0 * panel.inner * len(panel.gates) * kernel.width * rows
            done.weights += part * self.panel(panel) * blocks * panels
        pointers = len(kernel.stores) + len(kernel.panels) + 2
        largest = max((self.panel(p) * at_once for p in kernel.panels), default=GROUP)
        groups = ceil(products / max(1, GROUP // largest))     # rows are found anew for each group of panels
        each = self.machine.touch if inlined else self.machine.row
        done.waiting += self.machine.call * (not inlined) + each * pointers * my_blocks * per_block * groups
        return done

    def alone(self, kernel: Kernel, chunk: int) -> Work:
        """One frame of a loop whose threads never meet. One stream of linear numbers has a vector of frames at once."""
        if isinstance(kernel, RowKernel):
            mine, handed = ceil(self.streams / min(self.threads, self.streams)), self.in_lanes(kernel)
            lanes = self.rows_in_lanes(kernel)
            if lanes and not handed:
                mine = ceil(mine / self.lanes) * self.lanes
            done = self.numbers(kernel.body, self.streams, mine, chunk, kernel.stores, None, lanes)
            if handed:
                done.waiting += SCANNED * self.machine.touch * handed * (handed + 1) * log2(self.lanes) / self.lanes
            return done
        return self.kernel(kernel, self.streams, 0.0, chunk, inlined=True)

    def in_lanes(self, kernel: Kernel) -> int:
        """How many numbers a frame hands on of a loop that goes by vectors of frames; 0: it does not."""
        return in_lanes(self.graph, kernel.body) if self.streams == 1 else 0

    def rows_in_lanes(self, kernel: RowKernel) -> bool:
        """Whether each entry of its values is a vector of rows."""
        return 0 < kernel.least <= max(2, self.streams)

    # -------------------------------------------------------------------------------------------- equations

    def numbers(self, body, rows: float, mine: float, chunk: int, stores, kernel=None, lanes: bool = False) -> Work:
        """Equations over `rows` rows, of which the slowest thread has `mine`; `lanes`: a row is in every lane."""
        graph, done = self.graph, Work()
        loaded = set()
        here = set(body) | ({g.node for g in kernel.gates} if kernel else set())
        seconds = 0.0
        for n in body:
            node = graph[n]
            if node.op in FREE:
                continue
            size = node.size
            if node.op in ("matmul", "outer"):
                inner = terms(self.graph, n)
                done.products += 2.0 * inner * size * rows
                seconds += inner * size * self.machine.plain * self.slow if lanes else \
                    2.0 * inner * size / (self.machine.tile(1, 4) * LOOSE) * self.slow
                continue
            size = max([size, *(graph[r.node].size for r in node.args if graph[r.node].domain == FRAME)])
            padded = ceil(size / self.lanes) * self.lanes if size > 1 and not lanes else size
            if node.op in FUNCTIONS:
                done.functions += size * rows
                seconds += padded * self.machine.function * self.slow
            else:
                seconds += padded * self.machine.plain * SLOW.get(node.op, 1) * self.slow
            done.equations += size * rows
            loaded |= {r for r in node.args if graph[r.node].domain == FRAME and r.node not in here or r.delay}
        moved = sum(graph[r.node].size for r in loaded) + sum(graph[n].size for n in stores)
        done.values = moved * rows * self.number
        rate = self.machine.rate(moved * self.number * chunk * mine / max(rows, 1), self.used())
        done.elementwise = mine * (seconds + moved * self.number / rate)
        if lanes:
            turned = (2 * TURNED if rows > 1 else 1) * (moved - len(loaded) - len(stores))
            made = len(loaded) + len(stores) + sum(statements(graph, n) for n in body) + turned
            done.waiting += TOGETHER * self.machine.touch * mine / self.lanes * made
        elif kernel is None:
            reduced = sum(not graph[n].shape and any(graph[r.node].shape for r in graph[n].args) for n in body)
            done.waiting += mine * self.machine.touch * (len(loaded) + len(stores) + REDUCED * reduced)
        return done

    def span(self, n: int, rows: int) -> Work:
        """All frames of each sequence are read once: threads own sequences, and units of these. CTC takes streams one
        by one, a few functions for each frame and label; its lists are taken to be a quarter as long as a sequence."""
        node, done = self.graph[n], Work()
        if node.op in CHUNKED:
            return self.attended(n, rows)
        size = self.graph[node.args[0].node].size
        pieces = self.streams * (1 if node.op.startswith("ctc") else ceil(size / (4 * self.lanes)))
        part = ceil(pieces / self.threads) / pieces
        done.values = float(size * rows * self.number)
        done.equations = float(size * rows)
        each = self.machine.plain * size * self.slow
        if node.op.startswith("ctc"):
            states = self.frames / 2
            done.functions = (size + 3 * states) * rows * (3 if node.op == "ctc_slope" else 1)
            each = done.functions / rows * 20 * self.machine.function          # one by one, in double precision
        elif node.op == "span_logsumexp":
            done.functions = float(size * rows)
            each += self.machine.function * ceil(size / self.lanes) * self.lanes * self.slow
        done.elementwise = part * (done.values / self.machine.rate(done.values * part, self.used()) + each * rows)
        return done

    def attended(self, n: int, rows: int) -> Work:
        """Questions to a matrix in chunks: threads own columns of it. Products of this size go at a part of a tile's
        speed."""
        node, done = self.graph[n], Work()
        u, w = axes(self.graph, n)
        shared = node.op == "pair" and node.attr("along") is None
        pieces = self.streams * (1 if shared else ceil(u / (2 * self.lanes)))
        part = ceil(pieces / self.threads) / pieces
        done.values = float((2 * w + 2 * u) * rows * self.number)
        done.products = in_chunks(self.graph, n, self.frames) * rows
        done.arithmetic = done.products * part / (SHORT * self.machine.tile(2, 8)) * self.slow
        done.elementwise = part * done.values / self.machine.rate(done.values * part, self.used())
        return done

    def fold(self, n: int, rows: int, chunk: int, chunks: int) -> Work:
        """A sum over frames: threads own pieces of the result."""
        graph, node, done = self.graph, self.graph[n], Work()
        rows *= share(graph, self.made.role.guards.of(n, product=True))
        sizes = [graph[r.node].size for r in node.args]
        done.values = float(sum(sizes) * rows * self.number)
        near = self.machine.rate(min(rows, chunk) * sum(sizes) * self.number, self.used())
        if node.op == "fold_sparse":           # one column at a time, of as many as are stored
            part = 1 / min(self.threads, node.attr("pattern").blocks)
            done.products = 2.0 * node.size * rows
            done.arithmetic = done.products * part / self.machine.tile(1, 8) * self.slow
            done.elementwise = (sizes[0] + sizes[1]) * part * rows * self.number / near
        elif node.op == "fold_outer":
            width = node.shape[0]
            pieces = ceil(width / (self.lanes * 4))
            part = ceil(pieces / self.threads) / pieces
            done.products = 2.0 * terms(self.graph, n) * node.size * rows
            speed = self.machine.tile(4, self.machine.most_rows(4)) * min(1.0, width / (pieces * self.lanes * 4))
            done.arithmetic = done.products * part / speed * self.slow
            kept = float(node.size * self.number)
            done.reading = 2 * kept * part * chunks / self.machine.rate(kept * part, self.used())
            # The deltas are packed first, and every strip of the other operand is read for each piece.
            done.elementwise = (3 * sizes[0] * part + sizes[1]) * rows * self.number / near
        else:
            part = 1 / min(self.threads, max(1, ceil(sizes[0] / self.lanes)))
            done.equations = float(sizes[0] * rows)
            done.elementwise = part * (done.values / near + sizes[0] * rows * self.machine.plain * self.slow)
            done.waiting = rows * self.machine.touch / (self.lanes if node.size == 1 else 1)
        return done
