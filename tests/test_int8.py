"""Quantised matrices stored as bytes: panels and tiles bit by bit, whole nets against the same nets in float32, which
compute the same bits, and against the oracle."""

import numpy as np
import pytest
from commands import rnnc as command
from compare import bits_of, compare, continued, draw_data, net_of, same_bits, set_params
from fixed_c import MATHS, loaded
from test_bfloat16 import BUILDS
from test_c import LINES, STRICT, has_openmp, have, written
from test_c import command as run

import rnnc
from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan.cost import cost
from rnnc.plan.machine import TYPICAL
from rnnc.plan.schedule import Sweep

random = np.random.default_rng(23)
STEPS = [0.125, 0.013, 3.0, -0.05, 1e-30, 1e-39, 1e30, 0.0, np.inf, np.nan]


@pytest.fixture(params=BUILDS, ids="-".join)
def k(request):
    return loaded(*request.param, False)


# ------------------------------------------------------------------------------------------------ the fixed C

def matrix_of(rows: int, columns: int, step: float, most: int) -> np.ndarray:
    """Numbers inside the range and beyond it, halves of steps, zeros."""
    size = step if 0 < abs(step) < 1e30 else 1
    found = random.uniform(-1.3, 1.3, (rows, columns)) * most * size
    halves = random.random((rows, columns)) < 0.2
    found[halves] = ((random.integers(-most, most, (rows, columns)) + 0.5) * size)[halves]
    found[random.random((rows, columns)) < 0.1] = 0
    return found.astype(np.float32)


def quantized(k, matrix, step: float, most: int) -> np.ndarray:
    out = np.empty_like(matrix, order="C")
    k.v_quantized(np.ascontiguousarray(matrix), k.array([step]), most, out, out.size)
    return out


def unpacked(k, panel, n: int, K: int, g: int, q: int, gate: int) -> np.ndarray:
    """The numbers [units, K] that a packed matrix stands for."""
    words = 1 + (K + 3) // 4
    blocks = panel.reshape(-1, words, q, g, k.vl)[:, :, :, gate].transpose(1, 0, 2, 3).reshape(words, -1)
    octets = np.ascontiguousarray(blocks[1:].T).view(np.int8).astype(np.float32)[:, :K]
    with np.errstate(all="ignore"):
        return octets * blocks[0][:, None]


@np.errstate(all="ignore")
@pytest.mark.parametrize("most", [1, 7, 127])
def test_packing(k, most):
    """The numbers that quantize makes of any view; beside and behind them nothing."""
    for g, q in ((1, 1), (1, 4), (3, 1), (2, 2), (4, 1)):
        for n in (1, k.vl - 1, k.vl, 2 * k.vl + 3):
            for K in (1, 2, k.vl - 1, k.vl, 2 * k.vl + 5):
                step = float(random.choice(STEPS[:4]))
                for form in ("rows", "columns", "any"):
                    row, column = {"rows": (K + 3, 1), "columns": (1, n + 2), "any": (2 * K + 1, 2)}[form]
                    memory = matrix_of(1, max(999, (n - 1) * row + (K - 1) * column + 1), step, most)[0]
                    matrix = memory[np.arange(n)[:, None] * row + np.arange(K) * column]
                    out = k.lined(k.packed(n, 1 + (K + 3) // 4, g, q))
                    out[:] = -5
                    for thread in range(3):
                        k.pack8(out, memory, row, column, n, K, g - 1, g, q, thread, 3, k.array([step]), most)
                    got = unpacked(k, out, n, K, g, q, g - 1)
                    np.testing.assert_array_equal(got[:n], quantized(k, matrix, step, most))
                    assert not got[n:].any()
                    assert (out.reshape(-1, 1 + (K + 3) // 4, q, g, k.vl)[:, :, :, :g - 1] == -5).all()


@np.errstate(all="ignore")
@pytest.mark.parametrize("step", STEPS)
def test_a_unit_of_what_is_no_number_makes_none(k, step):
    """Steps of any kind, and numbers: sums over a unit are what they are without bytes."""
    K, n = 11, 3 * k.vl - 2
    matrix = matrix_of(n, K, step, 127)
    matrix[1, 4], matrix[2, 10], matrix[3, 0] = np.nan, np.inf, -np.inf
    panel = k.lined(k.packed(n, 1 + (K + 3) // 4, 1, 3))
    k.pack8(panel, matrix, K, 1, n, K, 0, 1, 3, 0, 1, k.array([step]), 127)
    got, wanted = unpacked(k, panel, n, K, 1, 3, 0), quantized(k, matrix, step, 127)
    strange = np.isnan(wanted).any(axis=1)
    assert np.isnan(got[:n][strange]).all() and not got[n:].any()
    np.testing.assert_array_equal(got[:n][~strange], wanted[~strange])
    assert strange[1] and (strange.all() or np.isfinite(step))


def test_tiles_make_the_same_sums(k):
    """Bit by bit what the tiles of float32 make of the numbers that the bytes stand for; what lies beyond an inner size
    is not looked at."""
    for mv in (1, 2, 3, 4):
        for nrows in range(1, k.rows_of(mv) + 1):
            for K in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 17, 18, 40):
                wide, words = mv * k.vl, 1 + (K + 3) // 4
                panel, plain = k.lined(words * wide), k.lined(K * wide)
                matrix = matrix_of(wide, K, 0.03, 127)
                k.pack8(panel, k.array(matrix), K, 1, wide, K, 0, 1, mv, 0, 1, k.array([0.03]), 127)
                k.pack(plain, quantized(k, matrix, 0.03, 127), K, 1, wide, K, 0, 1, mv, 0, 1)
                if K % 4:
                    panel.view(np.uint32)[-wide:] |= np.uint32(0xFFFFFFFF << 8 * (K % 4) & 0xFFFFFFFF)
                k.same_sums("tile8", panel, plain, (mv,), nrows, K, random)


@pytest.mark.parametrize("gates", [1, 2])
def test_some_panels_make_the_same_sums(k, gates):
    n = k.at_once() // gates * k.vl
    for nrows in range(1, k.rows_at_once() + 1):
        for K in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 14, 15, 16, 17, 18, 40):
            panel, plain = k.lined(gates * n * (1 + (K + 3) // 4)), k.lined(gates * n * K)
            for gate in range(gates):
                matrix = matrix_of(n, K, 0.03, 127)
                k.pack8(panel, k.array(matrix), K, 1, n, K, gate, gates, 1, 0, 1, k.array([0.03]), 127)
                k.pack(plain, quantized(k, matrix, 0.03, 127), K, 1, n, K, gate, gates, 1, 0, 1)
            for wide in range(1, n // k.vl + 1):
                k.same_sums("some8", panel, plain, (gates, wide), nrows, K, random)


# ------------------------------------------------------------------------------------------------ nets

LSTM = """
cell few(n, bits)(x) {
    param Wi, Wf, Wg, Wo : [n, dim(x)]
    param Ui, Uf, Ug, Uo : [n, n]
    param b              : [n] = 0.3
    param step           = 0.21 / (2^(bits - 1) - 1)
    i = sigmoid(quantize(Wi, bits, 0.03) @ x + quantize(Ui, bits, step) @ h[t-1])
    f = sigmoid(quantize(Wf, bits, 0.03) @ x + quantize(Uf, bits, step) @ h[t-1] + b)
    g = tanh(quantize(Wg, bits, 0.03) @ x + quantize(Ug, bits, step) @ h[t-1])
    o = sigmoid(quantize(Wo, bits, 0.03) @ x + quantize(Uo, bits, 0.02) @ h[t-1])
    c = f * c[t-1] + i * g
    h = o * tanh(c)
    return h
}
"""
MODEL = LSTM + """
model bytes(n = 37) {
    input  x : [6]
    target y : [6]
    param U, V : [n, n]
    param S  : [n, n] sparse(0.5)
    param P  : [2, n, n]
    param s  = 0.04
    h = LAYER
    z = dense(6)(h)
    output h, z
    loss   mse(z, y)
}
"""
LAYERS = {
    "lstm": "few(n, 8)(x)", "two bits": "few(n, 2)(x)", "both": "concat(few(n, 6)(x), reversed(few(n, 3))(x))",
    "layers": "stack(2, few(n, 4))(x)",
    "mixed": "tanh(dense(n)(x) + quantize(U, 4, s) @ h[t-1]) * sigmoid(V @ h[t-1])",          # V keeps the panel plain
    "twice": "tanh(dense(n)(x) + quantize(U, 5, s) @ h[t-1] + transpose(quantize(V, 8, 0.03)) @ tanh(h[t-2]))",
    "far": "tanh(dense(n)(x) + quantize(U, 8, 0.01) @ h[t-4])",
    "parts": "tanh(dense(n)(x) + concat(quantize(U, 8, s)[0:20, :] @ h[t-1], quantize(V, 8, s)[3:20, :] @ h[t-1]))",
    "stacked": "tanh(dense(n)(x) + quantize(P, 8, s)[0] @ h[t-1] + quantize(P, 8, s)[1] @ tanh(h[t-1]))",
    "computed": "tanh(dense(n)(x) + quantize(U + 0.1 * V, 8, s * s + 0.01) @ h[t-1])",
    "sparse": "tanh(dense(n)(x) + quantize(S, 8, s) @ h[t-1] + quantize(U, 8, s) @ h[t-1])",
    "clocked": "where(mod(t, 3) == 0, tanh(dense(n)(x) + quantize(U, 8, s) @ h[t-1]), h[t-1])"}
PLAIN = {
    "nine bits": "tanh(dense(n)(x) + quantize(U, 9, s) @ h[t-1])",
    "a step for each": "tanh(dense(n)(x) + quantize(U, 8, 0.02 + V^2) @ h[t-1])",
    "a step that changes": "tanh(dense(n)(x) + quantize(U, 8, 0.02 + 0.01 * tanh(mean(x))^2) @ h[t-1])",
    "beside it": "tanh(dense(n)(x) + (0.5 * quantize(U, 8, s)) @ h[t-1])"}


def text_of(name: str) -> str:
    return MODEL.replace("LAYER", (LAYERS | PLAIN)[name])


def graph_of(name: str):
    return pipeline.elaborated(Source("bytes.rnn", text_of(name)))


@pytest.mark.parametrize("name", LAYERS)
def test_the_same_bits_as_in_float32(name, monkeypatch):
    """Outputs, losses, gradients and states, at every number of threads; and the oracle agrees."""
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")
    monkeypatch.setattr(pipeline, "CHECK", True)
    graph = graph_of(name)
    plain = net_of(graph)
    for frames, streams in ((9, 1), (5, 17)):
        outcome = compare(graph, "float32", 5, frames, streams, weights="int8")
        assert outcome["ratio"] is not None
        set_params(plain, outcome["data"])
        same_bits(outcome["net"], outcome["data"], like=plain)
    assert continued(outcome["net"], graph, "float32", 5)
    assert "rn_tile8" in pipeline.emit_graph(graph, pipeline.Options(weights="int8")).c


@pytest.mark.parametrize("target", ["x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("name", ["lstm", "layers"])
def test_the_same_bits_on_other_processors(name, target):
    loaded("gcc", target, False)               # or passed over
    graph = graph_of(name)
    nets = [net_of(graph, weights=weights, target=target) for weights in ("float32", "int8")]
    for streams in (1, 5, 16):
        data = draw_data(graph, streams, "float32", 7, streams)
        for net in nets:
            set_params(net, data)
        assert bits_of(nets[0], data, 1, "chosen") == bits_of(nets[1], data, 2, "together")


def test_what_is_no_number_reaches_the_same_units():
    text = text_of("lstm")
    nets = [rnnc.compile(text, weights=weights) for weights in ("float32", "int8")]
    x = random.standard_normal((6, 2, 6)).astype(np.float32)
    for net in nets:
        for name, at, value in (("h.Ui", (5, 3), np.nan), ("h.Ug", (2, 1), np.inf)):
            changed = np.array(net.parameters[name])
            changed[at] = value
            net.parameters[name] = changed
    a, b = (net.run(x=x)["h"] for net in nets)
    assert np.array_equal(a, b, equal_nan=True) and np.isnan(a).any() and np.isfinite(a[0]).any()


@pytest.mark.parametrize("name", PLAIN)
def test_what_no_byte_can_hold_stays_float(name):
    graph = graph_of(name)
    plain, same = (pipeline.emit_graph(graph, pipeline.Options(weights=weights)) for weights in ("float32", "int8"))
    assert plain.c == same.c and plain.header == same.header


def test_packed_weights_hold_bytes_and_no_copies():
    """In float32 there are the parameter and what quantize makes of it beside the panel; the bytes are made from the
    caller's weights. (Gradients need these copies.)"""
    graph = graph_of("lstm")
    size = {w: net_of(graph, gradient=None, weights=w).module.function("packed_size")() for w in ("float32", "int8")}
    vl = loaded("gcc", "native", False).vl
    pad = lambda n: -(-n // vl) * vl
    panel = lambda columns: 4 * 4 * pad(37) * columns
    copies = 2 * 4 * 4 * (pad(37 * 37) + pad(37 * 6))
    loop, outside = panel(37) - panel(1 + 10), panel(6) - panel(1 + 2)
    assert size["float32"] - size["int8"] == copies + loop + outside
    assert size["int8"] < size["float32"] / 4


def test_a_step_is_a_run_of_one_frame():
    net = rnnc.compile(text_of("layers"), gradient=None, weights="int8", n=33)
    one, other = net.state(), net.state()
    for x in random.standard_normal((5, 6)).astype(np.float32):
        assert np.array_equal(net.step(one, x=x)["h"], net.run(x=x[None], state=other)["h"][0])


def test_training_follows_the_same_path():
    """The step learns too: what is packed anew after every update is that of the new parameters."""
    text, x = text_of("layers"), random.standard_normal((7, 4, 6)).astype(np.float32)
    found = []
    for weights in ("float32", "int8"):
        net = rnnc.compile(text, weights=weights, n=20)
        opt = rnnc.Adam(net, 0.01)
        for _ in range(20):
            net.backprop(x=x, y=np.roll(x, 1, axis=0))
            opt.step()
        found.append({name: np.array(value) for name, value in net.parameters.items()})
    for name, value in found[0].items():
        assert np.array_equal(value, found[1][name]), name
    assert abs(found[0]["h.0.step"] - 0.21 / 7) > 1e-4


# ------------------------------------------------------------------------------------------------ what is said of it

def test_the_plan_and_the_c_say_so():
    source = Source("bytes.rnn", text_of("lstm"))
    options = pipeline.Options(weights="int8")
    assert "4 x 37 by 37, int8" in pipeline.text_after(source, "schedule", options)
    told = " ".join(pipeline.explained(source, 8, 1, 1, options, machine=TYPICAL).split())
    assert "quantize of h.Uo @ h.h[t-1]: 4 x 37 by 37, stored as int8" in told
    emitted = pipeline.emit(source, options)
    assert "packed as signed bytes" in emitted.header and emitted.manifest["weights"] == "int8"
    plain = pipeline.emit(source, pipeline.Options())
    assert "int8.h" not in plain.c and "rn_tile8" not in plain.c and "signed bytes" not in plain.header
    assert plain.manifest["program_hash"] == emitted.manifest["program_hash"]       # checkpoints fit both


def test_the_cost_model_reads_a_quarter_of_the_bytes():
    source = Source("bytes.rnn", text_of("lstm"))
    seconds, weights = {}, {}
    for stored_as in ("float32", "int8"):
        made = pipeline.schedules(source, pipeline.Options(weights=stored_as), {"n": 512})["run"]
        for streams in (1, 16):
            stages = cost(made, 64, streams, 1, TYPICAL).stages
            loop = next(s for s in stages if isinstance(made.stages[s.stage], Sweep))
            weights[stored_as], seconds[stored_as, streams] = loop.weights, loop.seconds
    assert weights["int8"] == weights["float32"] / 4 == 4 * 512 * 512
    assert seconds["int8", 16] > seconds["float32", 16]        # bytes become numbers in no time only on paper


@pytest.mark.parametrize("line", LINES, ids=" ".join)
@pytest.mark.parametrize("compiler", ["gcc", "clang"])
def test_silent_for_every_processor(tmp_path, compiler, line):
    have(compiler)
    line = tuple(f for f in line if f != "-fopenmp" or has_openmp(compiler))
    made = pipeline.emit_graph(graph_of("lstm"), pipeline.Options(weights="int8"))
    end = ("-c", "-o", tmp_path / "m.o") if compiler == "gcc" else ("-fsyntax-only",)
    run(compiler, "-std=c11", *MATHS, *line, *STRICT, written(tmp_path, made), *end)


# ------------------------------------------------------------------------------------------------ command line

def test_refused_on_the_command_line(tmp_path):
    (tmp_path / "m.rnn").write_text(text_of("lstm"))
    for ask in (("build", "m.rnn", "-o", "out"), ("explain", "m.rnn"), ("show", "m.rnn"), ("bench", "m.rnn")):
        said = command(*ask, "--weight-type", "int8", "--dtype", "float64", cwd=tmp_path, code=2).stderr
        assert "int8 stands for float32 weights" in said and "float64" in said
        assert "int8" in command(*ask, "--weight-type", "int4", cwd=tmp_path, code=2).stderr
    assert not (tmp_path / "out").exists()


def test_delivered_and_kept_in_checkpoints(lesson, tmp_path):
    """The weight type of a training is that of its checkpoint; C that is delivered with packed constants has bytes."""
    sizes = ("-D", "hidden=24", "--streams", 2, "--frames", 16)
    ask = ("train", "fixed_point", "--text", lesson, *sizes, "--epochs", 1, "--checkpoint", "run", "--weight-type")
    command(*ask, "int8", cwd=tmp_path)
    assert "the weight type" in command(*ask, "float32", cwd=tmp_path, code=1).stderr
    for name, more in (("bytes", ()), ("plain", ("--weight-type", "float32"))):
        command("build", "run", "-o", name, "--embed-weights", *more, cwd=tmp_path)
    size = {name: (tmp_path / name / "fixed_point_weights.c").stat().st_size for name in ("bytes", "plain")}
    assert "rn_tile8" in (tmp_path / "bytes" / "fixed_point.c").read_text()
    assert size["bytes"] < size["plain"]
