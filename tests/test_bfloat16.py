"""Matrices of products in loops stored as bfloat16: the rounding by its definition, panels and tiles bit by bit, whole
nets against the oracle and against float32 nets that were given the stored numbers."""

import re

import numpy as np
import pytest
from commands import GOOD, SMALL
from commands import rnnc as command
from compare import compare, continued, net_of, same_bits
from fixed_c import loaded

import rnnc
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.graph.ops.storage import stored
from rnnc.plan.cost import cost
from rnnc.plan.machine import TYPICAL
from rnnc.plan.schedule import Map, Sweep

random = np.random.default_rng(11)
BUILDS = [("gcc", "native"), ("gcc", "x86-64-v3"), ("gcc", "x86-64-v2"), ("clang", "native"), ("clang", "x86-64-v3")]


@pytest.fixture(params=BUILDS, ids="-".join)
def k(request):
    return loaded(*request.param, False)


def bits(numbers) -> np.ndarray:
    return np.ascontiguousarray(numbers, np.float32).view(np.uint32).astype(np.int64)


def numbers_of_any_size(count: int) -> np.ndarray:
    """Of both signs, from the least normal number to the largest, powers of two and their neighbours among them."""
    found = (random.choice([-1, 1], count) * random.uniform(1, 2, count) * 2.0 ** random.uniform(-126, 127, count))
    found = found.astype(np.float32)
    edges = np.float32(2.0) ** np.arange(-120, 120)
    found[:len(edges)], found[300:300 + len(edges)] = edges, np.nextafter(edges, np.float32(0))
    found[600:604] = [np.finfo(np.float32).max, -np.finfo(np.float32).max, 0, -0.0]
    return random.permutation(found)


# ------------------------------------------------------------------------------------------------ the rounding

def test_the_stored_number_is_the_nearest_that_there_is():
    """Even ones end in 16 zeros; odd ones in the upper half of the even one before. None is further away than half a
    step of 2^16 last places, which is 2^-8 of the number."""
    given = numbers_of_any_size(4001)
    given[(np.abs(given) < 1e-35) | (np.abs(given) > 3e38)] = 1        # these: below
    found = stored(given)
    there, here = bits(found), bits(given)
    assert (there[0::2] & 0xFFFF == 0).all()
    assert (there[1::2] & 0xFFFF == there[0:-1:2] >> 16).all()
    assert (np.abs(there - here) <= 0x8000).all() and np.isfinite(found).all()
    assert (np.abs(found - given) <= 2.0 ** -8 * np.abs(given.astype(np.float64))).all()


def test_what_is_no_finite_number_does_not_become_one():
    strange = np.array([np.inf, -np.inf, np.nan, -np.nan], np.float32)
    strange = np.append(strange, np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001], np.uint32).view(np.float32))
    for even in (1.5, -1.0, 3e38, 0.0, *strange):
        for odd in strange:
            assert not np.isfinite(stored(np.array([even, odd], np.float32))[1])
    found = stored(np.stack([strange, np.ones_like(strange)], axis=1))
    assert not np.isfinite(found[:, 0]).any() and np.isfinite(found[:, 1]).all()


def test_zero_stays_zero():
    assert stored(np.array([1.7, 0, 0, 0, -0.0, -0.0, 0, 3], np.float32)).tolist()[1:7] == [0, 0, 0, 0, 0, 0]


# ------------------------------------------------------------------------------------------------ the fixed C

def unpacked(words: np.ndarray, K: int) -> np.ndarray:
    """[…, words, lanes] to the numbers [K, …, lanes] that they stand for."""
    whole = words.view(np.uint32)
    low, high = (whole << 16).view(np.float32), whole.view(np.float32)
    return np.stack([low, high], axis=1).reshape(2 * len(words), *words.shape[1:])[:K]


def test_packing(k):
    for g, q in ((1, 1), (1, 4), (3, 1), (2, 2), (4, 1)):
        for n in (1, k.vl - 1, k.vl, 2 * k.vl + 3):
            for K in (1, 2, k.vl - 1, k.vl, 2 * k.vl + 5):
                for form in ("rows", "columns", "any"):
                    row, column = {"rows": (K + 3, 1), "columns": (1, n + 2), "any": (2 * K + 1, 2)}[form]
                    memory = numbers_of_any_size(max(999, (n - 1) * row + (K - 1) * column + 1))
                    matrix = memory[np.arange(n)[:, None] * row + np.arange(K) * column]
                    words = (K + 1) // 2
                    out = k.lined(k.packed(n, words, g, q))
                    out[:] = -5
                    for thread in range(3):
                        k.pack16(out, memory, row, column, n, K, g - 1, g, q, thread, 3)
                    blocks = len(out) // (words * g * k.vl)
                    whole = out.reshape(blocks // q, words, q, g, k.vl)
                    mine = whole[:, :, :, g - 1].transpose(1, 0, 2, 3).reshape(words, blocks * k.vl)
                    with np.errstate(invalid="ignore"):    # the largest numbers become NaN
                        got = unpacked(np.ascontiguousarray(mine), K).T.astype(np.float64)
                    got[np.abs(got) < np.finfo(np.float32).tiny] = 0
                    np.testing.assert_array_equal(got[:n], stored(matrix))
                    assert not got[n:].any() and (whole[:, :, :, :g - 1] == -5).all()


def test_strange_numbers_are_packed_alike(k):
    strange = np.array([np.inf, -np.inf, np.nan, 0.0, -0.0, 1.0, 3.4e38, -3.4e38, 1e-40], np.float32)
    matrix = np.array([(a, b) for a in strange for b in strange], np.float32)
    out = k.lined(k.packed(len(matrix), 1, 1, 1))
    k.pack16(out, matrix, 2, 1, len(matrix), 2, 0, 1, 1, 0, 1)
    with np.errstate(invalid="ignore"):
        got = unpacked(out[None], 2).T[:len(matrix)].astype(np.float64)
    got[np.abs(got) < np.finfo(np.float32).tiny] = 0
    np.testing.assert_array_equal(got, stored(matrix))


def test_tiles_make_the_same_sums(k):
    """Bit by bit what the tiles of float32 make of the numbers that the words stand for; what lies beyond an odd
    inner size is not looked at."""
    for mv in (1, 2, 3, 4):
        for nrows in range(1, k.rows_of(mv) + 1):
            for K in (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 40):
                wide, words = mv * k.vl, (K + 1) // 2
                panel, plain = k.lined(words * wide), k.lined(K * wide)
                k.pack16(panel, k.array(random.standard_normal((wide, K))), K, 1, wide, K, 0, 1, mv, 0, 1)
                if K % 2:                      # the high half of an odd size's last word stands for nothing
                    panel.view(np.uint32)[-wide:] |= 0x7FC00000
                plain[:] = unpacked(panel.reshape(words, wide), K).ravel()
                k.same_sums("tile16", panel, plain, (mv,), nrows, K, random)


@pytest.mark.parametrize("gates", [1, 2])
def test_some_panels_make_the_same_sums(k, gates):
    n, row = k.at_once() // gates * k.vl, gates * k.vl
    for nrows in range(1, k.rows_at_once() + 1):
        for K in (0, 1, 2, 3, 5, 7, 8, 9, 15, 16, 17, 40):
            words = (K + 1) // 2
            panel, plain = k.lined(words * gates * n), k.lined(K * gates * n)
            for gate in range(gates):
                k.pack16(panel, k.array(random.standard_normal((n, K))), K, 1, n, K, gate, gates, 1, 0, 1)
            for i in range(n // k.vl):
                one = panel[i * words * row:][:words * row].reshape(words, row)
                plain[i * K * row:][:K * row] = unpacked(one, K).ravel()
            for wide in range(1, n // k.vl + 1):
                k.same_sums("some16", panel, plain, (gates, wide), nrows, K, random)


# ------------------------------------------------------------------------------------------------ nets

MODEL = """
model stored(n = 37) {{
    input  x : [6]
    target y : [6]
    h = {layer}
    z = dense(6)(h)
    output h, z
    loss   mse(z, y)
}}
"""
LAYERS = {"lstm": "lstm(n)(x)", "gru": "gru(n)(x)", "gru_after": "gru_after(n)(x)",
          "both": "concat(lstm(n)(x), reversed(lstm(n))(x))", "sru": "sru(n)(dense(n)(x))",
          "projected": "projected_lstm(n, 5)(x)", "layers": "stack(2, peephole_lstm(n))(x)", "narx": "narx(n, 3)(x)"}


def graph_of(name: str):
    return pipeline.elaborated(Source("stored.rnn", MODEL.format(layer=LAYERS[name])))


@pytest.mark.parametrize("name", LAYERS)
def test_against_the_oracle(name, monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(pipeline, "CHECK", True)
    graph = graph_of(name)
    for frames, streams in ((9, 1), (5, 17)):
        outcome = compare(graph, "float32", 5, frames, streams, weights="bfloat16")
        assert outcome["ratio"] is not None
        same_bits(outcome["net"], outcome["data"])
        assert continued(outcome["net"], graph, "float32", 5)


def by_hand(text: str, pattern: str, streams: int, **sizes) -> tuple[np.ndarray, np.ndarray]:
    """The outputs h of a bfloat16 net, and of a float32 net whose recurrent matrices hold the stored numbers."""
    short = rnnc.compile(text, weights="bfloat16", gradient=None, **sizes)
    plain = rnnc.compile(text, gradient=None, **sizes)
    for name, value in plain.parameters.items():
        if name.split(".")[-1].startswith(pattern):
            plain.parameters[name] = stored(value)
    x = random.standard_normal((40, streams, 6)).astype(np.float32)
    return short.run(x=x)["h"], plain.run(x=x)["h"]


FOURTH = """
model fourth(n = 37) {
    input  x : [6]
    param  W : [n, 6]
    param  U : [n, n] ~ orthogonal
    h = tanh(W @ x + U @ h[t-4])
    output h
}
"""


@pytest.mark.parametrize("streams", [1, 3, 16])
@pytest.mark.parametrize("text", [MODEL.format(layer="lstm(n)(x)"), MODEL.format(layer="gru(n)(x)"), FOURTH],
                         ids=["lstm", "gru", "fourth"])
def test_it_is_the_float32_net_of_the_stored_numbers(text, streams):
    """All U, along their rows, and nothing else: the same bits, whatever the planner makes of it."""
    short, plain = by_hand(text, "U", streams)
    assert np.array_equal(short, plain) and np.abs(plain).max() > 0.1


def test_training_sees_the_transposed_matrix_stored_by_columns():
    """delta[t] = U' delta[t+1] + g[t] of a linear loop: the gradient of W is a sum of them."""
    text = "model m(n = 7) {\n input x\n param W : [n, 1]\n param U : [n, n]\n h = W @ x + U @ h[t-1]\n output h\n}\n"
    net = rnnc.compile(text, weights="bfloat16", gradient="all")
    U = net.parameters["U"].astype(np.float64)
    g = random.standard_normal((5, 1, 7)).astype(np.float32)
    net.vjp({"h": g}, x=np.ones((5, 1), np.float32))
    delta, total = np.zeros(7), np.zeros(7)
    for t in reversed(range(5)):
        delta = stored(U.T) @ delta + g[t, 0]
        total += delta
    np.testing.assert_allclose(net.gradients["W"][:, 0], total, rtol=1e-5)
    assert np.abs(stored(U.T).T - stored(U)).max() > 1e-4      # the two are not the same numbers


def test_only_loops_are_stored_short():
    for name, expected in (("lstm", 4), ("gru", 3), ("sru", 0), ("layers", 8)):
        graph = graph_of(name)
        for program, g in pipeline.programs(pipeline.forward(graph), "parameters").items():
            made = pipeline.planned_and_checked(g, program, "bfloat16")
            found = [n for n in made.graph.nodes if n.op == "bfloat16"]
            assert len(found) == expected * (2 if program == "backprop" else 1), (name, program)
            outside = [kernel for stage in made.stages if isinstance(stage, Map) for kernel in stage.kernels]
            panels = [p for kernel in outside for p in getattr(kernel, "panels", ())]
            assert panels and all(made.graph[m].op != "bfloat16" for p in panels for m, _ in p.matrices)


def test_packed_weights_of_loops_are_half_as_large():
    size = {w: net_of(graph_of("lstm"), weights=w).module.function("packed_size")() for w in ("float32", "bfloat16")}
    vl = loaded("gcc", "native", False).vl
    blocks = lambda n: -(-n // vl)
    forward = blocks(37) * 4 * vl * 4                          # bytes of one inner index of U, and of U' below
    backward = 4 * 4 * blocks(37) * vl
    assert size["float32"] - size["bfloat16"] == (forward + backward) * (37 - 19)


def test_the_same_products_run(monkeypatch):
    """The counting build cannot tell the two apart."""
    logs = []
    for weights in ("float32", "bfloat16"):
        net = net_of(graph_of("lstm"), counting=True, weights=weights)
        net.threads = 1
        lib, ffi, size = net.module.lib, net.module.ffi, net.module.ffi.new("long[3]")
        lib.stored_count_clear()
        net.backprop(x=np.ones((5, 3, 6), np.float32), y=np.ones((5, 3, 6), np.float32))
        logs.append([(lib.stored_count_read(i, size, size + 1, size + 2), *size)
                     for i in range(lib.stored_count_products())])
        assert ffi and len(logs[-1]) > 20
    assert logs[0] == logs[1]


def test_a_step_is_a_run_of_one_frame():
    net = rnnc.compile(MODEL.format(layer="stack(2, lstm(n))(x)"), gradient=None, weights="bfloat16", n=33)
    one, other = net.state(), net.state()
    for x in random.standard_normal((5, 6)).astype(np.float32):
        assert np.array_equal(net.step(one, x=x)["h"], net.run(x=x[None], state=other)["h"][0])


# ------------------------------------------------------------------------------------------------ what is said of it

def test_the_plan_and_the_c_say_so():
    source = Source("stored.rnn", MODEL.format(layer="lstm(n)(x)"))
    options = pipeline.Options(weights="bfloat16")
    assert "4 x 37 by 37, bfloat16" in pipeline.text_after(source, "schedule", options)
    assert "4 x 37 by 37, stored as bfloat16" in pipeline.explained(source, 8, 1, 1, options, machine=TYPICAL)
    emitted = pipeline.emit(source, options)
    assert "matrices packed as bfloat16" in emitted.header and emitted.manifest["weights"] == "bfloat16"
    plain = pipeline.emit(source, pipeline.Options())
    assert "bfloat16" not in plain.c + plain.header
    assert plain.manifest["program_hash"] == emitted.manifest["program_hash"]       # checkpoints fit both
    sru = pipeline.emit(Source("stored.rnn", MODEL.format(layer=LAYERS["sru"])), options)
    assert "bfloat16" not in sru.c + sru.header               # no product in its loop


def test_the_cost_model_reads_half_the_bytes():
    source = Source("stored.rnn", MODEL.format(layer="lstm(n)(x)"))
    weights = {}
    for stored_as in ("float32", "bfloat16"):
        made = pipeline.schedules(source, pipeline.Options(weights=stored_as), {"n": 512})["run"]
        stages = cost(made, 64, 1, 1, TYPICAL).stages
        loop = next(s for s in stages if isinstance(made.stages[s.stage], Sweep))
        weights[stored_as] = (loop.weights, loop.seconds)
    assert weights["bfloat16"][0] == weights["float32"][0] / 2 == 4 * 512 * 512 * 2
    assert weights["bfloat16"][1] < 0.6 * weights["float32"][1]


# ------------------------------------------------------------------------------------------------ command line

def test_delivered_with_embedded_weights(tmp_path):
    """The C that `rnnc build` delivers, with its packed constants, computes what the net in Python does."""
    (tmp_path / "m.rnn").write_text(GOOD)
    net = rnnc.compile(str(tmp_path / "m.rnn"), weights="bfloat16")
    net.save(tmp_path / "m.safetensors")
    command("build", "m.rnn", "-o", "out", "--weight-type", "bfloat16", "--weights", "m.safetensors", "--embed-weights",
            "--emit", "c,header,python", cwd=tmp_path)
    assert "rn_tile16" in (tmp_path / "out" / "m.c").read_text()
    words = re.findall(r"0x([0-9a-f]+)", (tmp_path / "out" / "m_weights.c").read_text())
    packed = b"".join(int(word, 16).to_bytes(8, "little") for word in words)
    assert packed == bytes(net.module.ffi.buffer(net._pack()))
    built = rnnc.load(tmp_path / "out" / "m_module")
    built.load(tmp_path / "m.safetensors")
    x = random.standard_normal((4, 2, 3)).astype(np.float32)
    assert np.array_equal(built.run(x=x)["h"], net.run(x=x)["h"])


def test_refused_on_the_command_line(tmp_path):
    (tmp_path / "m.rnn").write_text(GOOD)
    for ask in (("build", "m.rnn", "-o", "out"), ("explain", "m.rnn"), ("show", "m.rnn"), ("bench", "m.rnn")):
        said = command(*ask, "--weight-type", "bfloat16", "--dtype", "float64", cwd=tmp_path, code=2).stderr
        assert "bfloat16 stands for float32 weights" in said and "float64" in said
        assert "float16" in command(*ask, "--weight-type", "float16", cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "out").exists()


def test_a_checkpoint_keeps_its_weight_type(lesson, tmp_path):
    ask = ("train", "charlm", "--text", lesson, *SMALL, "--epochs", 1, "--checkpoint", "run", "--weight-type")
    command(*ask, "bfloat16", cwd=tmp_path)
    command("train", "charlm", "--text", lesson, "--checkpoint", "run", "--epochs", 2, cwd=tmp_path)
    assert "the weight type" in command(*ask, "float32", cwd=tmp_path, code=1).stderr
    command("build", "run", "-o", "out", cwd=tmp_path)
    assert "rn_tile16" in (tmp_path / "out" / "charlm.c").read_text()
    command("build", "run", "-o", "plain", "--weight-type", "float32", cwd=tmp_path)
    assert "rn_tile16" not in (tmp_path / "plain" / "charlm.c").read_text()
