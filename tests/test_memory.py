"""Memory that nets work in: where it lies, and what happens when there is none."""

import numpy as np
import pytest

from rnnc.errors import InputError
from rnnc.runtime import arrays


@pytest.mark.parametrize("count", [1, 1000, arrays.LARGE // 4 - 1, arrays.LARGE // 4, 3 << 20])
def test_memory_of_our_own(count):
    """Lines for small vectors, pages for large ones; all of it can be written, and is nobody else's."""
    one, other = arrays.aligned(count, np.float32), arrays.zeros(count, np.float32)
    assert one.size == count and one.ctypes.data % (arrays.LINE if count * 4 < arrays.LARGE else arrays.PAGE) == 0
    one[...] = 1
    assert not other.any() and not np.may_share_memory(one, other)


@pytest.mark.parametrize("count", [1 << 50, 1 << 62, 1 << 64])
def test_memory_that_is_not_there(count):
    with pytest.raises(InputError, match="not enough memory"):
        arrays.aligned(count, np.float32)
