"""The fixed C of runtime/, alone: against NumPy in higher precision, on every flag line, with threads that collide.

Each build pastes the headers in the order of the generated file, then tests/kernels.c, and is loaded by ctypes.
"""

import ctypes
import math
import os
import shutil
import subprocess
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
    switches = f"#define RN_DOUBLE {int(double)}\n{'#define RNNC_COUNT' * counting}"
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
        for name in ("packed", "fold_scratch", "hand_down"):
            getattr(self.c, name).restype = ctypes.c_long

    def __getattr__(self, name):
        return lambda *args: getattr(self.c, name)(*map(self.argument, args))

    def argument(self, value):
        if isinstance(value, np.ndarray):
            assert value.dtype in (self.type, np.int64), value.dtype
            return value.ctypes.data_as(ctypes.c_void_p)
        if isinstance(value, float):
            return ctypes.c_double(value)
        return ctypes.c_long(value) if isinstance(value, int) else value

    def array(self, values):
        return np.array(values, self.type)

    def lined(self, count: int):
        """An array on a 64-byte boundary."""
        raw = np.zeros(count + 64, self.type)
        skip = -raw.ctypes.data % 64 // self.type.itemsize
        return raw[skip:skip + count]

    def pointers(self, rows):
        return np.array([row.ctypes.data for row in rows], np.int64)

    def map(self, name, *xs):
        xs = [self.array(x) for x in xs]
        y = np.empty_like(xs[0])
        getattr(self, name)(*xs, y, len(y))
        return y

    def close(self, got, want, factor=1.0, **more):
        np.testing.assert_allclose(got, want, rtol=factor * 8 * np.finfo(self.type).eps, **more)


BUILDS = [("gcc", "native", False), ("gcc", "native", True), ("gcc", "x86-64-v3", False), ("gcc", "x86-64-v2", True),
          ("clang", "native", False)]


@pytest.fixture(scope="module", params=BUILDS, ids=lambda b: f"{b[0]}-{b[1]}-{'double' if b[2] else 'float'}")
def k(request, tmp_path_factory):
    compiler, level, double = request.param
    if not LEVELS[level] or not X86 and level != "native":
        pytest.skip(f"this processor is not {level}")
    place = tmp_path_factory.mktemp("kernels")
    return Kernels(built(place, compiler, "-O2", f"-march={level}", "-fopenmp", double=double), double)


# ------------------------------------------------------------------------------------------------------- flag lines

@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS if X86 else ["native"])
def test_every_flag_line_compiles_in_silence(compiler, level, tmp_path):
    """-O2 and -O3, with and without OpenMP, both number types: not their whole product, but each one for each level."""
    odd = list(LEVELS).index(level) % 2 == 1
    built(tmp_path, compiler, "-O3", f"-march={level}", double=odd)
    built(tmp_path, compiler, "-O2", f"-march={level}", "-fopenmp", double=not odd)


def test_headers_alone_are_silent_and_quick_to_read(tmp_path):
    """Unused functions must not warn, on any line."""
    for compiler in filter(shutil.which, COMPILERS):
        for double in (0, 1):
            for more in ([], ["-DRNNC_COUNT"]):
                source = tmp_path / "alone.c"
                source.write_text("\n".join((RUNTIME / n).read_text() for n in FIXED) + "\nint rn_nothing;\n")
                command = [compiler, *STRICT, *MATHS, "-O2", f"-DRN_DOUBLE={double}", *more, "-c", str(source), "-o",
                           str(tmp_path / "alone.o")]
                done = subprocess.run(command, capture_output=True, text=True)
                assert done.returncode == 0 and not done.stderr, done.stderr[:3000]


# ------------------------------------------------------------------------------------------------------- maths

WIDE = np.longdouble
random = np.random.default_rng(7)
SPREAD = np.concatenate([random.uniform(-30, 30, 20000), *(s * 10 ** random.uniform(-12, 1, 10000) for s in (1, -1))])


REFERENCE = {
    "exp": np.exp, "log": np.log, "sqrt": np.sqrt, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "floor": np.floor,
    "abs": np.abs, "sign": np.sign, "relu": lambda x: np.maximum(x, 0), "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(-abs(x))) + np.maximum(x, 0), "not": lambda x: (x == 0) * WIDE(1),
    "erf": np.vectorize(math.erf, otypes=[float]),
}


@pytest.mark.parametrize("name", REFERENCE)
def test_maths_is_accurate(k, name):
    high, low = (709.7, -708.3) if k.type.itemsize == 8 else (88.7, -87.3)
    x = {"exp": random.uniform(low, high, 40000), "sigmoid": random.uniform(low, high, 40000),
         "softplus": random.uniform(low, high, 40000), "sqrt": 10 ** random.uniform(-37, 37, 40000),
         "log": np.concatenate([10 ** random.uniform(-37, 37, 20000), random.uniform(0.5, 2, 20000)]),
         "sin": np.concatenate([random.uniform(-9999, 9999, 20000), SPREAD]),
         "cos": np.concatenate([random.uniform(-9999, 9999, 20000), SPREAD])}.get(name, SPREAD)
    x = k.array(x)
    got, want = k.map(f"v_{name}", x).astype(WIDE), REFERENCE[name](x.astype(WIDE))
    size = 1 if name in ("sin", "cos") else np.maximum(abs(want), np.finfo(k.type).tiny)
    error = abs(got - want) / size / np.finfo(k.type).eps
    assert error.max() < (3 if name == "erf" and k.type.itemsize == 8 else 1.6), (name, x[error.argmax()], float(error.max()))
    np.testing.assert_array_equal(k.map(f"s_{name}", x[:999]), k.map(f"v_{name}", x[:999]))


def test_maths_at_the_edges(k):
    inf, nan = np.inf, np.nan
    x = [inf, -inf, nan, 0.0, -0.0, 1000.0, -1000.0, 1.0, -1.0]
    expected = {
        "exp": [inf, 0, nan, 1, 1, inf, 0, None, None], "log": [inf, nan, nan, -inf, -inf, None, nan, 0, nan],
        "sigmoid": [1, 0, nan, 0.5, 0.5, 1, 0, None, None], "tanh": [1, -1, nan, 0, 0, 1, -1, None, None],
        "softplus": [inf, 0, nan, None, None, 1000, 0, None, None], "relu": [inf, 0, nan, 0, 0, 1000, 0, 1, 0],
        "sin": [nan, nan, nan, 0, 0, None, None, None, None], "cos": [nan, nan, nan, 1, 1, None, None, None, None],
        "erf": [1, -1, nan, 0, 0, 1, -1, None, None], "sqrt": [inf, nan, nan, 0, 0, None, nan, 1, nan],
        "abs": [inf, inf, nan, 0, 0, 1000, 1000, 1, 1], "sign": [1, -1, nan, 0, 0, 1, -1, 1, -1],
        "floor": [inf, -inf, nan, 0, 0, 1000, -1000, 1, -1],
    }
    for name, wants in expected.items():
        for value, got, want in zip(x, k.map(f"v_{name}", x), wants):
            assert want is None or got == want or got != got and want != want, (name, value, got, want)
    assert np.signbit(k.map("v_tanh", [-0.0]))[0]
    big = k.array([2.0 ** 60, -(2.0 ** 60), 1e6 + 0.5, -1e6 - 0.5])
    np.testing.assert_array_equal(k.map("v_floor", big), np.floor(big))
    k.close(k.map("v_sin", [1e7, 3.0]), np.sin(k.array([1e7, 3.0]).astype(WIDE)).astype(k.type))


def test_maths_of_two(k):
    a, b = k.array(random.uniform(-9, 9, 999)), k.array(random.uniform(-3, 3, 999))
    a[:8], b[:8] = [np.nan, 1, 0, 2, -6, 6, -6, 5], [1, np.nan, 0, 2, 3, -3, -4, 4]
    with np.errstate(all="ignore"):
        plain = {"mod": np.mod, "min": np.minimum, "max": np.maximum, "lt": np.less, "le": np.less_equal,
                 "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal,
                 "and": lambda p, q: (p != 0) & (q != 0), "or": lambda p, q: (p != 0) | (q != 0)}
        for name, f in plain.items():
            np.testing.assert_array_equal(k.map(f"v_{name}", a, b), f(a, b).astype(k.type), err_msg=name)
            np.testing.assert_array_equal(k.map(f"s_{name}", a, b), k.map(f"v_{name}", a, b))
        k.close(k.map("v_pow", abs(a), b), abs(a) ** b)


# ------------------------------------------------------------------------------------------------------- products

def test_tiles(k):
    for mv in (1, 2, 3, 4):
        for nrows in range(1, k.rows_of(mv) + 1):
            for K in (0, 1, 2, 3, 5, 7, 8, 9, 17, 40):
                wide = mv * k.vl
                panel, acc = k.lined(K * wide), k.lined(nrows * wide)
                panel[:] = random.standard_normal(K * wide)
                acc[:] = before = k.array(random.standard_normal(nrows * wide))
                rows = [k.array(random.standard_normal(K + 1))[1:] for _ in range(nrows)]
                want = np.array(rows, np.float64).reshape(nrows, K) @ panel.reshape(K, wide).astype(np.float64)
                for add in (1, 0):
                    k.tile(mv, panel, K, k.pointers(rows), nrows, acc, add)
                    np.testing.assert_allclose(acc.reshape(nrows, wide), want + add * before.reshape(nrows, wide),
                                               atol=60 * np.finfo(k.type).eps)


def test_cuts_and_shares(k):
    ends = np.zeros(2, np.int64)
    for R in range(1, 40):
        for most in (1, 2, 6, 12):
            count, at, sizes = -(-R // most), 0, []
            for i in range(count):
                k.cut(R, most, i, ends)
                assert ends[0] == at
                at, sizes = ends[1], [*sizes, ends[1] - ends[0]]
            assert at == R and max(sizes) <= most and max(sizes) - min(sizes) <= 1
    for threads in (1, 2, 3, 7, 64):
        at = 0
        for thread in range(threads):
            k.share(100, thread, threads, ends)
            assert ends[0] == at
            at = ends[1]
        assert at == 100


def test_packing(k):
    for g, q in ((1, 1), (1, 4), (3, 1), (2, 2), (4, 1)):
        for n in (1, k.vl - 1, k.vl, 2 * k.vl + 3):
            for K in (1, k.vl - 1, k.vl, 2 * k.vl + 5):
                for form in ("rows", "columns", "any"):
                    row, column = {"rows": (K + 3, 1), "columns": (1, n + 2), "any": (2 * K + 1, 2)}[form]
                    memory = k.array(random.standard_normal((n - 1) * row + (K - 1) * column + 1))
                    matrix = memory[np.arange(n)[:, None] * row + np.arange(K) * column]
                    out = k.lined(k.packed(n, K, g, q))
                    out[:] = -5
                    k.pack(out, memory, row, column, n, K, g - 1, g, q)
                    blocks = len(out) // (K * g * k.vl)
                    whole = out.reshape(blocks // q, K, q, g, k.vl)
                    got = whole[:, :, :, g - 1].transpose(0, 2, 3, 1).reshape(blocks * k.vl, K)
                    np.testing.assert_array_equal(got[:n], matrix)
                    assert not got[n:].any() and (whole[:, :, :, :g - 1] == -5).all()


def test_folds(k):
    scratch = k.lined(k.fold_scratch())
    for m, K, R in ((1, 1, 1), (5, 3, 17), (k.vl, 2 * k.vl, 256), (2 * k.vl + 7, 5 * k.vl + 1, 40),
                    (33, 17 * k.vl + 3, 9), (7, 9, 0)):
        a = k.array(random.integers(-3, 4, (R, m + 5)))
        x = [k.array(random.integers(-3, 4, K)) for _ in range(R)]
        c = k.array(random.integers(-3, 4, (m, K + 2)))
        want = c.astype(np.float64)
        product = a[:, 2:m + 2].astype(np.float64).T @ np.array(x, np.float64).reshape(R, K)
        for add in (1, 0):
            want[:, :K] = product + add * want[:, :K]
            k.fold(c, K + 2, m, K, a, m + 5, 2, k.pointers(x), R, scratch, add)
            np.testing.assert_array_equal(c, want)
        total = k.array(random.integers(-3, 4, m + 5))
        want = total + a.sum(0)
        k.fold_sum(total, m + 5, a, m + 5, R, 1)
        np.testing.assert_array_equal(total, want)
        turned = k.array(np.ones((K + 2, m + 1)))
        k.transpose_add(turned, m + 1, c, K + 2, m, K + 2, 1)
        np.testing.assert_array_equal(turned[:, :m], c.T + 1)
        assert (turned[:, m] == 1).all()


def test_gather_and_scatter(k):
    table, n = k.array(random.standard_normal((5, 40))), 37
    for label in (-1, 0, 4, 5):
        row = k.array(np.full(40, 9))
        k.gather(row, table, 40, n, 5, label)
        np.testing.assert_array_equal(row[:n], table[label, :n] if 0 <= label < 5 else 0)
        want = table.copy()
        if 0 <= label < 5:
            want[label, :n] += row[:n]
        k.scatter(table, row, 40, n, 5, label)
        np.testing.assert_array_equal(table, want)


# ------------------------------------------------------------------------------------------------------- reductions

def test_reductions_ignore_what_lies_behind(k):
    for n in [*range(1, 12), 15, 16, 17, 31, 32, 33, 64, 70, 200]:
        x, y = k.array(random.standard_normal((2, n + 32)) * 3)
        x[n:] = y[n:] = np.nan
        v, w = x[:n].astype(np.float64), y[:n].astype(np.float64)
        most = v.max()
        lse = most + np.log(np.exp(v - most).sum())
        wants = [v.sum(), most, v.min(), lse, v @ w, v.argmax()]
        for which, want in enumerate(wants):
            k.close(k.reduce(which, x, y, n), want, 8, atol=200 * np.finfo(k.type).eps)
        out = np.full(n + 1, 7, k.type)
        k.softmax(out, x, n)
        k.close(out[:n], np.exp(v - lse), 4)
        k.logsoftmax(out, x, n)
        k.close(out[:n], v - lse, 4, atol=30 * np.finfo(k.type).eps)
        assert out[n] == 7
    bad = k.array([1, np.nan, 3])
    assert all(np.isnan(k.reduce(which, bad, bad, 3)) for which in range(5)) and k.reduce(5, bad, bad, 3) == 1
    ties = k.array([1, 5, 5])
    assert k.reduce(5, ties, ties, 3) == 1
    infinite = k.array([-np.inf, 0, -np.inf])
    k.close(k.reduce(3, infinite, infinite, 3), 0, atol=1e-6)
    assert k.reduce(3, infinite[:1], infinite, 1) == -np.inf


def test_a_streams_own_matrix(k):
    for m, n in ((1, 1), (7, 70), (16, 16), (33, 5)):
        S = k.array(random.standard_normal((m, n + 3)))
        q, p = k.array(random.standard_normal(n)), k.array(random.standard_normal(m))
        square, tolerance = S[:, :n].astype(np.float64), 300 * np.finfo(k.type).eps
        for add in (0, 1):
            y = k.array(np.ones(m))
            k.matvec(y, S, n + 3, q, m, n, 0, add)
            np.testing.assert_allclose(y, square @ q + add, atol=tolerance)
            y = k.array(np.ones(n))
            k.matvec(y, S, n + 3, p, m, n, 1, add)
            np.testing.assert_allclose(y, square.T @ p + add, atol=tolerance)
        want = square + np.outer(p, q)
        edge = S[:, n:].copy()
        k.outer_add(S, n + 3, p, q, m, n)
        np.testing.assert_allclose(S[:, :n], want, atol=tolerance)
        np.testing.assert_array_equal(S[:, n:], edge)


# ------------------------------------------------------------------------------------------------------- optimisers

def rules(rate=0.01, decay=0.1, scale=0.5):
    """name -> (how the C is called, the same in NumPy); both take theta, gradient, three memories and the step."""
    b1, b2, eps = 0.9, 0.99, 1e-6

    def plain(f):                                             # f(slope, memories, step) -> what theta loses
        return lambda t, g, m, step: t - f(g * scale + decay * t, m, step)

    def momentum(g, m, step, damp=0.3):
        m[0] = g if step == 1 else 0.9 * m[0] + (1 - damp) * g
        return rate * m[0]

    def nesterov(g, m, step):
        m[0] = 0.9 * m[0] + g
        return rate * (g + 0.9 * m[0])

    def rmsprop(g, m, step):
        m[0] = b2 * m[0] + (1 - b2) * g * g
        m[1] = b2 * m[1] + (1 - b2) * g
        m[2] = 0.9 * m[2] + g / (np.sqrt(m[0] - m[1] ** 2) + eps)
        return rate * m[2]

    def adadelta(g, m, step):
        m[0] = 0.9 * m[0] + 0.1 * g * g
        change = np.sqrt(m[1] + eps) / np.sqrt(m[0] + eps) * g
        m[1] = 0.9 * m[1] + 0.1 * change ** 2
        return rate * change

    def adam(g, m, step):
        m[0], m[1] = b1 * m[0] + (1 - b1) * g, b2 * m[1] + (1 - b2) * g * g
        return rate * m[0] / (1 - b1 ** step) / (np.sqrt(m[1] / (1 - b2 ** step)) + eps)

    return {
        "sgd": (lambda k, n, t, g, a, b, c, step: k.sgd(n, t, g, rate, decay, scale), plain(lambda g, m, s: rate * g)),
        "momentum": (lambda k, n, t, g, a, b, c, step: k.momentum(n, t, g, a, rate, 0.9, 0.3, decay, step, scale),
                     plain(momentum)),
        "nesterov": (lambda k, n, t, g, a, b, c, step: k.nesterov(n, t, g, a, rate, 0.9, decay, scale),
                     plain(nesterov)),
        "rmsprop": (lambda k, n, t, g, a, b, c, step: k.rmsprop(n, t, g, a, b, c, rate, b2, eps, 0.9, decay, scale),
                    plain(rmsprop)),
        "adadelta": (lambda k, n, t, g, a, b, c, step: k.adadelta(n, t, g, a, b, rate, 0.9, eps, decay, scale),
                     plain(adadelta)),
        "adam": (lambda k, n, t, g, a, b, c, step: k.adam(0, n, t, g, a, b, rate, b1, b2, eps, decay, step, scale),
                 plain(adam)),
        "adamw": (lambda k, n, t, g, a, b, c, step: k.adam(1, n, t, g, a, b, rate, b1, b2, eps, decay, step, scale),
                  lambda t, g, m, step: t * (1 - rate * decay) - adam(g * scale, m, step)),
    }


@pytest.mark.parametrize("name", rules())
def test_optimisers(k, name):
    call, meaning = rules()[name]
    n = 3 * k.vl + 5
    state = k.array(np.zeros((4, n)))
    state[0] = random.standard_normal(n)
    want, memory = state[0].astype(np.float64), [np.zeros(n) for _ in range(3)]
    pieces = state.copy()
    for step in range(1, 101):
        g = k.array(random.standard_normal(n))
        call(k, n, state[0], g, *state[1:], step)
        for low, high in ((0, 7), (7, n)):                                  # cut anywhere: the same bits
            call(k, high - low, pieces[0, low:high], g[low:high], *pieces[1:, low:high], step)
        want = meaning(want, g.astype(np.float64), memory, step)
    np.testing.assert_array_equal(state, pieces)
    np.testing.assert_allclose(state[0], want, atol=3e-4 if k.type.itemsize == 4 else 1e-11)


def test_norm_and_clipping(k):
    for n in (0, 1, 17, 4096, 10001):
        g = k.array(random.standard_normal(n))
        np.testing.assert_allclose(k.norm2(n, g), np.linalg.norm(g.astype(np.float64)), rtol=1e-13)
    assert k.clip(2.0, 0.0) == 1 and k.clip(0.5, 1.0) == 1
    np.testing.assert_allclose(k.clip(4.0, 1.0), 1 / 4.000001)


# ------------------------------------------------------------------------------------------------------- threads

@pytest.mark.parametrize("host", [0, 1], ids=["openmp", "host"])
def test_nobody_leaves_a_meeting_early(k, threads, host):
    got = k.stress(threads, 3000, host)
    assert got == max(threads - host, 1)
    assert k.hand_down(threads) == 0


def test_a_forked_child_runs_alone(k):
    assert k.stress(2, 10, 0) == 2
    child = os.fork()
    if child == 0:
        os._exit(0 if k.stress(2, 10, 0) == 1 else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_without_openmp_one_thread_does_it_all(tmp_path):
    k = Kernels(built(tmp_path, "gcc", "-O2", "-march=native"), False)
    assert k.stress(4, 10, 0) == 1
    assert k.stress(4, 10, 1) == 3


def test_the_counting_build_counts(tmp_path):
    k = Kernels(built(tmp_path, "gcc", "-O2", "-march=native", "-fopenmp", counting=True), False)
    out = np.zeros(5, np.int64)
    assert k.counted(out) == 2
    assert list(out) == [4, 1, 16, 9, 20]
