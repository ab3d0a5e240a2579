"""How a matrix is stored where that is not float32: bfloat16(matrix; axis), int8(matrix).

The value is that of the stored numbers. Of int8, whose matrix quantize has made, these are its steps, a byte each, and
the value is the matrix itself. Of bfloat16 along `axis` two neighbours share a word of 32 bits: the even one is its low
half, a bfloat16; the odd one is the whole word, whose high half is chosen so that the word comes nearest, counted
in last places. Ties go away from zero; what is below the least normal number is zero, what is above the largest
bfloat16 is infinite or NaN. The derivatives are those of the matrix itself. Only the planner makes such nodes
(plan/storage.py); the language has no word for them.
"""

import numpy as np

from rnnc.graph.nodes import REAL
from rnnc.graph.ops.elementwise import real_part
from rnnc.graph.ops.op import MIXING, Op, need, need_kinds, row

STORED = frozenset(("bfloat16", "int8"))       # which only packed products read
INFINITE = 0x7F800000                          # the bits of infinity; those of NaN are larger


def _shape(args, attrs, shape):
    need_kinds("bfloat16", args, REAL)
    need(len(args[0].shape) == 2 and attrs.get("axis") in (0, 1), f"bfloat16 of {list(args[0].shape)}")
    return args[0].shape, REAL


def _int8_shape(args, attrs, shape):
    need_kinds("int8", args, REAL)
    need(len(args[0].shape) == 2, f"int8 of {list(args[0].shape)}")
    return args[0].shape, REAL


def _upper(bits: np.ndarray, below) -> np.ndarray:
    """The upper 16 bits, in their place, of the word nearest to a float32 among those that end in `below`."""
    size = bits & 0x7FFFFFFF
    near = bits + 0x8000 - np.where(size > 0xFFFF, below, 0)
    return np.where(size < INFINITE, near, bits) & 0xFFFF0000


def stored(matrix: np.ndarray) -> np.ndarray:
    """The numbers that stand for real ones [..., n], pairs along the last axis."""
    bits = np.ascontiguousarray(matrix, np.float32).view(np.uint32).astype(np.int64)
    even, odd = bits[..., 0::2], bits[..., 1::2]
    low = _upper(even, 0)
    bits[..., 0::2] = low
    below = low[..., :odd.shape[-1]] >> 16
    bits[..., 1::2] = _upper(odd, below) | below
    with np.errstate(invalid="ignore"):        # NaN is handed on
        numbers = bits.astype(np.uint32).view(np.float32).astype(np.float64)
    return np.where(np.abs(numbers) < np.finfo(np.float32).tiny, 0, numbers)


def _meaning(node, v):
    axis = node.attr("axis") + 1
    found = np.moveaxis(stored(np.moveaxis(real_part(v), axis, -1)), -1, axis)
    return found + 1j * np.imag(v) if np.iscomplexobj(v) else found


row(Op("bfloat16", MIXING, 1, _shape, _meaning, (lambda c, up: up,)))
row(Op("int8", MIXING, 1, _int8_shape, lambda node, v: v, (lambda c, up: up,)))
