"""Sparse parameters as a user sees them: the numbers that are stored, and where they stand, which cannot be changed."""

import numpy as np

from rnnc.errors import InputError

BLOCK = 16                                     # rows of a block, as in the C


class Sparse(np.ndarray):
    """The stored numbers of a sparse matrix, an array [rows, kept]: row r holds `values[r, j]` in column
    `pattern[r // 16, j]`, and zeros elsewhere. Those of a family have its axis in front, the pattern too."""

    def __array_finalize__(self, other) -> None:
        self._entry = getattr(other, "_entry", None)            # of the manifest

    @property
    def values(self) -> np.ndarray:
        return self.view(np.ndarray)

    @property
    def pattern(self) -> np.ndarray:
        """Columns kept in every 16 rows [(family,) rows / 16, kept], read-only."""
        return pattern_of(self._whole())

    def dense(self) -> np.ndarray:
        """The whole matrix, a fresh array."""
        entry = self._whole()
        matrix = np.zeros(entry["whole"], self.dtype)
        matrix[places(entry)] = self
        return matrix

    def _whole(self) -> dict:
        if self._entry is None or self.shape != tuple(self._entry["shape"]):
            raise InputError("a part of a sparse parameter has no pattern of its own: ask the parameter")
        return self._entry


def pattern_of(entry: dict) -> np.ndarray:
    """Of a parameter of the manifest."""
    table = np.array(entry["pattern"], np.int32)
    table.flags.writeable = False
    return table


def places(entry: dict) -> tuple[np.ndarray, ...]:
    """Indices of the stored numbers in the whole."""
    *family, rows, _ = entry["whole"]
    *members, row, _ = np.ogrid[(*map(slice, family), slice(rows), slice(1))]
    return *members, row, pattern_of(entry)[..., np.arange(rows) // BLOCK, :]


def stored(entry: dict, array: np.ndarray, what: str) -> np.ndarray:
    """The stored numbers of a whole matrix, which has to be zero elsewhere; what has another shape is handed back."""
    if array.shape != tuple(entry["whole"]) or array.shape == tuple(entry["shape"]):
        return array
    kept = array[places(entry)]
    others = np.count_nonzero(array) - np.count_nonzero(kept)
    if others:
        raise InputError(f"{what}: {others} entries that are not zero stand where this sparse matrix stores none; "
                         "its pattern tells the columns kept in every 16 rows")
    return kept


def same_pattern(entry: dict, table: np.ndarray, what: str) -> None:
    if not np.array_equal(pattern_of(entry), table):
        raise InputError(f"{what}: the sparse matrix stored there has its numbers in other places than this net's")
