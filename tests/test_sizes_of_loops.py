"""Sizes that only a loop itself tells: numbers picked out of it or made of it, and put together again. Each program is
judged by NumPy."""

import numpy as np
import pytest
from programs_in_text import B, T, run


def follow(step, shape, *inputs):
    """`s = step(s[t-1], inputs...)` over all frames."""
    s, found = np.zeros((B, *shape)), []
    for frame in zip(*inputs):
        s = np.stack([step(s[b], *(f[b] for f in frame)) for b in range(B)])
        found.append(s)
    return np.stack(found)


def test_numbers_of_a_loop_put_together_tell_its_size():
    """A scalar or a [1] that goes into the loop beside them decides nothing."""
    out, x, w = run("""
        fn f(s) = concat(10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 2 * s[2])
        model m {
            input u  input x : [2]
            a = a[t-1] + 0.1 * concat(a[t-1][1], u - a[t-1][0])
            b = b[t-1] + 0.01 * f(b[t-1]) + u
            c = u * concat(c[t-1][2], x[0], x[1]) + (1 - u) * c[t-1]
            S = u * concat(reshape(x, [1, 2]), S[t-1][0:3, :]) + (1 - u) * S[t-1]
            output a, b, c, S
        }""")
    u, v = x["u"], x["x"]
    turn = lambda s: np.array([10 * (s[1] - s[0]), s[0] * (28 - s[2]) - s[1], s[0] * s[1] - 2 * s[2]])
    want = {"a": follow(lambda s, u: s + 0.1 * np.array([s[1], u - s[0]]), (2,), u),
            "b": follow(lambda s, u: s + 0.01 * turn(s) + u, (3,), u),
            "c": follow(lambda s, u, v: u * np.array([s[2], *v]) + (1 - u) * s, (3,), u, v),
            "S": follow(lambda s, u, v: u * np.array([v, *s[:3]]) + (1 - u) * s, (4, 2), u, v)}
    for name, value in want.items():
        np.testing.assert_allclose(out[name], value, rtol=1e-12, err_msg=name)


@pytest.mark.parametrize("gain", ["1", "g"])
@pytest.mark.parametrize("written, value", [
    ("dot(w[t-1], x)", lambda w, x, c: w @ x),
    ("w[t-1][0]", lambda w, x, c: w[0]),
    ("w[t-1][-1]", lambda w, x, c: w[-1]),
    ("sum(w[t-1][1:])", lambda w, x, c: w[1:].sum()),
    ("take(w[t-1], c)", lambda w, x, c: w[c]),
    ("take(x, argmax(w[t-1]))", lambda w, x, c: x[w.argmax()]),
    ("norm(w[t-1])", lambda w, x, c: np.linalg.norm(w)),
    ("cross_entropy(w[t-1], c)", lambda w, x, c: np.log(np.exp(w).sum()) - w[c]),
    ("hinge(w[t-1], c)", lambda w, x, c: np.maximum(0, 1 - np.where(np.arange(4) == c, w, -w)).sum()),
    ("sum(outer(w[t-1], x))", lambda w, x, c: np.outer(w, x).sum()),
    ("sum(i in 0..4 : w[t-1][i] * x[i])", lambda w, x, c: w @ x),
])
def test_a_number_made_of_a_loop_needs_no_size_of_it(gain, written, value):
    out, x, w = run(f"""model m {{
        input x : [4]  input c : class(4)  param g : [1]
        a = {gain} * concat({written}, x[1], x[2], x[3])
        w = 0.5 * w[t-1] + a
        output w
    }}""")
    by = w["g"][0] if gain == "g" else 1.0
    step = lambda s, x, c: 0.5 * s + by * np.array([value(s, x, c), *x[1:]])
    np.testing.assert_allclose(out["w"], follow(step, (4,), x["x"], x["c"]), rtol=1e-12)


@pytest.mark.parametrize("slots", [1, 6, 128])
@pytest.mark.parametrize("width", [1, 5])
def test_memories_of_as_many_slots_as_numbers_are_put_together(slots, width):
    out, x, w = run(f"""model m(slots = {slots}, w = {width}) {{
        input x : [w]  param g : [1]  param M0 : [slots, w]
        a = g * concat(i in 0..slots : dot(M[t-1][i], x))
        M = 0.1 * M[t-1] + outer(a, x)
        b = concat(i in 0..slots : norm(N[t-1][i]))
        N = 0.1 * N[t-1] + outer(b + 1, x)
        init O = M0
        c = g * concat(i in 0..slots : dot(O[t-1][i], x))
        O = 0.1 * O[t-1] * (1 - outer(c, x))
        r = transpose(O[t-1]) @ c
        output M, N, O, r
    }}""")
    v, g, M0 = x["x"], w["g"], w["M0"]
    step = lambda M, x: 0.1 * M + np.outer(g * (M @ x), x)
    np.testing.assert_allclose(out["M"], follow(step, M0.shape, v), rtol=1e-9)
    step = lambda N, x: 0.1 * N + np.outer(np.linalg.norm(N, axis=1) + 1, x)
    np.testing.assert_allclose(out["N"], follow(step, M0.shape, v), rtol=1e-9)
    for b in range(B):
        memory = M0
        for frame in range(T):
            c = g * (memory @ v[frame, b])
            np.testing.assert_allclose(out["r"][frame, b], memory.T @ c, rtol=1e-9)
            memory = 0.1 * memory * (1 - np.outer(c, v[frame, b]))
            np.testing.assert_allclose(out["O"][frame, b], memory, rtol=1e-9)


@pytest.mark.parametrize("written, value", [
    ("dot(g[t-1], x)", lambda g, x, c, W: g @ x),
    ("dot(x, 2 * k)", lambda g, x, c, W: 2 * x @ g),
    ("sum(W @ g[t-1])", lambda g, x, c, W: (W @ g).sum()),
    ("cross_entropy(g[t-1], c)", lambda g, x, c, W: np.log(np.exp(g).sum()) - g[c]),
])
def test_a_loop_of_numbers_is_as_long_as_what_it_has_to_fit(written, value):
    """Nothing that goes into the loop is a vector; what is made of it says that it is one."""
    out, x, w = run(f"""model m {{
        input x : [4]  input c : class(4)  param W : [3, 4]
        k = g[t-1]
        g = 0.5 * k + 0.1 * {written} + 0.3
        output g
    }}""")
    step = lambda g, x, c: 0.5 * g + 0.1 * value(g, x, c, w.get("W", np.zeros((3, 4)))) + 0.3
    np.testing.assert_allclose(out["g"], follow(step, (4,), x["x"], x["c"]), rtol=1e-12)
