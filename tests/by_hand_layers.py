"""More programs beside their meaning by hand (by_hand.py): cells in cells, layers as values, functions, shapes."""

import numpy as np
from by_hand import ByHand, entering, loop, rnn
from programs_in_text import ago

PROGRAMS: dict[str, ByHand] = {}
means = entering(PROGRAMS)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def total(x, k: int = 1):
    """s = s[t-k] + x."""
    s = np.zeros_like(x)
    for t in range(len(x)):
        s[t] = x[t] + (s[t - k] if t >= k else 0)
    return s


def back(layer, x, *args):
    """What reversed(layer)(x) is."""
    return layer(x[::-1], *args)[::-1]


@means("""
cell deep(n)(x, first) {
    param U : [2, n, n]
    h = tanh(x + U[0] @ h[t-1] + U[1] @ h[t-3])
    init h = first
    init h[t-2] = 2 * first
    init h[t-3] = 1
    return h
}
cell there_and_back(n)(x, a) { p = deep(n)(x, a)  q = reversed(deep(n))(p, -a)  return q, p }
model m {
    input x : [3]
    input a : [3] per sequence
    q, p = there_and_back(3)(x, a)
    output q, p
}""", causal=False)
def initial_values_of_cells_in_cells(x, a, w):
    def deep(x, first, U):
        before, h = {-1: first, -2: 2 * first, -3: np.ones(3)}, []
        at = lambda t: h[t] if t >= 0 else before[t]
        for t in range(len(x)):
            h.append(np.tanh(x[t] + U[0] @ at(t - 1) + U[1] @ at(t - 3)))
        return np.array(h)
    p = deep(x, a, w["q.p.U"])
    return {"p": p, "q": back(deep, p, -a, w["q.q.U"])}


@means("""model m(lags = [1, 2, 4], k = 3) {
    input x : [2]
    param U : [k, 2, 2] ~ normal(0, 0.5)
    param B : [k, 2]
    param g : [k] = 0.5
    param Z : [2, k, 2, 2]
    h = tanh(x + sum(i in 0..k : g[i] * (U[i] @ h[t-lags[i]]) + B[i]))
    output h, a = sum(i in 0..2 : sum(j in 0..k : Z[i, j] @ x[t-i-j])), b = max(i in lags : h[t-i] * i),
        c = concat(i in 0..k-1 : x[t-i][0:i+1]), d = product(l in lags : 1 + x[t-l]),
        e = sum(i in 0..k : where(mod(i, 2) == 0, x[t-i], 0)), f = sum(i in [2, 0] : x[i // 2] * i),
        q = sum(U[1]) + sum(B[0:2, 1]) + x[0] * Z[1, 2, 0, 1]
}""")
def families_of_parameters(x, w):
    U, B, g, Z, lags, h = w["U"], w["B"], w["g"], w["Z"], [1, 2, 4], []
    for t in range(len(x)):
        h.append(np.tanh(x[t] + sum(g[i] * (U[i] @ (h[t - lag] if t >= lag else np.zeros(2))) + B[i]
                                    for i, lag in enumerate(lags))))
    h = np.array(h)
    return {"h": h, "a": sum(ago(x, i + j) @ Z[i, j].T for i in range(2) for j in range(3)),
            "b": np.max([ago(h, i) * i for i in lags], 0), "c": np.concatenate([x[:, :1], ago(x, 1)], 1),
            "d": np.prod([1 + ago(x, lag) for lag in lags], 0), "e": x + ago(x, 2), "f": 2 * x[:, 1],
            "q": U[1].sum() + B[:2, 1].sum() + x[:, 0] * Z[1, 2, 0, 1]}


@means("""model m {
    input x : [3]
    layer L = rnn(3)
    a = L(x)
    st = stack(2, rnn(3))(x)
    sr = reversed(stack(2, rnn(3)))(x)
    ss = stack(2, share(2, rnn(3)))(x)
    output a, again = L(a), r = reversed(L)(x), s = share(2, L)(x), st, sr, ss, d = L(x[t-1])[t+1], e = L(x)[t-2],
        read = L.W @ x, lower = st.0 + 0, before = st.1[t-1]
}""", causal=False)
def layers_own_or_share_their_parameters(x, w):
    run = lambda x, place: rnn(w, place, x)
    a, lower = run(x, "L"), run(x, "st.0")
    st = run(lower, "st.1")
    return {"a": a, "again": run(a, "L"), "r": back(run, x, "L"), "s": run(a, "L"), "st": st,
            "sr": back(run, back(run, x, "sr.0"), "sr.1"),
            "ss": run(run(run(run(x, "ss.0"), "ss.0"), "ss.1"), "ss.1"), "d": ago(run(ago(x, 1), "L"), -1),
            "e": ago(a, 2), "read": x @ w["L.W"].T, "lower": lower, "before": ago(st, 1)}


@means("""
cell total(k)(x) { s = s[t-k] + x  return s }
cell deep(k)(x) {
    a = total(k)(x)
    b = reversed(total(k))(a)
    c = reversed(total(k + 1))(b[t-1])
    return c, a, b
}
cell taps()(x) { y = x[t-1] - 2 * x[t+2]  return y }
model m {
    input x : [2]
    c, a, b = reversed(deep(2))(x)
    output a, b, c, stacked = stack(2, reversed(total(1)))(x), twice = reversed(reversed(total(2)))(x),
        inside = reversed(residual(total(1)))(x), outside = residual(reversed(total(1)))(x[t+1]),
        shared = reversed(share(2, total(1)))(x), late = reversed(total(1))(x)[t-1], taps = reversed(taps())(x)
}""", causal=False)
def reversed_layers_in_reversed_layers(x, w):
    a = back(total, x, 2)
    b = total(a, 2)
    once = back(total, x)
    return {"a": a, "b": b, "c": total(ago(b, -1), 3), "stacked": back(total, once), "twice": total(x, 2),
            "inside": x + once, "outside": ago(x, -1) + back(total, ago(x, -1)), "shared": back(total, once),
            "late": ago(once, 1), "taps": ago(x, -1) - 2 * ago(x, 2)}


@means("""
const cs = [1, 0.5, -2]
fn prev(v, k) = v[t-k]
fn average(a, b) = 0.9 * prev(a, 1) + 0.1 * b
fn poly(x, cs) = sum(i in 0..3 : cs[i] * x^i)
fn both(x) = concat(x, prev(x, 2))
model m {
    input x : [2]
    y = average(y, x)
    output y, p = poly(x, cs), q = both(x)[t-1], r = prev(prev(x, 1), 2), s = prev(x + y, 1), clock = prev(3 * t, 1)
}""")
def functions_of_signals_and_sizes(x, w):
    y, = loop(lambda v, y: (0.9 * y + 0.1 * v,), x, np.zeros(2))
    return {"y": y, "p": 1 + 0.5 * x - 2 * x ** 2, "q": np.concatenate([ago(x, 1), ago(x, 3)], 1), "r": ago(x, 3),
            "s": ago(x + y, 1), "clock": np.maximum(0, 3 * (np.arange(len(x)) - 1))}


@means("""
cell pair(n)(x) { param W : [n, dim(x)]  y = W @ x  z = y[t-1]  return y, z }
model m {
    input x : [3]
    input c : class(3)
    layer E = embed(4)
    layer D = dense(2)
    layer S = stack(2, dense(3))
    a = E(c)
    s = S(x)
    k = lstm(2)(x)
    n, late = pair(2)(x)
    p = pair(2)(x)
    output a, tied = transpose(E.W) @ a, d = D(x), before = D(x[t-1]), again = D.W @ x[t-1] + D.b, s, twice = S(s),
        product = S.0.W @ S.1.W @ x, inner = k.c * k.o[t-1] + k.bf, sum_of = n + late, also = p.z + p
}""")
def parameters_and_signals_of_cells_read_by_name(x, c, w):
    dense = lambda x, place: x @ w[f"{place}.W"].T + w[f"{place}.b"]
    S = lambda x: dense(dense(x, "S.0"), "S.1")
    gate = lambda g, v, h: w[f"k.W{g}"] @ v + w[f"k.U{g}"] @ h + w[f"k.b{g}"]

    def lstm(v, h, c, _):
        o = sigmoid(gate("o", v, h))
        c = sigmoid(gate("f", v, h)) * c + sigmoid(gate("i", v, h)) * np.tanh(gate("g", v, h))
        return o * np.tanh(c), c, o
    _, cell, o = loop(lstm, x, *np.zeros((3, 2)))
    n, p = x @ w["n.W"].T, x @ w["p.W"].T
    return {"a": w["E.W"].T[c], "tied": w["E.W"].T[c] @ w["E.W"], "d": dense(x, "D"), "before": dense(ago(x, 1), "D"),
            "again": dense(ago(x, 1), "D"), "s": S(x), "twice": S(S(x)), "product": x @ w["S.1.W"].T @ w["S.0.W"].T,
            "inner": cell * ago(o, 1) + w["k.bf"], "sum_of": n + ago(n, 1), "also": p + ago(p, 1)}


@means("""model m {
    input x : [4]
    input z
    param W : [2, 4]
    param V : [4, 2]
    output a = -x^2, b = 2^-x, c = 2^3^0.5 * x, d = -x^2 * 3, e = x / 2 / 4, f = x - 1 - 2,
        g = (x > 0) - (x < 0) + 1, h = not x > 0, i = x > 0 and z > 0 or x < -1, k = 3 * W @ x, l = 2 * V @ W @ x / 4,
        m1 = -W @ x, n = x[2:] + W @ x[t-1] * 2 - z
}""")
def which_operator_binds_tighter(x, z, w):
    z, W, V = z[:, None], w["W"], w["V"]
    return {"a": -(x ** 2), "b": 2.0 ** -x, "c": 2 ** 3 ** 0.5 * x, "d": -3 * x ** 2, "e": x / 8, "f": x - 3,
            "g": np.sign(x) + 1, "h": x <= 0, "i": ((x > 0) & (z > 0)) | (x < -1), "k": 3 * x @ W.T,
            "l": x @ W.T @ V.T / 2, "m1": -x @ W.T, "n": x[:, 2:] + 2 * ago(x, 1) @ W.T - z}


@means("""model m {
    input x : [3]
    c = reshape(concat(x, x), [2, 3]) + reshape(x, [1, 3])
    output c, added = x + zeros(3) + ones(1) + [1, 2, 3], joined = concat(x, 1, [2, 3], x[0]),
        table = reshape(x, [3, 1]) * reshape(x, [1, 3]), e = sum(c, axis = 0) * mean(c, axis = -1)[0],
        f = x[0] * x + x[2], g = where([1, 0, 1], x, 0), h = min(x, 0, [1, -1, 0]),
        powers = product(k in 0..dim(x) : x[k]), sums = concat(k in 0..dim(x) : sum(l in 0..k+1 : x[l])),
        steepest = max(q in 0..2 : x[q+1] - x[q]), inner = x[:-1] + x[1:], column = outer(x, [1, 2])[1:, 0],
        turned = transpose(reshape(x, [1, 3])) @ [2], one = eye(3)[1] * x
}""")
def shapes_as_in_numpy(x, w):
    frames = len(x)
    c = np.stack([x, x], 1) + x[:, None]
    fixed = np.tile([1, 2, 3], (frames, 1))
    return {"c": c, "added": x + 1 + [1, 2, 3], "joined": np.concatenate([x, fixed, x[:, :1]], 1),
            "table": x[:, :, None] * x[:, None], "e": c.sum(1) * c.mean(2)[:, :1], "f": x[:, :1] * x + x[:, 2:],
            "g": x * [1, 0, 1], "h": np.minimum(np.minimum(x, 0), [1, -1, 0]), "powers": x.prod(1),
            "sums": np.cumsum(x, 1), "steepest": np.diff(x, axis=1).max(1), "inner": x[:, :-1] + x[:, 1:],
            "column": x[:, 1:], "turned": 2 * x, "one": x * [0, 1, 0]}
