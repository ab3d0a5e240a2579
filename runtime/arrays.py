"""Arrays at the border: aligned memory, and every check of what a caller brings. A refusal names the argument, what
came and what was wanted; nothing is computed before all of it is well."""

import math
import mmap
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from rnnc.errors import InputError

LINE = 64                                      # bytes; what the C wants of states, workspaces, packed weights
PAGE, LARGE = 2 << 20, 1 << 20                 # bytes of a large page, and from how many on it pays
KINDS = {"real": None, "class": np.dtype(np.int32), "labels": np.dtype(np.int32), "int": np.dtype(np.int32),
         "flag": np.dtype(np.uint8)}


@dataclass(frozen=True)
class Signal:
    """What a call brings or returns under one name. `per` is "frame" or "sequence"; kind "labels" is a list of labels
    for each sequence."""

    shape: tuple[int, ...]
    kind: str = "real"
    classes: int | None = None
    per: str = "frame"

    def __str__(self) -> str:
        if self.kind == "labels":
            return f"labels({self.classes})"
        text = f"class({self.classes})" if self.kind == "class" else self.kind if self.kind == "flag" else (
            f"[{', '.join(map(str, self.shape))}]" if self.shape else "a scalar")
        return text + (" per sequence" if self.per == "sequence" else "")


def aligned(count: int, dtype) -> np.ndarray:
    """A new vector on a cache line, its content undefined; a large one on a large page."""
    dtype = np.dtype(dtype)
    size = count * dtype.itemsize
    line = PAGE if size >= LARGE else LINE
    try:
        block = large(size + PAGE) if size >= LARGE else np.empty(size + LINE, np.uint8)
    except (MemoryError, OSError, OverflowError):
        raise InputError(f"not enough memory: {size / 2**30:.1f} GiB are needed; use fewer frames or streams "
                         "in one call") from None
    start = -block.ctypes.data % line
    return block[start:start + size].view(dtype)


def large(size: int) -> np.ndarray:
    """Bytes in large pages, where the system has them. A loop that reads megabytes over and over looks up a page of 4
    KiB for every 64 lines: training an LSTM 512 with one stream is 4 % faster on these (Zen 4, one thread)."""
    if not hasattr(mmap, "MADV_HUGEPAGE"):     # Linux alone asks for them like this
        return np.empty(size, np.uint8)
    block = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with suppress(OSError):                    # a kernel without them
        block.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(block, np.uint8)


def zeros(count: int, dtype) -> np.ndarray:
    vector = aligned(count, dtype)
    vector.fill(0)
    return vector


def wanted_shape(signal: Signal, bare: bool | None, step: bool) -> str:
    """The shape as messages write it: [T, B, 128]."""
    lead = ["S"] if signal.per == "sequence" else ([] if step else ["T"]) + ([] if bare else ["B"])
    return f"[{', '.join([*lead, *map(str, signal.shape)])}]"


def real(value, name: str, dtype: np.dtype) -> np.ndarray:
    """Numbers in the net's type; the caller's own array where it can be used as it is."""
    array = as_array(value, name)
    if array.dtype.kind not in "fiub":
        raise InputError(f"{name}: real numbers are wanted, not {array.dtype}")
    if array.dtype == dtype:
        return settled(array, dtype)
    try:                                       # what the type does not reach is refused, not taken for infinite
        with np.errstate(over="raise"):
            return settled(array, dtype)
    except FloatingPointError:
        raise InputError(f"{name}: holds numbers beyond {dtype}, whose largest is {np.finfo(dtype).max:.2g}") from None


def labels(value, name: str, classes: int | None, target: bool = False,
           weight: np.ndarray | None = None) -> np.ndarray:
    """Whole numbers below `classes`. A target may be -1, which means no label, where its frame has weight 0."""
    array = as_array(value, name)
    if array.dtype.kind not in "iub":
        raise InputError(f"{name}: integer labels are wanted, not {array.dtype}")
    if classes is not None and array.size:
        if array.dtype == np.int32 and array.flags.c_contiguous and array.view(np.uint32).max() < classes:
            return settled(array, KINDS["class"])           # one look is enough: below zero is very large
        if target and weight is not None and weight.size == array.size:
            array = np.where((array == -1) & (weight.reshape(array.shape) == 0), 0, array)
        low, high = array.min(), array.max()
        if low < 0 or high >= classes:
            bad = low if low < 0 else high
            where = tuple(int(i) for i in np.argwhere(array == bad)[0])
            hints = ("; where weight= is 0, which leaves a frame out of the loss, it may be",
                     "; where an array `weight` in the data is 0, which leaves a frame out of the loss, it may be"
                     ) if target and bad == -1 else ()
            raise InputError(f"{name}: label {bad} at {list(where)} is not in 0..{classes - 1}", *hints)
    return settled(array, KINDS["class"])


def lists(value, name: str, classes: int) -> list[np.ndarray]:
    """Lists of labels, one for each sequence; or an array [S, U] whose rows end with -1."""
    if isinstance(value, np.ndarray) and value.ndim == 2 and value.dtype.kind in "iu":
        value = [row[:np.append(np.flatnonzero(row == -1), len(row))[0]] for row in value]
    if not isinstance(value, (list, tuple)):
        got = f"an array of shape {list(value.shape)}" if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{name}: a list of labels for each sequence is wanted, not {got}")
    made = []
    for i, one in enumerate(value):
        array = as_array(one, f"{name}[{i}]")
        if array.ndim != 1:
            raise InputError(f"{name}[{i}]: a list of labels is wanted, not an array of shape {list(array.shape)}")
        made.append(labels(array if array.size else array.astype(np.int32), f"{name}[{i}]", classes))
    return made


def flags(value, name: str, target: bool = False, weight: np.ndarray | None = None) -> np.ndarray:
    """0 or 1 per frame, brought as any type of number. A target may be NaN where its frame has weight 0."""
    array = as_array(value, name)
    if array.dtype.kind == "b":
        return settled(array, KINDS["flag"])
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: flags (0 or 1) are wanted, not {array.dtype}")
    bad = (array != 0) & (array != 1)
    if bad.any():
        if target and weight is not None and weight.size == array.size:
            unknown = np.isnan(array) & (weight.reshape(array.shape) == 0)
            array, bad = np.where(unknown, 0, array), bad & ~unknown
        if bad.any():
            where = tuple(int(i) for i in np.argwhere(bad)[0])
            hints = ("; where weight= is 0 it may be", "; where an array `weight` in the data is 0 it may be") \
                if target and np.isnan(array[where]) else ()
            raise InputError(f"{name}: flags are 0 or 1; {array[where]} stands at {list(where)}", *hints)
    return settled(array, KINDS["flag"])


def weights(value, dtype: np.dtype) -> np.ndarray:
    array = real(value, "weight", dtype)
    if not np.isfinite(array).all():
        raise InputError("weight: every weight has to be a finite number")
    return array


def settled(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The array itself if C can read it, else a copy that it can."""
    if array.dtype != dtype or not array.flags.c_contiguous:
        array = np.array(array, dtype=dtype, order="C")
    return array if array.flags.aligned else array.copy()


def as_array(value, name: str) -> np.ndarray:
    if isinstance(value, np.ndarray):
        if type(value) is not np.ndarray and np.ma.is_masked(value):
            raise InputError(f"{name}: entries are masked, and what is beneath would be read; fill them")
        return value
    try:
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as fault:
        reason = str(fault).split(". ")[0]
        ragged = "; several sequences of different lengths are a list of arrays" if isinstance(value, list) else ""
        raise InputError(f"{name}: this is not an array ({reason}){ragged}") from None


def result(out: dict | None, name: str, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array that an output goes to: the caller's, which has to fit exactly, or a new one."""
    array = None if out is None else out.get(name)
    if array is None:
        return np.empty(shape, dtype)
    if not isinstance(array, np.ndarray) or array.dtype != dtype or array.shape != shape:
        got = f"{array.dtype} {list(array.shape)}" if isinstance(array, np.ndarray) else type(array).__name__
        raise InputError(f"out[{name!r}]: got {got}, wanted {dtype} {list(shape)}")
    if not (array.flags.c_contiguous and array.flags.writeable and array.flags.aligned):
        raise InputError(f"out[{name!r}]: the array has to be contiguous and writable")
    return array


def apart(out: dict[str, np.ndarray], inputs: list[tuple[str, np.ndarray]]) -> None:
    """Outputs may share memory neither with inputs nor with one another."""
    given = list(out.items())
    for position, (name, array) in enumerate(given):
        for other, memory in [*inputs, *given[:position]]:
            if np.may_share_memory(array, memory):
                raise InputError(f"out[{name!r}] shares memory with {other}")


def size(shape: tuple[int, ...]) -> int:
    return math.prod(shape)
