"""What programs mean, judged by NumPy: delays, values before the start, constants, matrices, labels, losses."""

import math

import numpy as np
from compare import compare
from programs_in_text import B, T, ago, graph_of, run, values

from rnnc.graph import oracle
from rnnc.graph.elaborate.constants import expm
from rnnc.graph.nodes import INT


def test_delays_go_to_the_signals():
    out, x, w = run("""
    fn prev(v) = v[t-1]
    cell lagged(k)(x) { y = x[t-k]  return y }
    model m {
        input x : [2]
        param W : [2, 2]
        param b : [2]
        a = (W @ x + b)[t-1]
        c = prev(prev(x))[t+1]
        d = lagged(2)(exp(x))
        e = reversed(lagged(2))(x[t-1])
        f = lagged(1)(x)[t-1]
        g = window(x, 3)
        h = reversed(lagged(1))(prev(x))
        i = (t + 10)[t-2]
        output a, c, d, e, f, g, h, i
    }""")
    v = x["x"]
    np.testing.assert_allclose(out["a"], ago(v, 1) @ w["W"].T + w["b"])
    np.testing.assert_allclose(out["c"], ago(v, 1))
    np.testing.assert_allclose(out["d"], np.exp(ago(v, 2)))
    np.testing.assert_allclose(out["e"], ago(v, -1))
    np.testing.assert_allclose(out["f"], ago(ago(v, 1), 1))
    np.testing.assert_allclose(out["g"], np.concatenate([v, ago(v, 1), ago(v, 2)], axis=-1))
    np.testing.assert_allclose(out["h"], v)
    assert out["i"][:, 0].tolist() == [10, 10, 10, 11, 12, 13]


def test_chains_of_any_length():
    """They were at most 150 operators long; delays, sizes and signals follow them by loops."""
    long = lambda first, then: first + then * 400
    out, x, _ = run(f"""
    model m(k = 3) {{
        input x : [2]
        a = {long("x", " + x[t-1] - 2 * x")}
        b = x[{long("1 - 1", " + 1 - 1")} + t - 2{" + 1 - 1" * 400}]
        c = concat(zeros({long("k", " + k - k")}), x)
        d = {long("x", " * 2 / 2")}
        e = {long("x > 0", " and x > 0")}
        output a, b, c, d, e
    }}""")
    v = x["x"]
    np.testing.assert_allclose(out["a"], v + 400 * (ago(v, 1) - 2 * v))
    np.testing.assert_allclose(out["b"], ago(v, 2))
    assert (out["c"][..., :3] == 0).all() and (out["c"][..., 3:] == v).all()
    np.testing.assert_allclose(out["d"], v)
    assert (out["e"] == (v > 0)).all()


def test_what_delayed_reads_see_before_the_start():
    out, x, w = run("""
    cell summed(first)(x) { y = x + y[t-1]  init y = first  return y }
    model m {
        input x : [2]
        param a : [2]
        const c[i : 2] = i + 1
        h = x + h[t-2]
        init h = a * c
        init h[t-1] = 7
        s = summed(3)(x)
        p = s[t-1]
        u = summed(4)(x)
        init u = 5
        q = u[t-1]
        r = summed(4)(x)[t-1]
        z = x[t+1] + r[t+2]
        init x = c
        init r[t+2] = 2
        output p, q, r, z, h
    }""")
    v, c = x["x"], np.array([1.0, 2.0])
    h = np.zeros_like(v)
    for t in range(T):
        h[t] = v[t] + (w["a"] * c if t == 0 else 7 if t == 1 else h[t - 2])
    np.testing.assert_allclose(out["h"], h)
    total = np.cumsum(v, axis=0)
    np.testing.assert_allclose(out["p"], ago(total + 3, 1, 3))          # the cell's own value before the start
    np.testing.assert_allclose(out["q"], ago(total + 4, 1, 5))          # that of the equation that names its result
    r = ago(total + 4, 1, 4)
    np.testing.assert_allclose(out["r"], r)
    ahead = ago(r, -2)
    ahead[-1] = 2                                                       # r[t+2] at the last frame is two after it: 2
    ahead[-2] = 0                                                       # one after it has no value of its own
    left = ago(v, -1)
    left[-1] = c
    np.testing.assert_allclose(out["z"], left + ahead)


def test_starts_and_states_of_cells():
    """A reversed layer runs the other way, with what is handed to it left alone."""
    out, x, w = run("""model m {
        input x : [2]
        f = rnn(3)(x)
        b = reversed(rnn(3))(x)
        output f, b
    }""")
    def rnn(x, place):
        h, found = np.zeros((B, 3)), []
        for frame in x:
            h = np.tanh(frame @ w[f"{place}.W"].T + h @ w[f"{place}.U"].T + w[f"{place}.b"])
            found.append(h)
        return np.array(found)
    np.testing.assert_allclose(out["f"], rnn(x["x"], "f"))
    np.testing.assert_allclose(out["b"], rnn(x["x"][::-1], "b")[::-1])


def test_constants():
    out, x, _ = run("""
    const third = 1 / 3
    const lags = [1, 3]
    model m(n = 3) {
        input x : [n]
        const A[i, j : n, n] = where(i > j, (2 * i + 1)^j / 2, -i)
        const P[i, j : n, n] = product(k in 1..j + 1 : (i - k + 1) / k)
        const E = expm(A / 3)
        const S = solve(eye(n) + A, ones(n))
        const g = A[2, 1] + lags[1] + sum(lags) * max(lags) + third + 7 // 2 + floor(n / 2)
        output a = A @ x, p = P @ x, e = E @ x, s = S * x, c = g * x, i = inv(E) @ (E @ x)
    }""")
    v = x["x"]
    A = np.array([[(2 * i + 1) ** j / 2 if i > j else -i for j in range(3)] for i in range(3)], float)
    P = np.array([[math.comb(i, j) for j in range(3)] for i in range(3)], float)
    np.testing.assert_allclose(out["a"], v @ A.T)
    np.testing.assert_allclose(out["p"], v @ P.T)
    np.testing.assert_allclose(out["s"], v * np.linalg.solve(np.eye(3) + A, np.ones(3)))
    np.testing.assert_allclose(out["c"], v * (5 / 2 + 3 + 12 + 1 / 3 + 3 + 1))
    np.testing.assert_allclose(out["i"], v, atol=1e-12)
    values_, vectors = np.linalg.eig(A / 3)
    np.testing.assert_allclose(out["e"], v @ (vectors @ np.diag(np.exp(values_)) @ np.linalg.inv(vectors)).real.T)


def test_matrix_exponential_of_large_matrices():
    turn = expm(np.array([[0.0, -40.0], [40.0, 0.0]]))
    np.testing.assert_allclose(turn, [[np.cos(40), -np.sin(40)], [np.sin(40), np.cos(40)]], atol=1e-10)
    np.testing.assert_allclose(expm(np.zeros((2, 2))), np.eye(2))


def test_matrices():
    out, x, w = run("""model m {
        input q : [3]
        input v : [2]
        input S : [2, 3]
        input T : [3, 2, 4]
        output a = S @ q, b = v @ S, c = transpose(S) @ v, d = S[1] + S[0, :], e = S[:, 1], f = S[1, 2] * v,
            g = sum(S, axis = 0) + max(S, axis = -2), h = mean(S, axis = 1), i = softmax(S, axis = 0),
            j = argmax(S, axis = 1), k = reshape(S, [3, 2]), l = concat(S, S, axis = 1), m = norm(S) + sum(S) + dim(S),
            n = outer(v, q) * S, o = T[1][:, 0:2] + T[-1, :, 2:], p = S[0:1] + q[2], r = concat(S, reshape(q, [1, 3])),
            s = S @ transpose(S), u = dot(q, q) + v @ v, y = take(S, 1), z = logsumexp(S, axis = 1)
    }""")
    q, v, S, T_ = (x[n] for n in ("q", "v", "S", "T"))
    want = {
        "a": np.einsum("tbij,tbj->tbi", S, q), "b": np.einsum("tbi,tbij->tbj", v, S),
        "c": np.einsum("tbi,tbij->tbj", v, S), "d": S[..., 1, :] + S[..., 0, :], "e": S[..., 1],
        "f": S[..., 1, 2, None] * v, "g": S.sum(-2) + S.max(-2), "h": S.mean(-1),
        "i": np.exp(S) / np.exp(S).sum(-2, keepdims=True), "j": S.argmax(-1), "k": S.reshape(T, B, 3, 2),
        "l": np.concatenate([S, S], -1), "m": np.sqrt((S * S).sum((-1, -2))) + S.sum((-1, -2)) + 2,
        "n": v[..., :, None] * q[..., None, :] * S, "o": T_[:, :, 1, :, 0:2] + T_[:, :, 2, :, 2:],
        "p": S[..., 0:1, :] + q[..., 2, None, None], "r": np.concatenate([S, q[..., None, :]], -2),
        "s": np.einsum("tbij,tbkj->tbik", S, S), "u": (q * q).sum(-1) + (v * v).sum(-1), "y": S[..., 1, :],
        "z": np.log(np.exp(S).sum(-1))}
    assert set(want) == set(out)
    for name, value in want.items():
        np.testing.assert_allclose(out[name], value, err_msg=name)


def test_scalars_and_sizes_of_one():
    out, x, w = run("""model m {
        input a
        input b : [1]
        input c : [3]
        param W : [3, 1]
        param M : [3, 4]
        output d = a + c, e = b * c, f = W @ a + W @ b, g = concat(a, b, c, 2), h = W * M, i = softmax(a) + mean(a),
            j = where(c > a, b, a), k = dim(a) + dim(M) * dim(M, 1) + 0 * a
    }""")
    a, b, c, W, M = x["a"], x["b"], x["c"], w["W"], w["M"]
    np.testing.assert_allclose(out["d"], a[..., None] + c)
    np.testing.assert_allclose(out["e"], b * c)
    np.testing.assert_allclose(out["f"], a[..., None] * W[:, 0] + b * W[:, 0])
    np.testing.assert_allclose(out["g"], np.concatenate([a[..., None], b, c, np.full((T, B, 1), 2)], -1))
    np.testing.assert_allclose(out["h"], np.broadcast_to(W * M, (T, B, 3, 4)))
    np.testing.assert_allclose(out["i"], 1 + a)
    np.testing.assert_allclose(out["j"], np.where(c > a[..., None], b, a[..., None]))
    assert (out["k"] == 13).all()


def test_labels():
    out, x, w = run("""model m {
        input x, y : class(4)
        param W : [3, 4]
        param v : [4]
        input z : [4]
        z2 = where(x > 1, x, y)
        output a = W @ x, b = W @ x[t-1], c = one_hot(x[t+1]), d = take(v, x), e = x == y, f = x < 2, g = W @ z2,
            h = W @ argmax(z), i = dim(x) * v[0], j = transpose(W)[0:4, 1:3] @ ones(2), k = x == x[t-1],
            l = one_hot(mod(t, 3), 5), m = take(v, t)
        loss cross_entropy(z, y)
        loss hinge(z, x[t-1])
        loss squared_hinge(z, y)
    }""")
    X, Y, W, v, z = x["x"], x["y"], w["W"], w["v"], x["z"]
    none = np.zeros_like(W[:, 0])
    column = lambda i: np.array([[W[:, k] if k >= 0 else none for k in row] for row in i])
    before = ago(X, 1, -1).astype(int)
    before[0] = -1
    after = ago(X, -1).astype(int)
    hot = np.eye(4)[after]
    hot[-1] = 0
    np.testing.assert_allclose(out["a"], column(X))
    np.testing.assert_allclose(out["b"], column(before))
    np.testing.assert_allclose(out["c"], hot)
    np.testing.assert_allclose(out["d"], v[X])
    np.testing.assert_allclose(out["e"], X == Y)
    np.testing.assert_allclose(out["f"], X < 2)
    np.testing.assert_allclose(out["g"], column(np.where(X > 1, X, Y)))
    np.testing.assert_allclose(out["h"], column(z.argmax(-1)))
    np.testing.assert_allclose(out["i"], np.full((T, B), 4 * v[0]))
    np.testing.assert_allclose(out["k"], X == before)
    np.testing.assert_allclose(out["l"][:, 0], np.eye(5)[np.arange(T) % 3])
    np.testing.assert_allclose(out["m"][:, 0], [*v, 0, 0])
    logp = z - np.log(np.exp(z).sum(-1, keepdims=True))
    np.testing.assert_allclose(out["loss"], -np.take_along_axis(logp, Y[..., None], -1)[..., 0])
    sign = lambda y: 2 * np.eye(4)[y] - 1
    first = np.maximum(0, 1 - sign(np.maximum(before, 0)) * z).sum(-1)
    first[0] = 0
    np.testing.assert_allclose(out["loss_2"], first)
    np.testing.assert_allclose(out["loss_3"], (np.maximum(0, 1 - sign(Y) * z) ** 2).sum(-1))


def test_losses_and_functions():
    erf = np.vectorize(math.erf)
    out, x, _ = run("""
    fn swish(x, beta = 2) = x * sigmoid(beta * x)
    model m {
        input x, y : [3]
        input f : flag
        output a = silu(x) + gelu(x) + clip(x, -0.5, 1), b = swish(x), c = max(x, y, 0) - min(x, 1),
            d = mod(x, 2) + floor(x) + x^2 + abs(x)^1.5 + (-x)^3 + 2^x, e = (x > 0 and not y > 0) + (f or x > 1),
            h = mean(x) + max(x) + min(x) + norm(x) + logsumexp(x), i = x != y, k = -x^2 / 4
        loss mse(x, y)
        loss mae(x, y)
        loss huber(2 * x, y)
        loss binary_cross_entropy(x, f)
    }""")
    v, y, f = x["x"], x["y"], x["f"]
    s = lambda z: 1 / (1 + np.exp(-z))
    want = {
        "a": v * s(v) + 0.5 * v * (1 + erf(v / 2 ** 0.5)) + np.clip(v, -0.5, 1), "b": v * s(2 * v),
        "c": np.maximum(np.maximum(v, y), 0) - np.minimum(v, 1),
        "d": v % 2 + np.floor(v) + v ** 2 + np.abs(v) ** 1.5 - v ** 3 + 2 ** v,
        "e": ((v > 0) & ~(y > 0)) * 1.0 + ((f[..., None] != 0) | (v > 1)),
        "h": v.mean(-1) + v.max(-1) + v.min(-1) + np.sqrt((v * v).sum(-1)) + np.log(np.exp(v).sum(-1)),
        "i": v != y, "k": -(v ** 2) / 4,
        "loss": ((v - y) ** 2).mean(-1), "loss_2": np.abs(v - y).mean(-1)}
    d = np.abs(2 * v - y)
    want["loss_3"] = np.where(d < 1, d * d / 2, d - 0.5).mean(-1)
    p = s(v)
    want["loss_4"] = -(f[..., None] * np.log(p) + (1 - f[..., None]) * np.log(1 - p)).mean(-1)
    for name, value in want.items():
        np.testing.assert_allclose(out[name], value, err_msg=name, atol=1e-12)


def test_whole_numbers():
    graph = graph_of("""model m {
        input x
        input f : flag
        output a = mod(t - 4, 3), b = where(f, t, b[t-1]), c = t / 2, d = n[t-1], e = max(t, 2) * x, g = 1 + 2,
            n = n[t-1] + 1
    }""")
    kinds = {name: graph[n].kind for name, n in graph.outputs.items()}
    assert {name for name, kind in kinds.items() if kind == INT} == {"a", "b"}
    x = values(graph)
    out = oracle.run(graph, x, frames=T, streams=B).outputs
    assert out["a"][:, 0].tolist() == [2, 0, 1, 2, 0, 1]
    last = np.zeros(B)
    for t in range(T):
        last = np.where(x["f"][t], t, last)
        assert out["b"][t].tolist() == last.tolist()
    assert out["c"][:, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5]
    assert out["d"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]


def test_vectors_hold_real_numbers():
    """Only single numbers are whole."""
    graph = graph_of("""model m {
        input x : [2]
        input S : [2, 3]
        best = argmax(S, axis = 1)
        output best, a = where(x > 0, t, 0), b = concat(t, 2), c = reshape(t, [1]), d = best[t-1],
            e = best == argmax(S[1]), f = argmax(S[1])
    }""")
    kinds = {name: graph[n].kind for name, n in graph.outputs.items()}
    assert {name for name, kind in kinds.items() if kind == INT} == {"f"}
    x = values(graph)
    out = oracle.run(graph, x, frames=T, streams=B).outputs
    best = x["S"].argmax(-1)
    np.testing.assert_array_equal(out["best"], best)
    np.testing.assert_array_equal(out["a"], np.where(x["x"] > 0, np.arange(T)[:, None, None], 0))
    np.testing.assert_array_equal(out["b"][:, 0], np.stack([np.arange(T), np.full(T, 2)], -1))
    np.testing.assert_array_equal(out["d"], ago(best, 1))
    np.testing.assert_array_equal(out["e"], best == best[..., 1:])
    assert compare(graph, "float64", 1)["ratio"] is not None


def test_repetition():
    out, x, w = run("""model m(lags = [1, 3]) {
        input x : [2]
        param U : [3, 2, 2]
        param b : [3, 2]
        output a = sum(i in 0..3 : U[i] @ x[t-i] + b[i]), c = concat(k in lags : x[t-k]),
            d = product(i in 0..2 : x[i] + i), e = max(k in lags : x[t-k]),
            f = sum(i in 0..3 : sum(j in 0..i : i * j * x)), g = concat(i in 0..2 : x[i])
    }""")
    v, U, b = x["x"], w["U"], w["b"]
    np.testing.assert_allclose(out["a"], sum(ago(v, i) @ U[i].T + b[i] for i in range(3)))
    np.testing.assert_allclose(out["c"], np.concatenate([ago(v, 1), ago(v, 3)], -1))
    np.testing.assert_allclose(out["d"], v[..., 0] * (v[..., 1] + 1))
    np.testing.assert_allclose(out["e"], np.maximum(ago(v, 1), ago(v, 3)))
    np.testing.assert_allclose(out["f"], 2 * v)
    np.testing.assert_allclose(out["g"], v)


def test_further_signals_go_to_every_copy():
    found, x, w = run("""
        cell step(by)(v, u) { param a : [2] = 1  return tanh(a * v + by * u) }
        model m { input x : [2]
                  s = share(3, step(0.5))(s[t-1], x)
                  d = stack(2, step(0.5))(u = x, v = x)
                  output s, d }""")
    v, want = 0.0, []
    for frame in x["x"]:
        for _ in range(3):
            v = np.tanh(w["s.a"] * v + 0.5 * frame)
        want.append(v)
    np.testing.assert_allclose(found["s"], want, rtol=1e-12)
    d = np.tanh(w["d.1.a"] * np.tanh((w["d.0.a"] + 0.5) * x["x"]) + 0.5 * x["x"])
    np.testing.assert_allclose(found["d"], d, rtol=1e-12)
