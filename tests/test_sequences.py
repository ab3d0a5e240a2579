"""Values of whole sequences, through every stage: C against the oracle, gradients, threads, starts anywhere."""

import pytest
from compare import compare, continued, same_bits

from rnnc import pipeline
from rnnc.errors import Source

pytestmark = pytest.mark.usefixtures("any_threads")
HEAD = "input x : [n]\n    input a : [k] per sequence\n    target y : class(k) per sequence\n    target v : [n]\n"
PROGRAMS = {
    "sum_over": "h = rnn(5)(x)\n z = dense(k)(sum_over(t, h))\n output z\n loss cross_entropy(z, y)",
    "last": "h = gru(5)(x)\n z = dense(k)(last(h))\n output z, h\n loss cross_entropy(z, y)",
    "first": "z = dense(k)(reversed(summary(5))(x))\n output z\n loss cross_entropy(z, y)",
    "mean_over": "m = mean_over(t, x)\n output d = x - m\n loss mse(tanh(dense(n)(x - m)), v)",
    "max_over": "z = max_over(t, conv(k, 3)(x))\n output z\n loss cross_entropy(z, y)",
    "softmax_over": "h = lstm(5)(x)\n s = softmax_over(t, dense(1)(tanh(dense(3)(h))))\n"
                    " z = dense(k)(sum_over(t, s * h))\n output z, s\n loss cross_entropy(z, y)",
    "scalar": "s = softmax_over(t, sum(x))\n output s, w = sum_over(t, s), z = last(s[t-1])\n loss (s - sum(v)) ^ 2",
    "given": "h = tanh(dense(n)(x) + dense(n)(a) + h[t-1])\n output h, b = 2 * a\n loss mse(h, v)",
    "init": "init h = dense(n)(a)\n init h[t-2] = a[0]\n h = tanh(x + 0.5 * h[t-1] + 0.2 * h[t-2])\n output h\n"
            " loss mse(h, v)",
    "init ahead": "init g[t+1] = a[1] * x0\n param x0 : [n] ~ uniform(0, 1)\n g = tanh(x + 0.5 * g[t+1])\n output g\n"
                  " loss mse(g, v)",
    "encoder": "e = gru(n)(x)\n init d = tanh(dense(n)(last(e)))\n d = tanh(dense(n)(d[t-1]) + 0.1 * x)\n output d\n"
               " loss mse(d, v)",
    "permute": "p = permute_time(x, [2, 0, 3, 1])\n h = rnn(n)(p)\n q = permute_time(h, [1, 3, 0, 2])\n output q\n"
               " loss mse(q + q[t-1], v)",
    "labels": "c = argmax(x)\n output l = last(c), q = permute_time(c, [1, 0]), i = permute_time(t, [1, 2, 0])\n"
              " e = embed(3)(last(c))\n loss mse(dense(n)(e) + x, v)",
    "matrix": "A = sum_over(t, outer(x, tanh(x)))\n output A, z = A @ x\n loss mse(tanh(A @ x / 9), v)",
    "wide": "h = dense(70)(x)\n z = dense(k)(concat(max_over(t, h), sum_over(t, h)))\n output z\n"
            " loss cross_entropy(z, y)",
    "drawn": "h = dropout(rnn(5)(x), 0.3)\n s = dropout(last(h), 0.4) + noise(0.1) * a[0]\n output s\n"
             " output u = dropout(a, 0.5), w = noise(0.3 * a) + x[0], f = dropout(a, 0.5, per = frame)\n"
             " loss cross_entropy(dense(k)(s), y)",
    "weight of a sequence": "z = dense(k)(last(x))\n loss mse(z, a)\n metric right = argmax(z) == y\n output u = 2 * x",
}
MORE = "cell summary(n)(x) { h = gru(n)(x) return last(h) }\n"


def program(name: str, n: int = 3, k: int = 2) -> str:
    return f"{MORE}model m(n = {n}, k = {k}) {{\n    {HEAD}    " + PROGRAMS[name].replace("\n", "\n    ") + "\n}\n"


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_stage(name):
    dtype = "float64" if list(PROGRAMS).index(name) % 3 == 0 else "float32"
    graph = pipeline.elaborated(Source("m.rnn", program(name)))
    for seed in range(3):
        outcome = compare(graph, dtype, seed)
        assert outcome["ratio"] is not None
    same_bits(outcome["net"], outcome["data"])
    assert continued(outcome["net"], graph, dtype, 1)
