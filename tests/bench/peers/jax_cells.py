"""Cells in JAX as loops over frames (lax.scan), and the same with the gradients of the matrices taken out by hand.

`Form` says how: transposed (matrices stored [inputs, rows], products from the right), unroll (frames per turn of the
scan), blocks (the loop over h[t-d] as T/d steps of d*B streams), hoisted, associative.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jax import lax
from jax.nn import sigmoid

from bench.workloads import GATES, Workload


@dataclass(frozen=True)
class Form:
    hoisted: bool = False
    transposed: bool = False
    blocks: bool = False
    associative: bool = False
    unroll: int = 1

    @classmethod
    def read(cls, peer: str) -> "Form":
        words = peer.split("-")[1:]
        unroll = next((int(word[1:]) for word in words if word[0] == "u" and word[1:].isdigit()), 1)
        return cls("hoist" in words, "T" in words, "blocks" in words, "assoc" in words, unroll)

    def fits(self, w: Workload) -> bool:
        return not (self.blocks and w.delay == 1 or self.associative and w.cell != "sru"
                    or self.hoisted and w.cell in ("sru", "indrnn"))

    def product(self, a, M):
        return a @ M if self.transposed else a @ M.T

    def stored(self, name: str, array):
        return jnp.asarray(array.T.copy() if self.transposed and name in ("W", "U", "V") else array)


def loop(w: Workload, form: Form, given, layer: dict, extra):
    """All frames of a cell, from what the input contributes."""
    zero = jnp.zeros((given.shape[1], w.units), jnp.float32)
    U = layer.get("U")
    scan = lambda f, start, xs: lax.scan(f, start, xs, unroll=form.unroll)[1]
    if w.cell in ("lstm", "characters", "peephole"):
        def step(state, x):
            h, c = state
            i, f, g, o = jnp.split(x + form.product(h, U), 4, -1)
            if "p" in layer:
                i, f = i + layer["p"][0] * c, f + layer["p"][1] * c
            c = sigmoid(f) * c + sigmoid(i) * jnp.tanh(g)
            if "p" in layer:
                o = o + layer["p"][2] * c
            h = sigmoid(o) * jnp.tanh(c)
            return (h, c), h
        return scan(step, (zero, zero), given)
    if w.cell == "gru":
        def step(h, xs):
            x, more = xs
            hr, hz, hn = jnp.split(form.product(h, U) + more + layer["bu"], 3, -1)
            xr, xz, xn = jnp.split(x, 3, -1)
            n = jnp.tanh(xn + sigmoid(xr + hr) * hn)
            h = n + sigmoid(xz + hz) * (h - n)
            return h, h
        return scan(step, zero, (given, extra))
    if w.cell == "indrnn":
        def step(h, x):
            h = jax.nn.relu(x + layer["u"] * h)
            return h, h
        return scan(step, zero, given)

    def step(past, x):
        h = jnp.tanh(x + form.product(past[0], U))
        return past[1:] + (h,), h
    return scan(step, (zero,) * (1 if form.blocks else w.delay), given)


def sru(form: Form, given, x):
    g, f, r = jnp.split(given, 3, -1)
    f, r = sigmoid(f), sigmoid(r)
    pairs = (f, (1 - f) * g)
    if form.associative:
        c = lax.associative_scan(lambda a, b: (a[0] * b[0], b[0] * a[1] + b[1]), pairs)[1]
    else:
        def step(c, xs):
            c = xs[0] * c + xs[1]
            return c, c
        c = lax.scan(step, jnp.zeros(g.shape[1:], jnp.float32), pairs, unroll=form.unroll)[1]
    return r * jnp.tanh(c) + (1 - r) * x


class Layer:
    """One layer as a function of its input and parameters, plain or hoisted."""

    def __init__(self, w: Workload, form: Form, first: bool):
        self.w, self.form, self.first = w, form, first
        self.labels = first and w.labels
        self.hoist = jax.custom_vjp(self.plain)
        self.hoist.defvjp(self.forward, self.backward)

    def __call__(self, x, layer):
        return self.hoist(x, layer) if self.form.hoisted else self.plain(x, layer)

    def given(self, x, layer):
        if self.labels:
            return (layer["W"] if self.form.transposed else layer["W"].T)[x] + layer["b"]
        return self.form.product(x, layer["W"]) + layer["b"]

    def plain(self, x, layer):
        given = self.given(x, layer)
        if self.w.cell == "sru":
            return sru(self.form, given, x)
        return self.unblocked(loop(self.w, self.form, self.blocked(given), layer,
                                   jnp.zeros((self.w.frames, 1, 1), jnp.float32)))

    def blocked(self, a):
        w = self.w
        return a.reshape(w.frames // w.delay, w.delay * w.streams, -1) if self.form.blocks else a

    def unblocked(self, h):
        return h.reshape(self.w.frames, self.w.streams, self.w.units)

    def forward(self, x, layer):
        w, U = self.w, lax.stop_gradient(layer["U"])
        extra = jnp.zeros((w.frames, w.streams, GATES[w.cell] * w.units if w.cell == "gru" else 1), jnp.float32)
        small = {name: v for name, v in layer.items() if name in ("p", "bu")}
        run = lambda given, extra, small: loop(w, self.form, given, {"U": U, **small}, extra)
        h, pull = jax.vjp(run, self.blocked(self.given(x, layer)), extra, small)
        return self.unblocked(h), (x, layer, self.unblocked(h), pull)

    def backward(self, kept, dh):
        w, form = self.w, self.form
        x, layer, h, pull = kept
        rows, count = GATES[w.cell] * w.units, w.count
        dgiven, dextra, gradient = pull(self.blocked(dh))
        dgiven = dgiven.reshape(count, rows)
        late = (dextra.reshape(count, rows) if w.cell == "gru" else dgiven)[w.delay * w.streams:]
        before = h.reshape(count, w.units)[:-w.delay * w.streams]
        outer = lambda a, b: b.T @ a if form.transposed else a.T @ b
        gradient = {**gradient, "U": outer(late, before), "b": dgiven.sum(0)}
        if self.labels:
            columns = jnp.zeros((w.inputs, rows), jnp.float32).at[x.reshape(-1)].add(dgiven)
            return None, {**gradient, "W": columns if form.transposed else columns.T}
        gradient["W"] = outer(dgiven, x.reshape(count, -1))
        if self.first:
            return jnp.zeros_like(x), gradient
        return (dgiven @ (layer["W"].T if form.transposed else layer["W"])).reshape(x.shape), gradient
