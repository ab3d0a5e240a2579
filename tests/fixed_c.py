"""The fixed C of runtime/ as a library under ctypes, for its tests: pasted in the order of the generated file.

`built` compiles it with tests/kernels.c behind it, on any flag line, and fails on any word of the compiler. `Kernels`
calls it.
"""

import ctypes
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from rnnc.target.module import FIXED

HERE = Path(__file__).parent
RUNTIME = HERE.parent / "runtime"
MATHS = "-ffp-contract=fast -fno-math-errno -fno-trapping-math".split()
STRICT = "-std=c11 -Wall -Wextra -Wpedantic -Werror".split()
COMPILERS = ["gcc", "clang"]
CPU = set(Path("/proc/cpuinfo").read_text().split()) if Path("/proc/cpuinfo").exists() else set()
LEVELS = {"native": True, "x86-64-v2": True, "x86-64-v3": "avx2" in CPU, "x86-64-v4": "avx512vl" in CPU}
X86 = os.uname().machine == "x86_64"


def text(double: bool, counting: bool = False) -> str:
    pasted = "\n".join((RUNTIME / name).read_text() for name in FIXED)
    switches = f"#define RN_DOUBLE {int(double)}\n#define RN_STAGES 2\n{'#define RNNC_COUNT' * counting}"
    return "\n".join([switches, pasted, (HERE / "kernels.c").read_text()])


def built(place: Path, compiler: str, *flags: str, double: bool = False, counting: bool = False) -> Path:
    if not shutil.which(compiler):
        pytest.skip(f"no {compiler} here")
    name = "_".join([compiler, "64" if double else "32", *flags]).replace("-", "").replace("=", "")
    source, library = place / f"{name}.c", place / f"{name}.so"
    source.write_text(text(double, counting))
    command = [compiler, *STRICT, *MATHS, *flags, "-shared", "-fPIC", str(source), "-o", str(library), "-lm",
               "-lpthread"]
    done = subprocess.run(command, capture_output=True, text=True)
    if compiler == "clang" and ("omp.h" in done.stderr or "-lomp" in done.stderr):
        pytest.skip("clang without libomp")
    assert done.returncode == 0 and not done.stderr, f"{' '.join(command)}\n{done.stderr[:3000]}"
    return library


@cache
def loaded(compiler: str, level: str, double: bool):
    """One build per session, taken by several test files."""
    if not LEVELS[level] or not X86 and level != "native":
        pytest.skip(f"this processor is not {level}")
    with tempfile.TemporaryDirectory() as place:
        return Kernels(built(Path(place), compiler, "-O2", f"-march={level}", "-fopenmp", double=double), double)


class Kernels:
    """One build: `k.name(...)` passes arrays of its number type, integers and floats."""

    def __init__(self, library: Path, double: bool):
        self.c = ctypes.CDLL(str(library))
        self.type = np.dtype(np.float64 if double else np.float32)
        self.real = ctypes.c_double if double else ctypes.c_float
        self.vl = self.c.vl()
        self.c.reduce.restype = self.real
        for name in ("norm2", "clip"):
            getattr(self.c, name).restype = ctypes.c_double
        for name in ("packed", "hand_down"):
            getattr(self.c, name).restype = ctypes.c_long
        self.c.key.restype = ctypes.c_uint64

    def __getattr__(self, name):
        return lambda *args: getattr(self.c, name)(*map(self.argument, args))

    def argument(self, value):
        if isinstance(value, np.ndarray):
            assert value.dtype in (self.type, np.int64), value.dtype
            return value.ctypes.data_as(ctypes.c_void_p)
        if isinstance(value, float):
            return ctypes.c_double(value)
        return ctypes.c_uint64(value % 2 ** 64) if isinstance(value, int) else value

    def array(self, values):
        return np.array(values, self.type)

    def lined(self, count: int):
        """An array on a 64-byte boundary."""
        raw = np.zeros(count + 64, self.type)
        skip = -raw.ctypes.data % 64 // self.type.itemsize
        return raw[skip:skip + count]

    def pointers(self, rows):
        return np.array([row.ctypes.data for row in rows], np.int64)

    def same_sums(self, name: str, panel, plain, shape: tuple[int, ...], nrows: int, K: int, random):
        """A tile makes of its panel, bit by bit, what the plain one makes of the numbers that the panel stands for.
        `name` and `shape`: "tile16" and its vectors, or "some8" and its gates and panels."""
        tile, plain_tile = getattr(self, name), getattr(self, name.rstrip("168"))
        rows = [self.array([*random.standard_normal(K), np.nan]) for _ in range(nrows)]
        before = self.array(random.standard_normal(nrows * (self.at_once() if len(shape) == 2 else shape[0]) * self.vl))
        for add in (1, 0):
            sums = []
            for made, matrix in ((tile, panel), (plain_tile, plain)):
                acc = self.lined(len(before))
                acc[:] = before
                made(*shape, matrix, K, self.pointers(rows), nrows, acc, add)
                sums.append(acc.tobytes())
            assert sums[0] == sums[1], (shape, nrows, K)

    def map(self, name, *xs):
        xs = [self.array(x) for x in xs]
        y = np.empty_like(xs[0])
        getattr(self, name)(*xs, y, len(y))
        return y

    def close(self, got, want, factor=1.0, **more):
        np.testing.assert_allclose(got, want, rtol=factor * 8 * np.finfo(self.type).eps, **more)
