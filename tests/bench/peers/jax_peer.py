"""JAX: everything jitted whole.

jax-scan    lax.scan, as its users write it         jax-hoist   gradients of the matrices by hand, as one product
jax-assoc   lax.associative_scan                    jax-step    one frame a call
endings:    -T matrices transposed   -uN N frames a turn of the scan   -blocks h[t-d] as T/d steps of d*B streams
"""

import jax
import jax.numpy as jnp
import numpy as np

from bench.inputs import reference
from bench.peers import Job
from bench.peers.jax_cells import Form, Layer
from bench.workloads import Workload

RATE, FIRST, SECOND, EPSILON = 1e-3, 0.9, 0.999, 1e-8


def make(w: Workload, values: dict, peer: str, threads: int) -> Job | None:
    form = Form.read(peer)
    if not form.fits(w) or peer.startswith("jax-step") != (w.kind == "stream"):
        return None
    parameters = {"layers": [{name: form.stored(name, v) for name, v in layer.items()} for layer in values["layers"]]}
    layers = [Layer(w, form, k == 0) for k in range(w.layers)]

    def outputs(parameters, x):
        for layer, own in zip(layers, parameters["layers"]):
            x = layer(x, own)
        return x

    x = jnp.asarray(values["x"])
    if w.kind == "stream":
        return stream(w, form, values, parameters["layers"][0])
    if w.kind == "sequence":
        run = jax.jit(outputs)
        step = lambda: run(parameters, x).block_until_ready()
        return Job(step, lambda: [float(np.abs(np.asarray(step())[-1] - reference(w, values["x"])).max())])
    if w.labels:
        parameters |= {"V": form.stored("V", values["V"]), "v": jnp.asarray(values["v"])}
        y = jnp.asarray(values["y"]).reshape(-1)

        def loss(parameters, x, y):
            logits = form.product(outputs(parameters, x).reshape(w.count, w.units), parameters["V"]) + parameters["v"]
            return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], 1))
    else:
        y = jnp.asarray(values["y"])
        loss = lambda parameters, x, y: jnp.sum(outputs(parameters, x) * y)
    gradients = jax.value_and_grad(loss)
    compute = jax.jit(gradients)

    def check():
        value, found = compute(parameters, x, y)
        first = found["layers"][0]
        shown = (first["W"], first.get("U", first.get("u", first["b"])))
        return [float(value), *(float(np.abs(np.asarray(g)).sum(dtype=np.float64)) for g in shown)]

    if not w.labels:
        return Job(lambda: jax.block_until_ready(compute(parameters, x, y)), check)
    return Job(adam(gradients, jax.tree.map(jnp.copy, parameters), x, y), check)


def adam(gradients, parameters, x, y):
    """A step of the whole training, compiled as one, its buffers reused."""
    tree = jax.tree.map

    def update(parameters, m, v, n, x, y):
        loss, g = gradients(parameters, x, y)
        n = n + 1
        m = tree(lambda a, b: FIRST * a + (1 - FIRST) * b, m, g)
        v = tree(lambda a, b: SECOND * a + (1 - SECOND) * b * b, v, g)
        one, two = 1 - FIRST ** n, 1 - SECOND ** n
        new = tree(lambda p, a, b: p - RATE * (a / one) / (jnp.sqrt(b / two) + EPSILON), parameters, m, v)
        return new, m, v, n, loss

    run = jax.jit(update, donate_argnums=(0, 1, 2))
    state = [parameters, tree(jnp.zeros_like, parameters), tree(jnp.zeros_like, parameters), jnp.float32(0)]

    def step():
        *state[:], loss = run(*state, x, y)
        jax.block_until_ready(state)
        return loss

    return step


def stream(w: Workload, form: Form, values: dict, layer: dict) -> Job:
    def cell(layer, x, h, c):
        i, f, g, o = jnp.split(form.product(x, layer["W"]) + layer["b"] + form.product(h, layer["U"]), 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return jax.nn.sigmoid(o) * jnp.tanh(c), c

    run = jax.jit(cell)
    frames = [jnp.asarray(x) for x in values["x"]]
    now = [jnp.zeros((1, w.units)), jnp.zeros((1, w.units)), 0]

    def step():
        now[:2] = run(layer, frames[now[2] % 64], *now[:2])
        now[0].block_until_ready()
        now[2] += 1

    def check():
        for _ in range(64):
            step()
        return [float(np.abs(np.asarray(now[0]) - reference(w, values["x"])).max())]

    return Job(step, check)
