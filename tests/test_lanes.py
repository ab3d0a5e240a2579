"""Small vectors and matrices with a row in every lane: every operator on them, in loops and outside, against the
oracle; the fixed C beneath; and when rows are made one by one instead."""

import subprocess
import sys

import numpy as np
import pytest
from commands import rnnc as rnnc_command
from compare import compare, draw_data, net_of, same_bits, set_params
from fixed_c import loaded
from test_kernels import BUILDS

import rnnc
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan import few, waves

# Every operator that mixes entries, on signals; views, labels out of range before a start, whole numbers that are kept.
MIXED = """model mixed(m = 3, n = 2) {
    input x : [m * n]
    input k : class(m)
    input on : flag
    input th : [m] per sequence
    target c : class(m)
    target z : [m]
    param W : [m, m]
    param E : [n, m]
    X = reshape(x, [m, n])
    Y = X @ transpose(X) + transpose(W) @ X @ transpose(X[t-1])
    v = softmax(Y, axis = 0)[1] + logsoftmax(Y, axis = 1)[0] + logsumexp(Y, axis = 1) + max(Y, axis = 0)
    w = sum(outer(v, x[1:3]), axis = 1) + concat(x[0:1], E @ k[t-1]) + min(X @ E, axis = 1) + th
    s = take(v, k[t-1]) + take(X, k)[1] + logsumexp(w) + dot(v, w) + max(v) * sum(X)
    far = argmax(Y, axis = 1)
    one = one_hot(k[t+1]) * w[t-2] + w[t+1] + far
    count = where(on, count[t-1] + 1, 0)
    last = argmax(w)
    kept = where(count > 1.5 and last == k, mod(t, 3), max(0, 5 - t) + kept[t-1])
    a = s * tanh(one) + kept
    loss cross_entropy(a + v, c)
    loss mse(a * count, z)
    output a, s, Y, count, kept, far, best = last
}"""
# The same in loops of both directions: matrices as states, products that follow one another, parts of a past, an
# initial value for each sequence, a delay beyond the registers.
LOOPS = """model loops(m = 3, n = 2) {
    input x : [n]
    input k : class(n)
    input on : flag
    input p0 : [m] per sequence
    target z : [m]
    param U : [m, m]
    param P : [m, n]
    param A : [n, m]
    param L : [m, n] ~ normal(0, 0.5)
    init p = p0
    init S = 0.1
    h = tanh(P @ x + U @ p[t-1] / 2)
    a = softmax(A @ h + S[t-1][0])
    S = where(on, S[t-1], 0.5 * S[t-1] + a[0] * outer(h, x) - 0.1 * S[t-2] @ transpose(S[t-1]) @ L)
    p = concat(h[0:2] * a, p[t-1][1:2]) + 0.1 * p[t-5] + S @ a
    q = tanh(transpose(S) @ p + 0.3 * q[t+1] + sum(S[t+1], axis = 0) * take(q[t+2], k))
    turns = where(max(p) > p[t-1][0], turns[t-1] + 1, turns[t-1])
    output p, q, S, turns
    loss mse(p + concat(q, sum(q)), z)
}"""
# A small system by Runge-Kutta, and averages of different lengths whose matrix a vector drives.
STEPS = """model steps(n = 4, k = 8) {
    input x : [n]
    target y : [n]
    param A : [n, n]
    param a, w : [n, k] ~ uniform(0, 1)
    q = 0.5 + 0.1 * x
    p1 = s[t-1] * (q + A @ s[t-1])
    s2 = s[t-1] + 0.05 * p1
    p2 = s2 * (q + A @ s2)
    s3 = s[t-1] + 0.05 * p2
    p3 = s3 * (q + A @ s3)
    s = tanh(s[t-1] + 0.1 * (p1 + p2 + p3))
    init s = 0.5
    m = a * m[t-1] + (1 - a) * reshape(s, [n, 1])
    e = 0.9 * e[t-1] + 0.1 * x[0] * e[t-2]   init e = 1
    o = sum(w * m, axis = 1)
    output o, m, e
    loss mse(o, y) + (e - y[0]) ^ 2
}"""
TEXTS = {"mixed": MIXED, "loops": LOOPS, "steps": STEPS}


def graph(name: str, **sizes):
    return pipeline.elaborated(Source(f"{name}.rnn", TEXTS[name]), None, sizes)


def c_of(text: str, **sizes) -> str:
    return pipeline.emit(Source("m.rnn", text), pipeline.Options(), sizes).c


@pytest.mark.parametrize("frames, streams", [(1, 1), (9, 1), (40, 1), (6, 3), (20, 16), (7, 17), (3, 40)])
@pytest.mark.parametrize("name", TEXTS)
def test_every_operator(name, frames, streams, any_threads):
    dtype = "float64" if (frames + streams) % 2 else "float32"
    found = [compare(graph(name), dtype, seed, frames, streams) for seed in range(3)]
    outcome = next(f for f in found if f["ratio"] is not None)
    same_bits(outcome["net"], outcome["data"], threads=(1, 2, 3))


@pytest.mark.parametrize("name", TEXTS)
def test_with_rows_one_by_one(name, monkeypatch, any_threads):
    """The same programs as they are made where values have more entries."""
    monkeypatch.setattr(few, "ENTRIES", 1)
    assert "RN_FOR(u, 3) " not in pipeline.emit_graph(graph(name), pipeline.Options()).c
    assert any(compare(graph(name), "float64", seed, 7, 3)["ratio"] is not None for seed in range(3))


def test_larger_ones_go_both_ways_by_the_number_of_streams(any_threads):
    """Which way depends on the streams alone, and they agree."""
    text = "model m { input x : [12]\n target z : [12]\n S = 0.5 * S[t-1] + outer(x[0:5], x[5:12])" \
           "\n init S = 0.1\n h = concat(sum(S, axis = 1), sum(S, axis = 0)) + x\n output h\n loss mse(h, z) }"
    c = c_of(text)
    assert "_lanes(const rn_call *c" in c and "if (c->B >= " in c
    made = pipeline.elaborated(Source("m.rnn", text), None, {})
    for streams in (1, 4, 17, 33):
        outcome = compare(made, "float32", 1, 6, streams)
        assert outcome["ratio"] is not None
        same_bits(outcome["net"], outcome["data"], threads=(1, 2, 3))


@pytest.mark.parametrize("cell, frames, streams", [("delta_net(1, 1)", 9, 2), ("delta_net(2, 2)", 17, 2),
                                                   ("rwkv(2)", 33, 1)])
def test_how_many_rows_a_vector_has_decides_nothing(monkeypatch, any_threads, cell, frames, streams):
    """gcc made the equations once for a single row and once for more, and fused other products in each."""
    monkeypatch.setattr(waves, "ROWS", 8)
    text = f"model m {{ input x : [2]\n target y : [2]\n h = dense(2)({cell}(dense({cell.strip(')')[-1]})(x)))\n" \
           " output h\n loss mse(h, y) }"
    made = pipeline.elaborated(Source("m.rnn", text), None, {})
    net, data = net_of(made, "float32", "all"), draw_data(made, 1, "float32", frames, streams)
    set_params(net, data)
    same_bits(net, data)


def test_a_loop_of_few_entries_has_no_meetings():
    """Products, a softmax and a matrix in one step by rows; where there are many entries, by units that meet."""
    text = "model m(n = 4) { input x : [n]\n param U : [n, n]\n param A : [2, n]\n" \
           " h = tanh(x + U @ (h[t-1] * a[t-1][0]))\n a = softmax(A @ h)\n output h }"
    small, large = c_of(text), c_of(text, n=40)
    assert "run_0_1(c, " in large and "rn_meet(team, thread);\n        {" in large
    assert "h_kept1[4]" in small and "h_kept1" not in large and "rn_meet(team, thread);\n        {" not in small


def test_whole_vectors_stay_in_rows():
    """Equations of 64 numbers fill vectors by themselves: no second way is written for them."""
    c = c_of("model m { input x : [64]\n param a : [64] = 0.5\n d = a * x - x[t-1]\n output d, n = sqrt(sum(d ^ 2)) }")
    assert "_lanes(const rn_call" not in c and "rn_load_entries(at_" not in c


def test_a_loop_of_many_numbers_stays_in_lanes():
    """However many there are: a row one by one would waste the rest of each vector."""
    steps = "\n".join(f" v{i} = 0.5 * v{i}[t-1] + v{i - 1} * {i}" for i in range(1, 600))
    c = c_of(f"model m {{ input v0\n{steps}\n output v599 }}")
    assert "n = RN_MIN(RN_VL, " in c and "for (long r = first + part.b0; r < first + part.b1; r++)" not in c


def test_products_are_counted_whichever_way():
    text = "model m(n = 4) { input x : [n]\n param U : [n, n]\n param A : [2, n]\n" \
           " h = tanh(x + U @ (h[t-1] * a[t-1][0]))\n a = softmax(A @ h)\n output h }"
    assert "RN_COUNT_PRODUCT(0, (part.b1 - part.b0) * (rows / c->B), 2, 4);" in c_of(text)


@pytest.mark.parametrize("weights", ["bfloat16", "int8"])
def test_matrices_stored_short_stay_in_packed_products(weights):
    made = graph("loops")
    assert any(compare(made, "float32", seed, 6, 3, weights=weights)["ratio"] is not None for seed in range(3))


def test_explain_says_that_streams_lie_in_lanes(tmp_path):
    (tmp_path / "m.rnn").write_text("model m(n = 4) { input x : [n]\n param U : [n, n]\n param A : [2, n]\n"
                                    " h = tanh(x + U @ (h[t-1] * a[t-1][0]))\n a = softmax(A @ h)\n output h }")
    told = rnnc_command("explain", tmp_path / "m.rnn").stdout
    assert "Threads own streams and run all of time without meeting." in told
    assert "Each number of a frame is a vector, with a stream in every lane" in told


def test_a_large_value_does_not_join_a_small_loop():
    """The loop would have to leave its lanes."""
    c = c_of("model m { input x : [2]\n input y : [90]\n param U : [2, 2]\n h = tanh(x + U @ h[t-1])\n "
             "v = concat(h, y) * 2\n s = softmax(v)\n output s }")
    assert "h_kept1[2]" in c


def test_inputs_are_not_read_beyond_their_end():
    """Rows of an input lie side by side without padding: the last ones end where the array does."""
    net = compare(graph("mixed"), "float32", 0, 5, 3)["net"]
    data = draw_data(graph("mixed"), 0, "float32", 5, 3)
    whole = net.run(**data.inputs)
    behind = {name: np.concatenate([a.ravel(), np.full(64, -1 if a.dtype.kind == "i" else 3, a.dtype)])
              for name, a in data.inputs.items()}
    cut = {name: a[:data.inputs[name].size].reshape(data.inputs[name].shape) for name, a in behind.items()}
    again = net.run(**cut)
    assert all(np.array_equal(whole[name], again[name], equal_nan=True) for name in whole)


LEFT_OUT = {
    "products": "h = where(g, tanh(outer(x, x) @ h[t-1] + W @ x), h[t-1])",
    "powers": "h = where(g, logsumexp(M) + h[t-1] * max(x), h[t-1])\n init M = 0.1\n"
              " M = where(g, 0.5 * M[t-1] @ transpose(outer(exp(x), x)) + W @ outer(x, softmax(x)), M[t-1])",
}


@pytest.mark.parametrize("name, bad", [("products", 1e30), ("products", np.inf), ("products", np.nan),
                                       ("powers", 1e30)])
def test_what_does_not_count_spoils_no_gradient(name, bad):
    """Where a choice leaves a product out, neither it nor zero times it is looked at."""
    text = f"model m {{ input x : [3]\n input g : flag\n param W : [3, 3]\n {LEFT_OUT[name]}\n output h }}"
    net = rnnc.compile(text, gradient="all")
    x = np.random.default_rng(1).standard_normal((8, 17, 3)).astype(np.float32)
    g = np.arange(8 * 17).reshape(8, 17) % 3 != 0
    x[~g] = bad
    shape = (8, 17, 3) if name == "products" else (8, 17)
    back = net.vjp({"h": np.ones(shape, np.float32)}, x=x, g=g)
    assert np.isfinite(net.gradient).all() and net.gradient.any() and np.isfinite(back["x"]).all()


def test_initial_values_of_sequences_are_not_read_beyond_their_end():
    """A row of three numbers at the end of a page behind which there is none."""
    code = """if True:
        import ctypes, mmap, numpy as np, rnnc
        net = rnnc.compile("model m { input x : [3]\\n input p : [3] per sequence\\n input q : [6] per sequence\\n"
                           "h = tanh(h[t-1] * 0.7 + x)\\n init h = p\\n v = v[t-1] * v[t-2] + x\\n init v = q[3:6]\\n"
                           "output h, v }", gradient=None)
        pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        at = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        ctypes.CDLL(None).mprotect(ctypes.c_void_p(at + mmap.PAGESIZE), mmap.PAGESIZE, 0)
        def end(n):
            return np.frombuffer(pages, np.float32, n, mmap.PAGESIZE - 4 * n).reshape(1, n)
        for name, n in (("p", 3), ("q", 6)):
            given = {"p": np.ones((1, 3), np.float32), "q": np.ones((1, 6), np.float32)} | {name: end(n)}
            print(net.run(x=np.ones((2, 1, 3), np.float32), **given)["h"][0, 0, 0])
    """
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and len(done.stdout.split()) == 2, done.stderr


def test_names_beside_those_of_lanes():
    c_of("model m { input x : [3]\n a = argmax(x)\n a_first = 2 * sum(x)\n a_all = x + a_first\n u = a_all * x\n"
         " output o = a_first + one_hot(a) * u, a }")
    net = rnnc.compile("model m { input x : [3]\n a = argmax(x)\n a_first = 2 * sum(x)\n output a, a_first }")
    assert net.run(x=np.array([[1, 3, 2]], np.float32))["a_first"][0] == 12


def test_a_condition_of_whole_numbers_and_others(any_threads):
    """Among what chooses between whole numbers is a place that the same kernel finds."""
    text = "model m { input x : [3]\n input k : class(3)\n last = argmax(x)\n" \
           " kept = where(x[0] > 0 and last == k, mod(t, 3), max(0, 5 - t) + kept[t-1])\n output kept }"
    for entries in (64, 1):
        few.ENTRIES, before = entries, few.ENTRIES
        try:
            compare(pipeline.elaborated(Source("m.rnn", text), None, {}), "float64", entries, 9, 3)
        finally:
            few.ENTRIES = before


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_in_its_row(value):
    net = compare(graph("loops"), "float32", 0, 12, 17)["net"]
    data = draw_data(graph("loops"), 0, "float32", 12, 17)
    before = net.run(**data.inputs)
    data.inputs["x"] = data.inputs["x"].copy()
    data.inputs["x"][4, 3] = value
    after = net.run(**data.inputs)
    others = np.arange(17) != 3
    assert all(np.array_equal(before[name][:, others], after[name][:, others]) for name in before)
    assert not np.isfinite(after["p"][5:, 3]).all() and np.isfinite(after["p"][:4, 3]).all()


# ------------------------------------------------------------------------------------------------------- the fixed C

@pytest.fixture(params=BUILDS, ids=lambda b: f"{b[0]}-{b[1]}-{'double' if b[2] else 'float'}")
def k(request):
    return loaded(*request.param)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 9, 17, 64])
def test_rows_are_turned_over_and_back(k, size):
    random = np.random.default_rng(size)
    for n in {1, 2, k.vl - 1, k.vl}:
        for stride in (size, size + 3):
            source = k.array(random.standard_normal((n - 1) * stride + size))
            lanes, padded = k.lined(64 * k.vl), -size % k.vl + size
            rows = k.lined(n * padded + 1)
            rows[-1] = 7
            k.entries(lanes, rows, source, size, stride, n)
            for lane in range(k.vl):
                row = source[min(lane, n - 1) * stride:][:size]
                assert np.array_equal(lanes.reshape(64, k.vl)[:size, lane], row)
            for lane in range(n):
                assert np.array_equal(rows[lane * padded:][:size], source[lane * stride:][:size])
            assert rows[-1] == 7


def test_whole_lines(k):
    """Against NumPy, ties, NaN and infinite numbers included."""
    x = k.array(np.random.default_rng(1).standard_normal((2, 5, 3, k.vl)))
    x[0, 2, 1, 0], x[1, :, 2, 1], x[0, 3, 0] = np.nan, -np.inf, x[0, 1, 0]
    wide = x.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        most = wide.max(1, keepdims=True)
        pivot = np.where(np.isinf(most), 0, most)
        sums = np.log(np.exp(wide - pivot).sum(1, keepdims=True)) + pivot
        powers = np.exp(wide - most)
        wanted = [powers / powers.sum(1, keepdims=True), wide - most - np.log(powers.sum(1, keepdims=True)), sums,
                  np.argmax(x, axis=1)[:, None]]
    for how, want in enumerate(wanted):
        found = k.array(np.zeros((30, k.vl)))
        k.each_line(how, found, x)
        shape = (2, 5, 3, k.vl) if how < 2 else (2, 1, 3, k.vl)
        np.testing.assert_allclose(found[:np.prod(shape[:3])].reshape(shape), want, rtol=1e-5, atol=1e-5)
    flat = np.nan_to_num(wide, nan=1.0, neginf=-2.0)
    found = k.array(np.zeros((30, k.vl)))
    k.each_line(4, found, k.array(flat))
    lines = flat.reshape(30, k.vl)
    total = np.log(np.exp(lines).sum(0))
    np.testing.assert_allclose(found[:2], [total - lines[7], total], rtol=1e-5)
