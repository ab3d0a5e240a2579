"""The fixed C of runtime/, alone: against NumPy in higher precision, on every flag line, with threads that collide."""

import math
import os
import shutil
import subprocess

import numpy as np
import pytest
from fixed_c import COMPILERS, LEVELS, MATHS, RUNTIME, STRICT, X86, Kernels, built, loaded

from rnnc.target.module import FIXED

BUILDS = [("gcc", "native", False), ("gcc", "native", True), ("gcc", "x86-64-v3", False), ("gcc", "x86-64-v2", True),
          ("clang", "native", False)]


@pytest.fixture(params=BUILDS, ids=lambda b: f"{b[0]}-{b[1]}-{'double' if b[2] else 'float'}")
def k(request):
    return loaded(*request.param)


# ------------------------------------------------------------------------------------------------------- flag lines

@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("level", LEVELS if X86 else ["native"])
def test_every_flag_line_compiles_in_silence(compiler, level, tmp_path):
    """-O2 and -O3, with and without OpenMP, both number types: not their whole product, but each with each level."""
    place = list(LEVELS).index(level)
    turn = place + COMPILERS.index(compiler)
    openmp = [["-fopenmp"], []][turn // 2 % 2]
    built(tmp_path, compiler, ["-O3", "-O2"][turn % 2], f"-march={level}", *openmp, double=bool(place % 2))


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
    most = 3 if name == "erf" and k.type.itemsize == 8 else 1.6             # that reference is itself in double
    assert error.max() < most, (name, x[error.argmax()], float(error.max()))
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


@pytest.mark.parametrize("name", ["exp", "log", "sigmoid", "tanh", "softplus", "sin", "cos", "erf", "sqrt"])
def test_a_lane_minds_its_own_business(k, name):
    """Padding beside a number may hold anything: it must not change the number's last bit."""
    x = k.array(random.uniform(-3, 3, 256))
    alone = k.map(f"v_{name}", x)
    for stranger in (np.nan, np.inf, 1e30, -1e30):
        mixed = x.copy()
        mixed[1::2] = stranger
        np.testing.assert_array_equal(k.map(f"v_{name}", mixed)[::2], alone[::2])


def test_quantize(k):
    x, step = k.array(random.uniform(-3, 3, 999)), k.array(random.uniform(0.1, 0.4, 999))
    x[:8], step[:8] = [0.5, -0.5, 0.25, -0.25, 3.74, 99, -99, 0], 0.5
    steps = np.minimum(np.floor(np.abs(x / step) + k.type.type(0.5)), 7)
    np.testing.assert_array_equal(k.map("v_quantize", x, step), np.sign(x) * steps * step)


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


def test_powers(k):
    inf, nan, n = np.inf, np.nan, 40000
    a, b = k.array(10 ** random.uniform(-20, 20, n)), k.array(random.uniform(-4, 4, n))
    a[n // 2:] = random.uniform(0.5, 2, n // 2)
    b[n // 2:] = random.uniform(-100, 100, n // 2)
    want = a.astype(WIDE) ** b.astype(WIDE)
    there = (want < np.finfo(k.type).max) & (want > np.finfo(k.type).tiny)
    error = abs(k.map("v_pow", a, b).astype(WIDE) - want)[there] / want[there] / np.finfo(k.type).eps
    assert there.sum() > 0.8 * n and error.max() < 1
    np.testing.assert_array_equal(k.map("s_pow", a[:999], b[:999]), k.map("v_pow", a[:999], b[:999]))
    a = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1e30, -1e30, 1e-30, inf, -inf, nan]
    b = [0.0, -0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 5.0, -5.0, 1e30, -1e30, 16777217.0, inf, -inf, nan]
    a, b = (k.array(v.ravel()) for v in np.meshgrid(a, b))
    with np.errstate(all="ignore"):
        want = (a.astype(np.float64) ** b.astype(np.float64)).astype(k.type)
    got = k.map("v_pow", a, b)
    np.testing.assert_allclose(got, want, rtol=np.finfo(k.type).eps)
    np.testing.assert_array_equal(np.signbit(got[want == want]), np.signbit(want[want == want]))


def test_remainders(k):
    inf, nan, n = np.inf, np.nan, 40000
    a, b = k.array(10 ** random.uniform(-15, 15, n)), k.array(10 ** random.uniform(-6, 6, n))
    a, b = a * random.choice([-1, 1], n).astype(k.type), b * random.choice([-1, 1], n).astype(k.type)
    b[:n // 4] = np.round(a[:n // 4] / k.array(random.integers(1, 99, n // 4)), 3)             # near whole quotients
    edges = [0.0, -0.0, 1.0, -1.0, 1e-30, 1e30, 0.1, 3.0, -3.0, 0.75, inf, -inf, nan]
    more = [k.array(v.ravel()) for v in np.meshgrid(edges, edges)]
    a, b = np.concatenate([a, more[0]]), np.concatenate([b, more[1]])
    with np.errstate(all="ignore"):
        want = np.mod(a, b)
    got = k.map("v_mod", a, b)
    np.testing.assert_array_equal(got, want)
    zero = (want == 0) & (a != 0)                              # NumPy's remainder of 0 has the sign of the divisor, too
    np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]))
    np.testing.assert_array_equal(k.map("s_mod", a[-999:], b[-999:]), got[-999:])


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


@pytest.mark.parametrize("gates", [1, 2])
def test_some_panels(k, gates):
    """Behind one another instead of side by side; what one makes does not hang on how many go with it."""
    most = k.at_once() // gates
    for nrows in range(1, k.rows_at_once() + 1):
        for K in (0, 1, 2, 3, 5, 7, 8, 9, 17, 40):
            panels = k.lined(most * K * gates * k.vl)
            panels[:] = random.standard_normal(panels.size)
            matrix = panels.reshape(most, K, gates * k.vl).swapaxes(0, 1).reshape(K, most * gates * k.vl)
            rows = [k.array(random.standard_normal(K + 1))[1:] for _ in range(nrows)]
            want = np.array(rows, np.float64).reshape(nrows, K) @ matrix.astype(np.float64)
            for add in (1, 0):
                before, all_ = k.array(random.standard_normal((nrows, k.at_once() * k.vl))), None
                for wide in range(most, 0, -1):
                    acc, made = k.lined(before.size), wide * gates * k.vl
                    acc[:] = before.ravel()
                    k.some(gates, wide, panels, K, k.pointers(rows), nrows, acc, add)
                    acc = acc.reshape(before.shape)
                    all_ = acc.copy() if all_ is None else all_
                    np.testing.assert_allclose(acc[:, :made], want[:, :made] + add * before[:, :made],
                                               atol=60 * np.finfo(k.type).eps)
                    np.testing.assert_array_equal(acc[:, :made], all_[:, :made])
                    np.testing.assert_array_equal(acc[:, made:], before[:, made:])


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
                    for thread in range(3):
                        k.pack(out, memory, row, column, n, K, g - 1, g, q, thread, 3)
                    blocks = len(out) // (K * g * k.vl)
                    whole = out.reshape(blocks // q, K, q, g, k.vl)
                    got = whole[:, :, :, g - 1].transpose(0, 2, 3, 1).reshape(blocks * k.vl, K)
                    np.testing.assert_array_equal(got[:n], matrix)
                    assert not got[n:].any() and (whole[:, :, :, :g - 1] == -5).all()


def test_folds(k):
    for m, K, R in ((1, 1, 1), (5, 3, 17), (k.vl, 2 * k.vl, 128), (2 * k.vl + 7, 5 * k.vl + 1, 40),
                    (33, 17 * k.vl + 3, 9), (7, 9, 0)):
        a = k.array(random.integers(-3, 4, (R, m + 5)))
        x = [k.array(random.integers(-3, 4, K)) for _ in range(R)]
        c = k.array(random.integers(-3, 4, (m, K + 2)))
        want = c.astype(np.float64)
        product = a[:, 2:m + 2].astype(np.float64).T @ np.array(x, np.float64).reshape(R, K)
        for add in (1, 0):
            want[:, :K] = product + add * want[:, :K]
            k.fold(c, K + 2, m, K, a, m + 5, 2, k.pointers(x), R, add)
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
    for m, n, gap in ((1, 1, 3), (7, 70, 3), (16, 16, 3), (33, 5, 3), (5, 2, 0), (4, 4, 0), (37, 8, 0), (64, 8, 0),
                      (3, 3, 0), (20, 20, 0), (18, 50, 2), (30, 23, 0)):
        S = k.array(random.standard_normal((m, n + gap)))
        q, p = k.array(random.standard_normal(n)), k.array(random.standard_normal(m))
        square, tolerance = S[:, :n].astype(np.float64), 300 * np.finfo(k.type).eps
        for add in (0, 1):
            y = k.array(np.ones(m))
            k.matvec(y, S, n + gap, q, m, n, 0, add)
            np.testing.assert_allclose(y, square @ q + add, atol=tolerance)
            y = k.array(np.ones(n))
            k.matvec(y, S, n + gap, p, m, n, 1, add)
            np.testing.assert_allclose(y, square.T @ p + add, atol=tolerance)


@pytest.mark.parametrize("turns", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_small_products(k, turns):
    for rows, inner, columns in ((1, 1, 1), (7, 70, 1), (33, 16, 1), (5, 1, 40), (3, 20, 17), (18, 9, 35),
                                (4, 64, 4), (64, 4, 4), (4, 4, 64), (6, 33, 5), (21, 16, 66)):
        a, b = random.standard_normal((rows, inner)), random.standard_normal((inner, columns))
        given = [k.array(np.ascontiguousarray(m.T if turned else m)) for m, turned in zip((a, b), turns)]
        to = k.array(np.full(rows * columns + 1, 7))
        k.small_product(to, *given, rows, inner, columns, *turns)
        np.testing.assert_allclose(to[:-1].reshape(rows, columns), a @ b, atol=300 * np.finfo(k.type).eps)
        assert to[-1] == 7


def test_matrices_are_turned_over(k):
    for rows, columns in ((1, 1), (4, 64), (64, 4), (16, 32), (19, 37), (12, 16), (16, 12), (24, 24), (13, 29)):
        given = random.standard_normal((rows, columns))
        to = k.array(np.full(rows * columns + 1, 7))
        k.turn(to, k.array(given), rows, columns)
        assert (to[:-1].reshape(columns, rows) == k.array(given).reshape(rows, columns).T).all() and to[-1] == 7


def test_along_an_axis(k):
    for shape in ((1, 5, 1), (3, 4, 1), (5, 4, 1), (40, 8, 1), (21, 2, 1), (37, 20, 1), (4, 32, 1), (17, 33, 1),
                  (2, 7, 5), (1, 3, 16), (2, 5, 37)):
        x = random.standard_normal(shape) * 3
        given, v = k.array(x), k.array(x).astype(np.float64)
        lse = np.log(np.exp(v).sum(1, keepdims=True))
        for which, want in enumerate((v.sum(1), v.max(1), v.min(1), lse[:, 0], np.exp(v - lse), v - lse)):
            to = k.array(np.full(want.size + 1, 7))
            k.along_axis(which, to, given, *shape)
            k.close(to[:-1].reshape(want.shape), want, 8, atol=200 * np.finfo(k.type).eps)
            assert to[-1] == 7
    line = k.array([[np.nan, 1], [0, -np.inf], [2, -np.inf]]).reshape(1, 3, 2)
    to = k.array(np.zeros(2))
    k.along_axis(1, to, line, 1, 3, 2)
    assert np.isnan(to[0]) and to[1] == 1
    k.along_axis(2, many := k.array(np.zeros(6)), k.array([np.nan, 1, 3, np.inf] * 6), 6, 4, 1)
    assert np.isnan(many).all()
    k.along_axis(3, to, line[:, 1:].copy(), 1, 2, 2)
    k.close(to[0], np.log(1 + np.exp(2)), 4)
    assert to[1] == -np.inf


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
