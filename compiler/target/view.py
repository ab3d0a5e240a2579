"""What the templates see: frozen records whose fields are final strings, numbers and yes/no answers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PanelView:
    """One packed matrix of a unit kernel: `sums` is the buffer that its products go to."""

    call: str                                  # the product for the units of panel p as C, up to its rows
    size: int                                  # bytes of one panel, of vectors of 64
    inner: int
    vectors: str                               # of its sums, for a row
    rows: str                                  # the array of row pointers
    sums: str
    add: int                                   # 1: add to what `sums` holds
    on: str = ""                               # of a guarded one: whether it counts in any row of a block


@dataclass(frozen=True)
class RowPointer:
    """An array of pointers to one operand's rows, or one pointer: its name and the address of row r."""

    name: str
    kind: str                                  # "real" | "int32_t"
    address: str


@dataclass(frozen=True)
class GuardView:
    """A guard of a kernel: a variable that says whether row r counts, or any row of a block."""

    name: str
    holds: str                                 # the answer for row r, as C


@dataclass(frozen=True)
class ProductView:
    """What the counting build logs of a kernel: one product, its columns and inner size."""

    columns: int
    inner: int
    on: str = ""                               # of a guarded one: its guard


@dataclass(frozen=True)
class AloneView:
    """How a kernel goes through time by itself, frame by frame: a loop in which threads do not meet."""

    backwards: bool
    turns: tuple[str, ...]                     # statements before the first frame, about rings
    moves: tuple[str, ...]                     # and as row `frame` begins a frame
    fits: str = ""                             # when values stay in registers from frame to frame, as C; "": never
    kept: tuple[str, ...] = ()                 # then: their declarations, as row r is about to be the first,
    statements: tuple[str, ...] = ()           # and the statements of row r
    streams: bool = False                      # these are of n streams at once, a row in every lane


@dataclass(frozen=True)
class UnitView:
    name: str
    title: str
    lines: str                                 # which equations, by file and line
    width: int
    vectors: str                               # of the widest product, as C
    at_once: str                               # panels that a product takes at once, as C; "": one
    group: int                                 # panels that stay in the second-level cache together
    backwards: bool
    panels: tuple[PanelView, ...]
    operands: tuple[RowPointer, ...]           # rows of products
    pointers: tuple[RowPointer, ...]           # rows of elementwise operands
    targets: tuple[RowPointer, ...]            # rows that are written
    rows_by_number: bool                       # some statement finds its row by number
    sums: tuple[tuple[str, str], ...]          # buffers of sums and their vectors
    constants: tuple[str, ...]                 # statements before any row
    scalars: tuple[str, ...]                   # statements of a row
    statements: tuple[str, ...]                # statements of a vector of units
    stage: int
    products: tuple[ProductView, ...] = ()     # for the counting build
    guards: tuple[GuardView, ...] = ()
    picked: str = ""                           # which rows are computed, as C; empty: all
    left: tuple[str, ...] = ()                 # rows that are zero where that does not hold
    fetched: tuple[str, ...] = ()              # statements that ask beforehand for what the equations of a row touch
    fetched_by_number: bool = False
    asked: tuple[str, ...] = ()                # statements that ask for the rows of products, made by other threads
    next: str = ""                             # the panel that is asked for while one is at work, as C; empty: none
    alone: AloneView | None = None


@dataclass(frozen=True)
class RowView:
    name: str
    title: str
    lines: str
    constants: tuple[str, ...]
    statements: tuple[str, ...]
    stage: int = 0
    products: tuple[ProductView, ...] = ()     # likewise
    guards: tuple[GuardView, ...] = ()
    alone: AloneView | None = None
    lanes: bool = False                        # the statements are of n rows from r on, a row in every lane
    instead: "RowView | None" = None           # the same so, for calls of many streams:
    least: int = 1                             # at least so many


@dataclass(frozen=True)
class Call:
    """One kernel inside a stage: how its work is divided, and the call."""

    name: str
    offset: int
    blocks: str                                # number of row blocks as C, given `rows`
    panels: str                                # number of unit panels as C
    stage: int
    split: str = "rn_split"                    # how: rn_split_units where rows are not dealt out


@dataclass(frozen=True)
class StageView:
    name: str
    title: str
    kind: str                                  # "map" | "sweep" | "alone" | "fold" | "once"
    frames: int
    direction: int
    reach: int                                 # the largest offset
    phases: tuple[tuple[Call, ...], ...]
    statements: tuple[str, ...]
    number: int
    by_streams: bool = False                   # a loop whose threads may take streams


@dataclass(frozen=True)
class Turn:
    """One stage in the list that threads walk: its function, its number, and how much it waits for."""

    name: str
    number: int
    table: str                                 # of what it needs
    needs: int                                 # entries of that table
    fold: bool = False                         # a sum: of whole chunks where crews go by finer ones
    part: str = ""                             # of a call in segments (plan/parts.py), as C; "": of every call


@dataclass(frozen=True)
class StepView:
    """Stage functions that go through the call together, in chunks of about `rows` rows (0: in one piece)."""

    stages: tuple[Turn, ...]
    direction: int
    rows: int
    frames: int                                # a chunk is a multiple of this many
    fine: int = 0                              # frames of a finer chunk, for crews; sums take several; 0: none
