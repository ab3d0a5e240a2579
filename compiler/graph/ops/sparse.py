"""Matrices of which most entries are zero for good: where the others stand, and how they get there.

scatter(v; pattern) is the matrix [n, m] with the stored numbers v [n, kept] in their places and zeros elsewhere;
gather(a; pattern) takes the stored numbers out of a matrix, and is its derivative; fold_sparse(a, b; pattern) is the
sum over frames of a b', of which only the stored places are computed. What is stored comes in blocks of BLOCK rows by
one column, as many in each row of blocks; so row r holds v[r, j] in column table[r // BLOCK, j]. The columns follow
from the parameter's path, its sizes and the share that is zero. Of a family each matrix has columns of its own; the
operators know single matrices only.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from rnnc.graph.nodes import REAL
from rnnc.graph.ops.op import FOLD, MIXING, Op, need, need_kinds, row
from rnnc.graph.ops.random import site_number, threefry

BLOCK = 16                                     # rows of a block: what one vector of the widest target holds


@dataclass(frozen=True)
class Pattern:
    """Which entries of a parameter are stored: `kept` of `columns` in every block of rows. `family`: the axes in front,
    of a family of matrices."""

    path: str
    rows: int
    columns: int
    kept: int
    family: tuple[int, ...] = ()

    @property
    def stored(self) -> tuple[int, ...]:
        return *self.family, self.rows, self.kept

    @property
    def whole(self) -> tuple[int, ...]:
        return *self.family, self.rows, self.columns

    def member(self, index: tuple[int, ...]) -> "Pattern":
        """Of one matrix of a family."""
        return replace(self, path="".join([self.path, *(f"[{i}]" for i in index)]), family=())

    @property
    def blocks(self) -> int:
        """Rows of blocks; the last one may have less than BLOCK rows."""
        return -(-self.rows // BLOCK)

    @property
    def table(self) -> np.ndarray:
        """The columns kept in each row of blocks [(family,) blocks, kept], ascending."""
        tables = [_table(self.member(index)) for index in np.ndindex(self.family)]
        return np.reshape(tables, (*self.family, self.blocks, self.kept))

    @property
    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the stored numbers in a single matrix."""
        rows = np.arange(self.rows)
        return rows[:, None], self.table[rows // BLOCK]

    def __str__(self) -> str:
        return f"{self.kept} of {self.columns}"


@lru_cache(maxsize=256)
def _table(pattern: Pattern) -> np.ndarray:
    """In each row of blocks, the columns whose words are the smallest; each word depends on path, block and column."""
    place = np.meshgrid(np.arange(pattern.blocks), np.arange(pattern.columns), indexing="ij")
    words = threefry((site_number(pattern.path), 0x5eed), place)[0]
    chosen = np.argsort(words, axis=1, kind="stable")[:, :pattern.kept]
    return np.sort(chosen, axis=1).astype(np.int32)


def pattern_of(path: str, shape: tuple[int, ...], share: float) -> Pattern:
    """`share`: of the entries that are zero; at least one column is kept."""
    *family, rows, columns = shape
    return Pattern(path, rows, columns, max(1, columns - round(share * columns)), tuple(family))


def _scatter_shape(args, attrs, shape):
    need_kinds("scatter", args, REAL)
    pattern = attrs["pattern"]
    need(args[0].shape == pattern.stored, f"scatter of {list(args[0].shape)} as {pattern}")
    return (pattern.rows, pattern.columns), REAL


def _gather_shape(args, attrs, shape):
    need_kinds("gather", args, REAL)
    pattern = attrs["pattern"]
    need(args[0].shape == (pattern.rows, pattern.columns), f"gather from {list(args[0].shape)} of {pattern}")
    return pattern.stored, REAL


def _fold_shape(args, attrs, shape):
    need_kinds("fold_sparse", args, REAL, REAL)
    pattern = attrs["pattern"]
    need((args[0].shape, args[1].shape) == ((pattern.rows,), (pattern.columns,)), f"fold_sparse into {pattern}")
    return pattern.stored, REAL


def _scatter(node, v):
    pattern = node.attr("pattern")
    matrix = np.zeros((len(v), pattern.rows, pattern.columns), v.dtype)
    matrix[:, *pattern.places] = v
    return matrix


def _gather(node, a):
    return a[:, *node.attr("pattern").places]


row(Op("scatter", MIXING, 1, _scatter_shape, _scatter, (lambda c, up: up("gather", pattern=c.attr("pattern")),)))
row(Op("gather", MIXING, 1, _gather_shape, _gather, (lambda c, up: up("scatter", pattern=c.attr("pattern")),)))
row(Op("fold_sparse", FOLD, 2, _fold_shape,
       lambda node, a, b: _gather(node, np.einsum("ti,tj->ij", a, b)[None]),
       (lambda c, up: up("scatter", pattern=c.attr("pattern"))("matmul", c.b),
        lambda c, up: up("scatter", pattern=c.attr("pattern"))("matmul", c.a, ta=True))))
