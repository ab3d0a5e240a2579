"""`rnnc import` of ONNX graphs built by hand, held against onnxruntime: recurrent operators in all their forms, and
what moves axes about. The operators of one frame: test_import_onnx_units.py."""

import numpy as np
import pytest
from onnx_models import agrees, brought, graph, needs

N, M = 4, 3                                    # units, and those of the input
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
FRAMES = ["time", "batch", M]


def draw(*shape: int, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng([seed, *shape]).standard_normal(shape) * 0.6).astype(np.float32)


def layer(op: str, more: dict | None = None, starts: str = "", peepholes: bool = False, lengths: str = "-",
          bias: bool = True, width: int = M, tag: str = "", x: str = "x") -> tuple[list, dict]:
    """A recurrent node with its weights; Y, H (and C) are its results."""
    more = {"hidden_size": N} | (more or {})
    both, gates = 1 + (more.get("direction") == "bidirectional"), GATES[op]
    numbers = {f"W{tag}": draw(both, gates * N, width), f"R{tag}": draw(both, gates * N, N, seed=1)}
    numbers |= {f"B{tag}": draw(both, 2 * gates * N)} if bias else {}
    numbers |= {f"P{tag}": draw(both, 3 * N)} if peepholes else {}
    states = (starts.split() + ["-", "-"])[:2 if op == "LSTM" else 1]
    reads = [x, f"W{tag}", f"R{tag}", f"B{tag}" if bias else "-", lengths, *states, *([f"P{tag}"] if peepholes else [])]
    while reads[-1] == "-":
        reads.pop()
    return [(op, " ".join(reads), f"Y{tag} H{tag}" + (f" C{tag}" if op == "LSTM" else ""), more)], numbers


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("op,more", [("LSTM", {}), ("GRU", {}), ("GRU", {"linear_before_reset": 1}), ("RNN", {})])
def test_every_layer_in_every_direction(op, more, direction, tmp_path):
    nodes, numbers = layer(op, {"direction": direction, **more})
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["Y", "H"], numbers))
    cell = {"LSTM": "lstm", "GRU": "gru_after" if more else "gru", "RNN": "rnn"}[op]
    assert f"{cell}({N})" in text and ("reversed" in text) == (direction != "forward")


@pytest.mark.parametrize("op,states", [("LSTM", "h0 c0"), ("LSTM", "h0"), ("LSTM", "- c0"), ("GRU", "h0"),
                                       ("RNN", "h0")])
def test_first_states_from_outside(op, states, tmp_path):
    nodes, numbers = layer(op, {"direction": "bidirectional"}, starts=states)
    given = {name: [2, "batch", N] for name in states.split() if name != "-"}
    outputs = ["Y", "H"] + ["C"] * (op == "LSTM")
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES, **given}, outputs, numbers))
    assert f"input h0 : [2, {N}] per sequence" in text or "h0" not in states
    assert "init c = c0" in text or "c0" not in states


def test_a_first_state_that_was_learned(tmp_path):
    nodes, numbers = layer("GRU", starts="h0")
    numbers["h0"] = np.repeat(draw(1, 1, N), 3, 1)
    text = agrees(tmp_path, graph(nodes, {"x": ["time", 3, M]}, ["Y"], numbers))
    assert f"param gru_h0 : [{N}]" in text
    with pytest.raises(SystemExit):            # one for each stream
        brought(tmp_path, graph(nodes, {"x": ["time", 3, M]}, ["Y"], numbers | {"h0": draw(1, 3, N)}), name="other")


@pytest.mark.parametrize("direction", ["forward", "bidirectional"])
def test_peepholes(direction, tmp_path):
    nodes, numbers = layer("LSTM", {"direction": direction}, peepholes=True)
    assert f"peephole_lstm({N})" in agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["Y", "C"], numbers))


def test_without_biases(tmp_path):
    nodes, numbers = layer("LSTM", bias=False)
    agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["Y"], numbers))


@pytest.mark.parametrize("op,more", [
    ("LSTM", {"activations": ["HardSigmoid", "Relu", "Softsign"], "activation_alpha": [0.3], "activation_beta": [0.4]}),
    ("LSTM", {"activations": ["Sigmoid", "ScaledTanh", "Elu"] * 2, "activation_alpha": [1.2, 0.7] * 2,
              "activation_beta": [0.5] * 2, "direction": "bidirectional"}),
    ("LSTM", {"clip": 0.4}), ("GRU", {"clip": 0.5}), ("GRU", {"clip": 0.5, "linear_before_reset": 1}),
    ("RNN", {"clip": 0.3}),
    ("GRU", {"activations": ["Sigmoid", "LeakyRelu"], "activation_alpha": [0.2]}),
    ("RNN", {"activations": ["Relu"]}), ("RNN", {"activations": ["Affine"], "activation_alpha": [0.5],
                                                 "activation_beta": [0.1]}),
    ("RNN", {"activations": ["Tanh", "Softplus"], "direction": "bidirectional"}),
    ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.3]}),
])
def test_other_functions_and_clipping(op, more, tmp_path):
    nodes, numbers = layer(op, more)
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["Y", "H"], numbers))
    assert "cell onnx_" in text and "in the file" in text


def test_two_layers_share_a_cell_of_ones_own(tmp_path):
    first, numbers = layer("RNN", {"activations": ["Relu"]})
    second, more = layer("RNN", {"activations": ["Relu"]}, width=N, tag="2", x="y")
    nodes = [*first, ("Squeeze", "Y one", "y"), *second]
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["Y2"], numbers | more | {"one": np.array([1])}))
    assert text.count("cell ") == 1


def test_batch_first_by_layout(tmp_path):
    """onnxruntime has no layout 1: what it computes of the same graph with transpositions is the answer."""
    onnx, runtime = needs("onnx"), needs("onnxruntime")
    nodes, numbers = layer("LSTM", {"layout": 1}, starts="h0 c0")
    text = brought(tmp_path, graph(nodes, {"x": ["batch", "time", M], "h0": ["batch", 1, N], "c0": ["batch", 1, N]},
                                   ["Y", "H", "C"], numbers)).read_text()
    assert f"output Y = lstm    # [batch, time, 1, {N}] in the file" in text
    assert f"output H = lstm_last    # [batch, 1, {N}] in the file" in text and "[batch, time, 3] in the file" in text
    assert onnx and runtime


def shuffled(op: str = "LSTM", batch_first: bool = True) -> tuple[list, dict]:
    """As PyTorch exports two layers, both directions, batch first: with Shape, Gather, Concat and Expand."""
    swap = {"perm": [1, 0, 2]}
    first, numbers = layer(op, {"direction": "bidirectional"}, starts="z z", x="xt")
    second, more = layer(op, {"direction": "bidirectional"}, starts="z z", x="y1", tag="2", width=2 * N)
    nodes = [("Transpose", "x", "xt", swap), ("Shape", "xt", "s"), ("Gather", "s i1", "b"), ("Unsqueeze", "b i0", "b1"),
             ("Concat", "two b1 n", "zs", {"axis": 0}), ("Expand", "zero zs", "z"), *first,
             ("Transpose", "Y", "yt", {"perm": [0, 2, 1, 3]}), ("Reshape", "yt keep", "y1"), *second,
             ("Transpose", "Y2", "yt2", {"perm": [0, 2, 1, 3]}), ("Reshape", "yt2 keep", "y2"),
             ("Transpose", "y2", "y3", swap), ("MatMul", "y3 fc", "m"), ("Add", "fc.bias m", "out")]
    numbers |= more | {"i1": np.array(1), "i0": np.array([0]), "two": np.array([2]), "n": np.array([N]),
                       "zero": np.zeros((2, 1, N), np.float32), "keep": np.array([0, 0, -1]), "fc": draw(2 * N, 2),
                       "fc.bias": draw(2)}
    return nodes, numbers


@pytest.mark.parametrize("sizes", [["batch", "time", M], ["a", "b", M], [3, 5, M], ["batch", 5, M]], ids=str)
def test_as_pytorch_exports_two_layers(sizes, tmp_path):
    nodes, numbers = shuffled()
    text = agrees(tmp_path, graph(nodes, {"x": sizes}, ["out"], numbers))
    assert "[batch, time, 3] in the file" in text and "fc = dense(2)(concat(lstm_2, lstm_back_2))" in text


@pytest.mark.parametrize("target", [[0, -1, 2 * N], [5, 3, -1], [5, -1, 2 * N], [-1, 3, 2 * N], [5, 3, 2 * N]])
def test_reshapes_that_keep_frames_apart(target, tmp_path):
    nodes, numbers = layer("LSTM", {"direction": "bidirectional"})
    nodes += [("Transpose", "Y", "yt", {"perm": [0, 2, 1, 3]}), ("Reshape", "yt to", "out")]
    agrees(tmp_path, graph(nodes, {"x": [5, 3, M]}, ["out"], numbers | {"to": np.array(target)}))


@pytest.mark.parametrize("sizes,fine", [([5, "batch", N], True), (["time", "batch", N], False), (None, False)])
def test_a_length_that_is_fixed_inside_only(sizes, fine, tmp_path, capsys):
    """As an exporter does that wrongly thinks time was not to be open; an output says so, too."""
    nodes, numbers = layer("LSTM")
    model = graph([*nodes, ("Reshape", "Y to", "y")], {"x": FRAMES}, ["y"], numbers | {"to": np.array([5, -1, N])})
    if sizes:
        make = needs("onnx").helper
        model.graph.output[0].CopyFrom(make.make_tensor_value_info("y", 1, sizes))
    else:
        model.graph.output[0].type.tensor_type.ClearField("shape")
    if fine:
        agrees(tmp_path, model)
        assert "the file counts on 5 for the length of time" in capsys.readouterr().err
    else:
        with pytest.raises(SystemExit):
            brought(tmp_path, model)
        assert "node Reshape_1 (Reshape): it takes the length of time to be 5" in capsys.readouterr().err


@pytest.mark.parametrize("flat", [("Reshape", "Y flat", "f"), ("Flatten", "Y", "f", {"axis": 3})], ids=lambda n: n[0])
def test_frames_and_streams_in_one_axis_and_back(flat, tmp_path):
    """A linear layer on [time * batch, units], as older PyTorch code has it."""
    nodes, numbers = layer("GRU")
    nodes += [flat, ("Gemm", "f w c", "g", {"transB": 1}), ("Relu", "g", "r"), ("Shape", "x", "s"),
              ("Slice", "s b e", "tb"), ("Concat", "tb two", "to", {"axis": 0}), ("Reshape", "r to", "out")]
    numbers |= {"flat": np.array([-1, N]), "w": draw(2, N), "c": draw(2), "b": np.array([0]), "e": np.array([2]),
                "two": np.array([2])}
    assert "[time, batch, 2] in the file" in agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["out"], numbers))


def test_the_last_and_the_first_frame(tmp_path):
    nodes, numbers = layer("LSTM", {"direction": "bidirectional"})
    nodes += [("Gather", "Y last", "l", {"axis": 0}), ("Slice", "Y minus far zero", "s"), ("Gather", "Y first", "f"),
              ("Gather", "H minus", "h"), ("ReduceMean", "Y", "m", {"axes": [0], "keepdims": 0}),
              ("ReduceMax", "Y", "a", {"axes": [0]}), ("Concat", "l f m", "c", {"axis": 2})]
    numbers |= {"last": np.array(-1), "minus": np.array([-1]), "far": np.array([2 ** 63 - 1]), "zero": np.array([0]),
                "first": np.array(0)}
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["c", "s", "h", "a"], numbers))
    assert "mean_over(t, " in text and "at_end" in text


def test_states_that_the_net_keeps(tmp_path):
    nodes, numbers = layer("LSTM", starts="h0 c0")
    model = graph(nodes, {"x": [1, 1, M], "h0": [1, 1, N], "c0": [1, 1, N]}, ["Y", "H", "C"], numbers)
    kept = agrees(tmp_path, model, "--carry", h0=np.zeros((1, 1, N)), c0=np.zeros((1, 1, N)))
    assert "h0" not in kept and "last" not in kept and f"lstm({N})(x)" in kept
    with pytest.raises(SystemExit):
        brought(tmp_path, graph(nodes, {"x": FRAMES, "h0": [1, "batch", N], "c0": [1, "batch", N]}, ["H"], numbers),
                "--carry", name="other")


def test_lengths_of_sequences_are_left_out(tmp_path, capsys):
    nodes, numbers = layer("LSTM", lengths="n")
    nodes = [("Cast", "lengths", "n", {"to": 6}), *nodes]
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES, "lengths": [int, "batch"]}, ["Y"], numbers),
                  lengths=np.array([5, 5, 5]))
    assert "lengths" not in text and "lengths is left out: sequences of different lengths" in capsys.readouterr().err


def test_a_decoder_that_reads_the_encoders_last_state(tmp_path, capsys):
    first, numbers = layer("GRU", tag="e")
    second, more = layer("GRU", starts="He", tag="d", x="z")
    agrees(tmp_path, graph([*first, *second], {"x": FRAMES, "z": FRAMES}, ["Yd"], numbers | more))
    assert not capsys.readouterr().err
    agrees(tmp_path, graph([*first, *second], {"x": FRAMES, "z": ["words", "batch", M]}, ["Yd"], numbers | more))
    assert "the inputs x (time) and z (words) may have different numbers of frames" in capsys.readouterr().err


def test_one_vector_of_a_sequence_in_every_frame(tmp_path):
    """An embedded speaker beside each frame, and a last state that is repeated over time."""
    nodes, numbers = layer("RNN", x="xs", width=M + 2)
    nodes = [("Gather", "table who", "e"), ("Unsqueeze", "e zero", "e1"), ("Shape", "x", "s"),
             ("Slice", "s zero one", "t"), ("Concat", "t ones", "to", {"axis": 0}), ("Expand", "e1 to", "es"),
             ("Concat", "x es", "xs", {"axis": 2}), *nodes]
    numbers |= {"table": draw(6, 2), "zero": np.array([0]), "one": np.array([1]), "ones": np.array([1, 1])}
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES, "who": [int, "batch"]}, ["Y"], numbers))
    assert "input who : class(6) per sequence" in text and "embed(2)(who)" in text


def test_an_input_that_nobody_reads(tmp_path, capsys):
    """An exporter has it where two arguments were one tensor; its axes do not matter then."""
    nodes, numbers = layer("LSTM", starts="c0 c0")
    inputs = {"x": [5, 3, M], "h0": [2, 7, 7], "odd": ["n"], "c0": [1, 3, N]}
    text = agrees(tmp_path, graph(nodes, inputs, ["Y"], numbers))
    assert "h0 :" not in text and "no output depends on the input h0, which is left out" in capsys.readouterr().err


def test_labels(tmp_path):
    nodes, numbers = layer("LSTM", x="e", width=2)
    nodes = [("Gather", "table x", "e"), *nodes, ("Squeeze", "Y one", "y"), ("MatMul", "y w", "m"),
             ("ArgMax", "m", "best", {"axis": -1, "keepdims": 0})]
    numbers |= {"table": draw(6, 2), "one": np.array([1]), "w": draw(N, 6)}
    text = agrees(tmp_path, graph(nodes, {"x": [int, "time", "batch"]}, ["best"], numbers))
    assert "input x : class(6)    # [time, batch] in the file" in text and "argmax(" in text


def test_sums_of_directions_and_attention_over_time(tmp_path):
    nodes, numbers = layer("GRU", {"direction": "bidirectional"})
    nodes += [("ReduceSum", "Y one", "y", {"keepdims": 0}), ("MatMul", "y w", "score"),
              ("Softmax", "score", "a", {"axis": 0}), ("Mul", "a y", "ay"),
              ("ReduceSum", "ay zero", "seen", {"keepdims": 0}), ("Transpose", "a", "at", {"perm": [1, 2, 0]}),
              ("Transpose", "y", "yt", {"perm": [1, 0, 2]}), ("MatMul", "at yt", "again")]
    numbers |= {"one": np.array([1]), "zero": np.array([0]), "w": draw(N, 1)}
    text = agrees(tmp_path, graph(nodes, {"x": FRAMES}, ["seen", "again"], numbers))
    assert "softmax_over(t, " in text and text.count("sum_over(t, ") == 2


def test_a_network_of_one_frame(tmp_path):
    nodes = [("Gemm", "x w c", "a", {"transB": 1}), ("Tanh", "a", "b"), ("MatMul", "b v", "d"), ("Softmax", "d", "out")]
    text = agrees(tmp_path, graph(nodes, {"x": ["N", M]}, ["out"], {"w": draw(N, M), "c": draw(N), "v": draw(N, 2)}))
    assert f"input x : [{M}]    #" in text and "product(2)" in text


def test_a_batch_of_one_that_is_squeezed_away(tmp_path):
    nodes, numbers = layer("LSTM")
    agrees(tmp_path, graph([*nodes, ("Squeeze", "Y", "y"), ("Tanh", "y", "out_")], {"x": [5, 1, M]}, ["out_"], numbers))


@pytest.mark.parametrize("more,numbers,cell", [
    ({"pads": [1, 1]}, {"w": draw(N, M, 3), "b": draw(N)}, "convolution(4, 3, 1, 1)"),
    ({"pads": [2, 0]}, {"w": draw(N, M, 3), "b": draw(N)}, "conv(4, 3)"),
    ({"pads": [0, 4], "dilations": [2]}, {"w": draw(N, M, 3)}, "convolution(4, 3, 2, 0)"),
    ({"auto_pad": "SAME_UPPER"}, {"w": draw(N, M, 4)}, "convolution(4, 4, 1, 1)"),
    ({"auto_pad": "SAME_LOWER"}, {"w": draw(N, M, 4)}, "convolution(4, 4, 1, 2)"),
    ({"pads": [1, 1], "group": M}, {"w": draw(M, 1, 3), "b": draw(M)}, "depthwise(3, 1, 1)"),
    ({}, {"w": draw(N, M, 1)}, "conv(4, 1)"),
])
def test_convolutions_over_time(more, numbers, cell, tmp_path):
    """As speech comes: [batch, units, time]."""
    nodes = [("Conv", "x w b" if "b" in numbers else "x w", "c", more), ("Relu", "c", "y")]
    assert cell in agrees(tmp_path, graph(nodes, {"x": ["batch", M, "time"]}, ["y"], numbers))


def test_convolutions_that_are_padded_or_cut_to_see_the_past(tmp_path):
    nodes, numbers = layer("GRU", x="ct", width=N)
    nodes = [("Pad", "x amounts", "p"), ("Conv", "p w b", "a"), ("Conv", "x w b", "long", {"pads": [2, 2]}),
             ("Slice", "long zero minus two", "c"), ("Add", "a c", "s"),
             ("Transpose", "s", "ct", {"perm": [2, 0, 1]}), *nodes]
    numbers |= {"amounts": np.array([0, 0, 2, 0, 0, 0]), "w": draw(N, M, 3), "b": draw(N), "zero": np.array([0]),
                "minus": np.array([-2]), "two": np.array([2])}
    text = agrees(tmp_path, graph(nodes, {"x": ["batch", M, "time"]}, ["Y"], numbers))
    assert text.count("conv(4, 3)(x)") == 2


def test_a_convolution_of_what_has_a_first_state(tmp_path, capsys):
    """Before the first frame the file has zeros, the program would have that state."""
    nodes, numbers = layer("GRU", starts="h0")
    nodes += [("Squeeze", "Y one", "y"), ("Transpose", "y", "yt", {"perm": [1, 2, 0]}),
              ("Conv", "yt w", "z", {"pads": [2, 0]})]
    numbers |= {"one": np.array([1]), "w": draw(2, N, 3)}
    with pytest.raises(SystemExit):
        brought(tmp_path, graph(nodes, {"x": FRAMES, "h0": [1, "batch", N]}, ["z"], numbers))
    assert "beyond the sequence its input is not zero here" in capsys.readouterr().err


def test_a_direction_made_by_turning_time_round(tmp_path):
    """By ReverseSequence and by a slice with step -1; a layer in between runs the other way."""
    first, numbers = layer("LSTM", x="r")
    second, more = layer("GRU", {"direction": "bidirectional"}, tag="2", x="r2")
    nodes = [("ReverseSequence", "x n", "r", {"time_axis": 0, "batch_axis": 1}), *first, ("Squeeze", "Y one", "Ys"),
             ("ReverseSequence", "Ys n", "y", {"time_axis": 0, "batch_axis": 1}),
             ("Slice", "x minus far zero minus", "r2"), *second, ("Slice", "Y2 minus far zero minus", "y2"),
             ("Gather", "Y2 last", "l"), ("Softmax", "Y2", "s", {"axis": 0}), ("Mul", "s Y2", "sy"),
             ("ReduceSum", "sy zero", "sum")]
    numbers |= more | {"n": np.array([5, 5, 5]), "minus": np.array([-1]), "far": np.array([-2 ** 63]),
                       "zero": np.array([0]), "last": np.array(-1), "one": np.array([1])}
    agrees(tmp_path, graph(nodes, {"x": [5, 3, M]}, ["y", "H", "C", "y2", "H2", "l", "sum"], numbers))


@pytest.mark.parametrize("known", [True, False])
def test_a_branch_whose_condition_is_known(known, tmp_path, capsys):
    """As PyTorch exports squeeze where it does not know a size."""
    make = needs("onnx").helper
    nodes, numbers = layer("GRU")
    port = [make.make_tensor_value_info("b", 1, None)]
    branches = {name: make.make_graph([make.make_node(op, ["Y", "one"][:count], ["b"], name=op)], name, [], port)
                for name, op, count in (("then_branch", "Squeeze", 2), ("else_branch", "Identity", 1))}
    nodes += [("Shape", "H", "s"), ("Gather", "s zero", "n"), ("Equal", "n one", "is"), ("If", "is", "z", branches),
              ("Tanh", "z", "y")]
    nodes += [] if known else [("Cast", "Y", "c", {"to": 9}), ("If", "c", "w", branches)]
    numbers |= {"one": np.array([1]), "zero": np.array([0])}
    model = graph(nodes, {"x": FRAMES}, ["y" if known else "w"], numbers)
    if known:
        assert "[time, batch, 4] in the file" in agrees(tmp_path, model)
    else:
        with pytest.raises(SystemExit):
            brought(tmp_path, model)
        assert "which branch it takes is not known before a run (c)" in capsys.readouterr().err


def test_numbers_and_vectors_of_one_unit(tmp_path):
    """A series of numbers goes in and out without an axis of units."""
    nodes, numbers = layer("LSTM", x="x1", width=1)
    nodes = [("Unsqueeze", "x two", "x1"), *nodes, ("Squeeze", "Y one", "y"), ("MatMul", "y w", "z"),
             ("Squeeze", "z two", "plain"), ("ReduceMean", "y", "mean", {"axes": [2]})]
    numbers |= {"one": np.array([1]), "two": np.array([2]), "w": draw(N, 1)}
    text = agrees(tmp_path, graph(nodes, {"x": ["time", "batch"]}, ["z", "plain", "mean"], numbers))
    assert "input x    #" in text and "output plain = matmul[0]" in text


def test_names_that_a_program_cannot_have(tmp_path):
    nodes, numbers = layer("RNN", x="class")
    nodes += [("Relu", "Y", "state"), ("Tanh", "Y", "0")]
    numbers["a.b/c"] = numbers.pop("W")
    nodes[0] = ("RNN", nodes[0][1].replace("W", "a.b/c"), *nodes[0][2:])
    text = agrees(tmp_path, graph(nodes, {"class": FRAMES}, ["state", "0"], numbers))
    assert "input class_2 : [3]" in text and "output state_2" in text
