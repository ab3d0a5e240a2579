"""What a schedule is: stages in order, each a loop or a time-parallel piece, made of kernels; and where values live.

A *kernel* computes a set of nodes for a run of rows (row = frame * streams + stream). There are two kinds, by what a
thread owns while it runs: a `UnitKernel` gives each thread a range of units (and is where products live), a
`RowKernel` gives each thread a range of rows. A *stage* says over which frames its kernels run and where threads meet:
`Map` (all frames, or all sequences, at once), `Sweep` (a loop, block by block), `Spans` (what is made of all frames of
a sequence), `Fold` (sums over frames or sequences), `Once` (constants that need a fold). A `Step` of the schedule runs
one stage over a range of chunks by one team: the plain planner emits one step per stage, all frames, everybody; teams,
chunks and waits are the fields a cleverer planner fills.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rnnc.graph.nodes import FRAME, Graph, Read
from rnnc.graph.ops.sparse import Pattern

if TYPE_CHECKING:                              # roles.py reads this file
    from rnnc.plan.roles import Roles

# ------------------------------------------------------------------------------------------------ products

@dataclass(frozen=True, order=True)
class Guard:
    """What it guards counts only in rows where `condition` is not zero (`holds` False: where it is zero)."""

    condition: Read
    holds: bool = True


@dataclass(frozen=True)
class Term:
    """One product of a gate: `matrix` (a constant node, possibly used transposed) times a row of `operand`. `guards`:
    in rows where not all of them hold it may be taken as zero."""

    matrix: int
    transposed: bool
    operand: Read
    inner: int                                 # how many numbers are summed
    pattern: Pattern | None = None             # of a sparse matrix: only what it stores is multiplied
    guards: tuple[Guard, ...] = ()

    def reads(self) -> list[Read]:
        return [self.operand, *(guard.condition for guard in self.guards)]


@dataclass(frozen=True)
class Gate:
    """A value made by products alone: the sum of its terms. `node` names it; `absorbed` are the nodes it stands for."""

    node: int
    terms: tuple[Term, ...]
    absorbed: tuple[int, ...] = ()

    def reads(self) -> list[Read]:
        """What has to be there before it."""
        return list(dict.fromkeys(read for term in self.terms for read in term.reads()))


@dataclass(frozen=True)
class Panel:
    """Gates of one kernel that share an operand: one packed matrix, at most four vectors wide."""

    operand: Read
    inner: int
    gates: tuple[int, ...]                     # positions in UnitKernel.gates
    matrices: tuple[tuple[int, bool], ...]     # (constant node, transposed), one per gate
    pattern: Pattern | None = None             # of a sparse matrix, which has a panel of its own
    guards: tuple[Guard, ...] = ()             # those of its terms


# ------------------------------------------------------------------------------------------------ kernels

@dataclass(frozen=True)
class UnitKernel:
    """Threads own units. For each row and each block of units: the panels' products, then the body in registers."""

    number: int
    width: int
    gates: tuple[Gate, ...]
    panels: tuple[Panel, ...]
    spread: int                                # blocks of units that a product takes at once; half with few registers
    body: tuple[int, ...]                      # elementwise nodes, in an order that can be computed
    stores: tuple[int, ...]                    # gates and body nodes that others read from memory
    ordered: bool = False                      # reads its own rows of the same block: all rows of a unit by one thread
    guards: tuple[Guard, ...] = ()             # only rows are computed in which all of these hold; others are zero

    @property
    def widest(self) -> int:
        """Gates of its widest panel; 1 if it has none."""
        return max((len(panel.gates) for panel in self.panels), default=1)


@dataclass(frozen=True)
class RowKernel:
    """Threads own rows. Any node, computed for one row after another, or (from `least` streams on; 0: never) with a row
    in every lane."""

    number: int
    body: tuple[int, ...]
    stores: tuple[int, ...]
    least: int = 0


Kernel = UnitKernel | RowKernel


# ------------------------------------------------------------------------------------------------ stages

@dataclass(frozen=True)
class Map:
    """Kernels over all rows at once; threads meet after the last. A row is a frame of a stream, or a sequence."""

    kernels: tuple[Kernel, ...]
    why: str = ""
    per: str = FRAME


@dataclass(frozen=True)
class Phase:
    """Kernels that need nothing from one another in this block; threads meet after it."""

    kernels: tuple[tuple[Kernel, int], ...]    # with the offset r: the kernel does frames [kD - r, kD - r + D)


@dataclass(frozen=True)
class Sweep:
    """A loop through time, `frames` (D) at a time. With `meets` False no unit or stream depends on another: each
    thread runs all of time on its own."""

    direction: int
    frames: int
    phases: tuple[Phase, ...]
    meets: bool
    why: str = ""


@dataclass(frozen=True)
class Spans:
    """Nodes that each see all frames of a sequence: threads own sequences, and units of these."""

    nodes: tuple[int, ...]


@dataclass(frozen=True)
class Fold:
    """Sums over frames and streams (or over sequences), each node with its own owner for every piece of its result."""

    nodes: tuple[int, ...]
    per: str = FRAME


@dataclass(frozen=True)
class Once:
    """Constants that wait for a fold: one thread computes them, in this order."""

    kernel: RowKernel


Stage = Map | Sweep | Spans | Fold | Once


def kernels_of(stage: Stage) -> list[Kernel]:
    """In the order in which they run; none of sums and of what is made of whole sequences."""
    match stage:
        case Map(kernels=kernels):
            return list(kernels)
        case Sweep(phases=phases):
            return [kernel for phase in phases for kernel, _ in phase.kernels]
        case Once(kernel=kernel):
            return [kernel]
    return []


def nodes_of(kernel: Kernel) -> list[int]:
    """What a kernel computes, in order."""
    return [*(gate.node for gate in getattr(kernel, "gates", ())), *kernel.body]


MOST_ROWS = 512                                # of a chunk, about (RN_MOST_ROWS)


@dataclass(frozen=True)
class Step:
    """One entry of the plan: `stages` go through the call together in `direction`, in chunks of about `rows` rows and a
    multiple of `frames` frames (rows 0: in one piece). With `fine`, crews go by finer chunks of so many frames, up to
    four times as many in long calls, so that one can follow another closely; sums take a whole chunk at once."""

    stages: tuple[int, ...]
    direction: int = 1
    rows: int = 0
    frames: int = 1
    margin: int = 0                            # frames before a chunk that values kept for one chunk still hold
    fine: int = 0

    def chunk(self, streams: int) -> int:
        """Rows of a chunk; 0: all (rn_whole_chunk)."""
        return max(self.rows, min(self.fine * streams, MOST_ROWS))


# ------------------------------------------------------------------------------------------------ memory

@dataclass(frozen=True)
class Buffer:
    """Where the value of a node lives: one padded row per frame and stream, or per sequence, in `slot` of the
    workspace, or in the caller's own array (`place` "input", "output", "state"). There are never more sequences than
    frames of streams, so a slot has room for either."""

    node: int
    name: str
    place: str                                 # "work" | "input" | "import" | "output"
    slot: int | None = None
    ring: int | None = None                    # frames kept (a power of two); None: see near
    near: int | None = None                    # kept for a chunk of this step; None: every frame of the call


@dataclass(frozen=True)
class Schedule:
    """A program: its graph, its stages and steps, the early constants that it reads, the places of its values."""

    program: str                               # its name: run, evaluate, backprop, ...
    graph: Graph
    stages: tuple[Stage, ...]
    steps: tuple[Step, ...]
    buffers: dict[int, Buffer] = field(default_factory=dict)
    slots: tuple[tuple[str, int], ...] = ()    # of each slot: what a row is (rows, scalar, int, ring), its numbers
    views: dict[int, tuple[Read, int]] = field(default_factory=dict)   # node -> (base, offset in numbers)
    role: "Roles | None" = None                # what each node is to the planner (roles.py)

    def kernels(self) -> list[Kernel]:
        return [kernel for stage in self.stages for kernel in kernels_of(stage)]
