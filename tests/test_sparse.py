"""Sparse parameters: which entries are stored, that the rest is neither stored nor multiplied, and how they look from
outside. That C and oracle agree on any program is test_random.py's business."""

import numpy as np
import pytest
from compare import compare, draw_data, net_of, same_bits, set_params
from fixed_c import loaded
from programs_in_text import graph_of
from test_counts import B, Counted, T

import rnnc
from rnnc import pipeline
from rnnc.errors import InputError, Source
from rnnc.graph import oracle
from rnnc.graph.gradient import gradient
from rnnc.graph.ops.sparse import BLOCK, pattern_of
from rnnc.graph.simplify import simplify
from rnnc.plan.schedule import Fold, Map, Sweep

MODEL = """
model lstm(n = 40) {
    input x : [6]
    target y : [n]
    h = thin(n, 0.8)(x)
    output h
    loss mse(h, y)
}
"""
LSTM = MODEL + """
cell thin(n, share)(x) {
    param Wi, Wf, Wg, Wo : [n, dim(x)]
    param Ui, Uf, Ug, Uo : [n, n] sparse(share)
    i = sigmoid(Wi @ x + Ui @ h[t-1])
    f = sigmoid(Wf @ x + Uf @ h[t-1])
    g = tanh(Wg @ x + Ug @ h[t-1])
    o = sigmoid(Wo @ x + Uo @ h[t-1])
    c = f * c[t-1] + i * g
    h = o * tanh(c)
    return h
}
"""


def test_a_pattern_follows_from_path_sizes_and_share():
    one = pattern_of("h.U", (40, 30), 0.8)
    assert (one.kept, one.blocks, one.stored) == (6, 3, (40, 6))
    again = pattern_of("h.U", (40, 30), 0.8)
    assert one == again and np.array_equal(one.table, again.table)
    assert not np.array_equal(one.table, pattern_of("h.V", (40, 30), 0.8).table)
    for row in one.table:
        assert (np.diff(row) > 0).all() and row.min() >= 0 and row.max() < 30
    assert pattern_of("W", (3, 5), 0.99).kept == 1 and pattern_of("W", (3, 5), 0.5).kept == 3
    counts = np.bincount(pattern_of("W", (16 * 2000, 20), 0.5).table.ravel(), minlength=20)   # no column is preferred
    assert abs(counts / 1000 - 1).max() < 0.1


def test_patterns_stay_what_they_are():
    """Files of parameters depend on it."""
    assert pattern_of("h.U", (32, 20), 0.75).table.tolist() == FIXED


FIXED = [[0, 3, 7, 12, 14], [1, 2, 3, 5, 17]]


def test_it_means_the_matrix_with_zeros():
    graph = graph_of("""model m { input x : [30]   input l : class(30)
        param W : [20, 30] sparse(0.7)   param V : [20, 30] ~ he sparse(0.5)
        output a = W @ x, b = transpose(W) @ (V @ x), c = sum(W^2) * mean(x), d = (W + 2 * V)[3:5] @ x, e = W @ l,
               f = quantize(W, 3, 0.5) @ x, g = W[18, :] + x }""")
    chance = np.random.default_rng(0)
    x, label = chance.normal(size=(4, 2, 30)), chance.integers(0, 30, (4, 2))
    values = {p.name: chance.normal(size=p.shape) for p in graph.params}
    assert {p.name: p.shape for p in graph.params} == {"W": (20, 9), "V": (20, 15)}
    out = oracle.run(graph, {"x": x, "l": label}, values).outputs
    whole = {}
    for p in graph.params:
        whole[p.name] = np.zeros((20, 30))
        for r in range(20):
            whole[p.name][r, p.pattern.table[r // BLOCK]] = values[p.name][r]
    W, V = whole["W"], whole["V"]
    steps = np.sign(W) * np.minimum(np.floor(np.abs(W) / 0.5 + 0.5), 3) * 0.5
    want = {"a": x @ W.T, "b": x @ V.T @ W, "c": (W ** 2).sum() * x.mean(-1), "d": x @ (W + 2 * V)[3:5].T,
            "e": W.T[label], "f": x @ steps.T, "g": W[18] + x}
    for name, value in want.items():
        np.testing.assert_allclose(out[name], value, rtol=1e-12, atol=1e-12, err_msg=name)


def test_gradients_are_made_at_the_stored_places_alone():
    graph = simplify(gradient(simplify(graph_of("""model m { input x : [30]   target y : [20]
        param W : [20, 30] sparse(0.7)
        loss mse(quantize(W, 4, 0.1) @ x + 0.5 * W @ x[t-1], y)   loss 0.01 * sum(W^2) }"""))))
    folds = [node for node in graph.nodes if node.op.startswith("fold")]
    assert {node.op for node in folds} == {"fold_sparse", "fold_sum"}
    assert all(node.op == "scatter" or node.size <= 20 * 9 for node in graph.nodes if node.domain == "constant")
    assert not any(node.op == "gather" for node in graph.nodes)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("n", [40, 16, 5])
def test_c_agrees_with_the_oracle(dtype, n, monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    outcome = compare(pipeline.elaborated(Source("lstm.rnn", LSTM), None, {"n": n}), dtype, n, frames=9, streams=14)
    assert outcome["ratio"] is not None
    same_bits(outcome["net"], outcome["data"])


GATES = MODEL + """
cell thin(n, share)(x) {
    param W : [4, n, dim(x)]   param U : [4, n, n] sparse(share)
    c = sigmoid(W[0] @ x + U[0] @ h[t-1]) * c[t-1] + sigmoid(W[1] @ x + U[1] @ h[t-1]) * tanh(W[2] @ x + U[2] @ h[t-1])
    h = sigmoid(W[3] @ x + U[3] @ h[t-1]) * tanh(c)
    return h
}
"""


def test_a_family_is_as_many_sparse_matrices():
    graph = graph_of("""model m { input x : [30]
        param W : [3, 20, 30] sparse(0.7)   param V : [2, 2, 17, 30] sparse(0.5)
        output a = W[1] @ x, b = transpose(W[2]) @ (W[0] @ x), c = sum(W), d = V[1, 0] @ x }""")
    assert {p.name: p.shape for p in graph.params} == {"W": (3, 20, 9), "V": (2, 2, 17, 15)}
    chance = np.random.default_rng(0)
    x, values = chance.normal(size=(4, 2, 30)), {p.name: chance.normal(size=p.shape) for p in graph.params}
    W, V = (np.zeros(p.pattern.whole) for p in graph.params)
    for p, whole in zip(graph.params, (W, V)):
        tables = p.pattern.table.reshape(-1, p.pattern.blocks, p.pattern.kept)
        assert len({t.tobytes() for t in tables}) == len(tables)          # columns of their own
        rows, columns = p.pattern.rows, p.pattern.columns
        for i, (table, v) in enumerate(zip(tables, values[p.name].reshape(len(tables), rows, -1))):
            for r in range(rows):
                whole.reshape(-1, rows, columns)[i, r, table[r // BLOCK]] = v[r]
    out = oracle.run(graph, {"x": x}, values).outputs
    want = {"a": x @ W[1].T, "b": x @ W[0].T @ W[2], "c": np.full((4, 2), W.sum()), "d": x @ V[1, 0].T}
    for name, value in want.items():
        np.testing.assert_allclose(out[name], value, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("n", [40, 21])
def test_c_of_a_family_agrees_with_the_oracle(n, monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    outcome = compare(pipeline.elaborated(Source("lstm.rnn", GATES), None, {"n": n}), "float32", n, frames=9, streams=5)
    assert outcome["ratio"] is not None
    same_bits(outcome["net"], outcome["data"])


@pytest.mark.parametrize("program", [LSTM, GATES], ids=["matrices", "family"])
def test_only_what_is_stored_is_multiplied(program):
    """A step of the loop multiplies 4 x 40 x 8 numbers a row, forwards and backwards; so do the gradient's sums."""
    log = Counted(program).log("backprop", 2)
    volume = lambda stages: sum(piece.volume for piece in log.of(*stages))
    forward, backward = log.kind(Sweep)
    stored = T * B * 4 * 40 * 8
    assert volume([forward]) == volume([backward]) == stored
    assert volume(log.kind(Fold)) == stored + T * B * 4 * 40 * 6
    assert volume(log.kind(Map)) == T * B * 4 * 40 * 6


BUILDS = [("gcc", "native", False), ("gcc", "native", True), ("gcc", "x86-64-v3", False), ("gcc", "x86-64-v2", True)]


@pytest.mark.parametrize("build", BUILDS, ids=lambda b: f"{b[1]}-{b[2]}")
@pytest.mark.parametrize("n,m,share", [(40, 33, 0.7), (16, 20, 0.9), (21, 50, 0.5), (5, 3, 0.3)])
def test_kernels(build, n, m, share):
    """Products with the matrix, with its transpose, and sums of outer products, for any number of rows."""
    k, chance, pattern = loaded(*build), np.random.default_rng(n), pattern_of("W", (n, m), share)
    v = k.array(chance.normal(size=pattern.stored))
    W = np.zeros((n, m))
    W[pattern.places] = v
    columns = pattern.table.astype(np.int64)
    for rows in (1, 2, 3, 5, 7, 12):
        x, d = k.array(chance.normal(size=(rows, m))), k.array(chance.normal(size=(rows, n)))
        y, z = k.array(np.zeros((rows, n))), k.array(np.zeros((rows, m)))
        k.sparse(y, v, columns, n, m, pattern.kept, x, rows)
        k.close(y, x @ W.T, 4, atol=1e-4 if k.type.itemsize == 4 else 1e-12)
        k.sparse_turned(z, v, columns, n, m, pattern.kept, d, rows)
        k.close(z, d @ W, 4, atol=1e-4 if k.type.itemsize == 4 else 1e-12)
        g = k.array(np.ones(pattern.stored))
        k.fold_sparse(g, n, m, pattern.kept, columns, d, x, rows, 1)
        k.close(g, 1 + (d.T.astype(float) @ x)[pattern.places], 4, atol=1e-4 if k.type.itemsize == 4 else 1e-12)


@pytest.mark.parametrize("build", BUILDS, ids=lambda b: f"{b[1]}-{b[2]}")
def test_a_row_has_the_same_sums_with_any_others(build):
    """A plan decides how many rows go together, two at least. They had other chains by their number."""
    k, chance, pattern = loaded(*build), np.random.default_rng(0), pattern_of("W", (40, 66), 0.3)
    v, x = k.array(chance.normal(size=pattern.stored)), k.array(chance.normal(size=(12, 66)))
    whole = k.array(np.zeros((12, 40)))
    k.sparse(whole, v, pattern.table.astype(np.int64), 40, 66, pattern.kept, x, 12)
    for rows in range(2, 12):
        some = k.array(np.zeros((rows, 40)))
        k.sparse(some, v, pattern.table.astype(np.int64), 40, 66, pattern.kept, k.array(x[:rows]), rows)
        assert np.array_equal(some, whole[:rows]), rows


@pytest.mark.parametrize("frames,streams", [(29, 4), (43, 1), (17, 7)])
def test_plans_decide_nothing(monkeypatch, frames, streams):
    """Threads that take streams, and crews that follow one another by fewer frames than a whole chunk."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    graph = graph_of("""model m(n = 40) { input x : [5]   target y : [n]
        param U, V : [n, n] sparse(0.5)
        h = tanh(dense(n)(x) + U @ h[t-1])
        g = rnn(n)(V @ h)
        output g
        loss mse(g, y) }""")
    net, data = net_of(graph), draw_data(graph, 1, "float32", frames, streams)
    set_params(net, data)
    same_bits(net, data, (1, 2, 3))


# ----------------------------------------------------------------------------------------------------- from outside

@pytest.fixture(scope="module")
def net():
    return rnnc.compile(LSTM, seed=3)


def test_values_and_pattern(net):
    U = net.parameters["h.Ui"]
    assert U.shape == U.values.shape == (40, 8) and U.pattern.shape == (3, 8) and U.dense().shape == (40, 40)
    assert np.count_nonzero(U.dense()) == 40 * 8 and not U.flags.writeable
    assert np.array_equal(U.dense()[17, U.pattern[1]], U.values[17])
    with pytest.raises(ValueError):
        U.pattern[0] = 0
    with pytest.raises(InputError, match="part of a sparse parameter"):
        _ = U[:3].pattern
    assert net.theta.size == 4 * 40 * 6 + 4 * 40 * 8
    assert U.std() == pytest.approx(np.sqrt(6 / (8 + 8) / 3), rel=0.1)      # glorot's, by the numbers in a row
    assert "h.Ui: [40, 8] of [40, 40]" in repr(net.parameters)


def test_assignment(net):
    old = np.array(net.parameters["h.Uf"])
    net.parameters["h.Uf"] = 2 * old
    assert np.array_equal(net.parameters["h.Uf"], 2 * old)
    whole = net.parameters["h.Uf"].dense()
    net.parameters["h.Uf"] = whole / 2
    assert np.array_equal(net.parameters["h.Uf"], old)
    with pytest.raises(InputError, match=r"h\.Uf.*1280 entries that are not zero stand where"):
        net.parameters["h.Uf"] = np.ones((40, 40))
    with pytest.raises(InputError, match=r"got shape \[3, 3\]"):
        net.parameters["h.Uf"] = np.ones((3, 3))


def test_files(net, tmp_path):
    from safetensors.numpy import load_file, save_file
    path = tmp_path / "thin.safetensors"
    net.save(path)
    arrays = load_file(path)
    assert arrays["h.Ug"].shape == (40, 8) and np.array_equal(arrays["h.Ug.pattern"], net.parameters["h.Ug"].pattern)
    other = rnnc.compile(LSTM, seed=4)
    other.load(path)
    assert np.array_equal(other.theta, net.theta)
    dense = {name: net.parameters[name].dense() if ".U" in name else a for name, a in arrays.items()
             if not name.endswith("pattern")}
    save_file(dense, path)                     # as another framework would have it
    other.load(path)
    assert np.array_equal(other.theta, net.theta)
    arrays["h.Ug.pattern"] = arrays["h.Ug.pattern"][::-1].copy()
    save_file(arrays, path)
    with pytest.raises(InputError, match=r"h\.Ug: the sparse matrix stored there has its numbers in other places"):
        other.load(path)


def test_spectral_radius_of_a_sparse_matrix():
    found = rnnc.compile("model m { input x : [30]\n param U : [30, 30] ~ spectral(0.8) sparse(0.6)\n"
                         " h = tanh(x + U @ h[t-1])  output h }", dtype="float64").parameters["U"].dense()
    assert np.abs(np.linalg.eigvals(found)).max() == pytest.approx(0.8)


FAMILY = """model m {
    input x : [30]
    param U : [2, 30, 30] ~ spectral(0.8) sparse(0.6)
    h = tanh(x + U[0] @ h[t-1] + U[1] @ h[t-2])
    output h
    loss mean(h^2)
}
"""


def test_a_family_from_outside(tmp_path):
    net = rnnc.compile(FAMILY, dtype="float64")
    U = net.parameters["U"]
    whole = U.dense()
    assert U.shape == (2, 30, 12) and U.pattern.shape == (2, 2, 12) and whole.shape == (2, 30, 30)
    assert np.count_nonzero(whole) == U.size
    assert np.array_equal(whole[1, 17, U.pattern[1, 1]], U.values[1, 17])
    assert np.abs(np.linalg.eigvals(whole)).max(axis=1) == pytest.approx([0.8, 0.8])
    net.save(tmp_path / "u.safetensors")
    other = rnnc.compile(FAMILY, seed=1, dtype="float64")
    other.load(tmp_path / "u.safetensors")
    assert np.array_equal(other.parameters["U"].dense(), whole)
    other.parameters["U"] = 2 * whole
    assert np.array_equal(other.parameters["U"], 2 * U)
    with pytest.raises(InputError, match=r"U'\]: 1080 entries that are not zero stand where"):
        other.parameters["U"] = np.ones((2, 30, 30))
    net.backprop(x=np.ones((5, 30)))
    assert net.gradients["U"].dense().shape == (2, 30, 30) and "U: [2, 30, 12] of [2, 30, 30]" in repr(net.parameters)


def test_training(net):
    chance = np.random.default_rng(0)
    x, y = chance.normal(size=(10, 4, 6)), np.tanh(chance.normal(size=(10, 4, 40)))
    opt, losses = rnnc.Adam(net, 0.02), []
    for _ in range(150):
        losses.append(net.backprop(x=x, y=y))
        opt.step()
    assert losses[-1] < 0.5 * losses[0]
    assert np.count_nonzero(net.parameters["h.Ui"].dense()) == 40 * 8
    assert net.gradients["h.Ui"].dense().shape == (40, 40)
