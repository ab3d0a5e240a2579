"""`rnnc import` of ONNX operators of one frame, each held against onnxruntime; and graphs that are refused, by name."""

import numpy as np
import pytest
from onnx_models import agrees, brought, graph, needs

SHAPE = ["time", "batch", 4]
draw = lambda *shape: np.random.default_rng(list(shape)).standard_normal(shape).astype(np.float32)
INTEGERS = lambda *values: np.array(values, np.int64)

ONE = {
    "Sigmoid": {}, "Tanh": {}, "Relu": {}, "Exp": {}, "Abs": {}, "Sign": {}, "Floor": {}, "Ceil": {}, "Sin": {},
    "Cos": {}, "Erf": {}, "Softplus": {}, "Neg": {}, "Reciprocal": {}, "Softsign": {}, "HardSwish": {},
    "HardSigmoid": {"alpha": 0.3},
    "LeakyRelu": {"alpha": 0.2}, "ThresholdedRelu": {"alpha": 0.5}, "Elu": {"alpha": 0.7}, "Celu": {"alpha": 0.6},
    "Selu": {}, "Mish": {}, "Identity": {}, "Dropout": {},
}


def test_every_function_of_one_unit(tmp_path):
    """Each for itself, so that a wrong one is named."""
    nodes = [(op, "x", f"y{i}", more) for i, (op, more) in enumerate(ONE.items())]
    nodes += [("Abs", "x", "positive"), ("Sqrt", "positive", "root"), ("Log", "positive", "log"),
              ("Clip", "x low high", "clipped"), ("Clip", "x - high", "below"), ("Clip", "x low", "above"),
              ("Cast", "x", "same", {"to": 1}), ("Gelu", "x", "gelu"), ("Gelu", "x", "g", {"approximate": "tanh"})]
    outputs = [f"y{i}" for i in range(len(ONE))] + ["root", "log", "clipped", "below", "above", "same", "gelu", "g"]
    agrees(tmp_path, graph(nodes, {"x": SHAPE}, outputs, {"low": np.float32(-0.5), "high": np.float32(0.25)}, opset=20))


def test_functions_of_two(tmp_path):
    two = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean"]
    nodes = [node for i, op in enumerate(two) for node in
             [(op, "x z", f"a{i}"), (op, "x half", f"b{i}"), (op, "gains x", f"c{i}"), (op, "x one", f"d{i}")]]
    nodes += [("Pow", "x square", "p"), ("PRelu", "x gains", "r"), ("Less", "x z", "l"), ("Not", "l", "n"),
              ("Where", "n x z", "w"), ("Greater", "x half", "g"), ("And", "l g", "both"), ("Where", "both half x",
              "v"),
              ("Sum", "x z x", "s"), ("Max", "x z gains", "m"), ("Mod", "x three", "mod", {"fmod": 0})]
    numbers = {"half": np.float32(0.5), "gains": draw(4), "one": draw(1, 1, 1), "square": np.float32(2),
               "three": np.float32(3)}
    outputs = [f"{k}{i}" for k in "abcd" for i in range(len(two))] + ["p", "r", "w", "v", "s", "m"]
    text = agrees(tmp_path, graph(nodes[:-1], {"x": SHAPE, "z": SHAPE}, outputs, numbers, opset=17))
    assert "param gains : [4]" in text and text.count("param gains") == 1 and "0.5" in text


@pytest.mark.parametrize("opset", [11, 13, 18])
def test_reductions_and_softmax(opset, tmp_path):
    """Axes stand in attributes, then in inputs; softmax once took all axes from one on."""
    ops = ["ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceL2", "ReduceL1", "ReduceSumSquare",
           "ReduceLogSumExp"]
    inside = lambda op: opset >= 18 or opset >= 13 and op == "ReduceSum"
    nodes = [(op, "x last", f"y{i}", {"keepdims": i % 2}) if inside(op) else
             (op, "x", f"y{i}", {"axes": [-1], "keepdims": i % 2}) for i, op in enumerate(ops)]
    nodes += [("Softmax", "x", "soft", {"axis": 2}), ("LogSoftmax", "x", "log", {"axis": 2})]
    outputs = [f"y{i}" for i in range(len(ops))] + ["soft", "log"]
    agrees(tmp_path, graph(nodes, {"x": SHAPE}, outputs, {"last": INTEGERS(-1)}, opset=opset))


def test_units_moved_about(tmp_path):
    nodes = [("Split", "x parts", "a b", {"axis": 2}), ("Concat", "b x a", "joined", {"axis": -1}),
             ("Slice", "x from to axis step", "turned"), ("Gather", "x some", "chosen", {"axis": 2}),
             ("Reshape", "x halves", "h"), ("Transpose", "h", "ht", {"perm": [0, 1, 3, 2]}), ("Reshape", "ht whole",
             "mixed"), ("Softmax", "h", "s", {"axis": -1}), ("ReduceMax", "h", "m", {"axes": [2]}),
             ("Tile", "x twice", "tiled"), ("Gather", "h scalar", "g", {"axis": 3}), ("Add", "h g2", "stretched"),
             ("MatMul", "h square", "product"), ("Concat", "x more", "padded", {"axis": 2})]
    nodes.insert(11, ("ReduceMean", "h", "g2", {"axes": [3]}))
    numbers = {"parts": INTEGERS(1, 3), "from": INTEGERS(-1), "to": INTEGERS(-9), "axis": INTEGERS(2),
               "step": INTEGERS(-1),
               "some": INTEGERS(3, 0, 3), "halves": INTEGERS(0, 0, 2, 2), "whole": INTEGERS(0, 0, 4),
               "scalar": np.array(1),
               "twice": INTEGERS(1, 1, 2), "square": draw(2, 2), "more": np.zeros((5, 3, 2), np.float32) + draw(2)}
    outputs = ["joined", "turned", "chosen", "ht", "mixed", "s", "m", "tiled", "g", "stretched", "product",
               "padded"]
    agrees(tmp_path, graph(nodes, {"x": [5, 3, 4]}, outputs, numbers))


def test_whole_numbers(tmp_path):
    """A cast to whole numbers cuts off what is behind the point; of inputs that are whole it changes nothing."""
    nodes = [("Cast", "x", "i", {"to": 7}), ("Cast", "i", "f", {"to": 1}), ("Cast", "x", "b", {"to": 9}),
             ("Where", "b f x", "y"), ("Cast", "k", "kf", {"to": 1}), ("Unsqueeze", "kf two", "k1"), ("Mul", "k1 x",
             "z")]
    text = agrees(tmp_path, graph(nodes, {"x": SHAPE, "k": [int, "time", "batch"]}, ["f", "y", "z"],
                                  {"two": INTEGERS(2)}))
    assert "sign(x) * floor(abs(x))" in text and "input k    #" in text


def test_normalisations(tmp_path):
    nodes = [("LayerNormalization", "x g b", "one"), ("LayerNormalization", "x g", "other", {"epsilon": 1e-3}),
             ("Transpose", "x", "t", {"perm": [0, 2, 1]}), ("BatchNormalization", "t g b mean var", "bn"),
             ("Reshape", "x halves", "h"), ("LayerNormalization", "h g2 b2", "rows")]
    numbers = {"g": draw(4), "b": draw(4, 1)[:, 0], "mean": draw(4), "var": np.abs(draw(4)), "g2": draw(2),
               "b2": draw(2),
               "halves": INTEGERS(0, 0, 2, 2)}
    text = agrees(tmp_path, graph(nodes, {"x": SHAPE}, ["one", "other", "bn", "rows"], numbers))
    assert "layer_norm()(x)" in text and "layer_norm(0.001)(x)" in text and "layer layer" in text


def test_products_of_signals_within_a_frame(tmp_path):
    nodes = [("Reshape", "x halves", "a"), ("Reshape", "z halves", "b"), ("MatMul", "a b", "p"), ("Slice",
             "a i0 i1 i2", "r"),
             ("MatMul", "r b", "row"), ("Transpose", "r", "c", {"perm": [0, 1, 3, 2]}), ("MatMul", "b c", "column")]
    numbers = {"halves": INTEGERS(0, 0, 2, 2), "i0": INTEGERS(0), "i1": INTEGERS(1), "i2": INTEGERS(2)}
    agrees(tmp_path, graph(nodes, {"x": SHAPE, "z": SHAPE}, ["p", "row", "column"], numbers))


def test_other_inputs(tmp_path):
    nodes = [("OneHot", "y depth off_on", "hot"), ("Gather", "table y", "e"), ("Add", "hot e", "s"),
             ("Unsqueeze", "v last", "v1"), ("Mul", "s v1", "a"), ("Where", "flag1 a hot", "out"),
             ("Unsqueeze", "flag last", "flag1")]
    nodes = [*nodes[:5], nodes[6], nodes[5]]
    numbers = {"depth": np.array(4), "off_on": np.array([0, 1], np.float32), "table": draw(4, 4), "last": INTEGERS(2)}
    inputs = {"y": [int, "time", "batch"], "v": ["time", "batch"], "flag": [bool, "time", "batch"]}
    text = agrees(tmp_path, graph(nodes, inputs, ["out"], numbers))
    assert "input y : class(4)" in text and "input flag : flag" in text and "input v    #" in text


# ------------------------------------------------------------------------------------------------ refusals

W = {"w": draw(3, 2, 4), "r": draw(3, 2, 2), "W": draw(1, 8, 4), "R": draw(1, 8, 2)}
LSTM = ("LSTM", "x W R", "Y", {"hidden_size": 2})


@pytest.mark.parametrize("nodes,inputs,numbers,message", [
    ([("Hardmax", "x", "y")], {"x": SHAPE}, {},
     "node Hardmax_0 (Hardmax): Hardmax has no counterpart; write the network as a program"),
    ([("FFT", "x", "y", {"domain": "my.own"})], {"x": SHAPE}, {}, "FFT of my.own has no counterpart"),
    ([LSTM, ("Transpose", "Y", "a", {"perm": [1, 2, 0, 3]}), ("Transpose", "Y", "b", {"perm": [1, 2, 3, 0]}),
      ("MatMul", "a b", "y")], {"x": SHAPE}, {}, "node MatMul_3 (MatMul): a product of two signals of shapes"),
    ([LSTM, ("Slice", "Y one two zero", "y")], {"x": SHAPE}, {}, "it takes a part of time (1 to 2)"),
    ([LSTM, ("Slice", "Y one two two", "y")], {"x": SHAPE}, {}, "takes a part of batch (1 to 2); streams do not see"),
    ([LSTM, ("ReduceSum", "Y two", "y")], {"x": SHAPE}, {}, "it is taken over batch; streams do not see each other"),
    ([LSTM, ("Softmax", "Y", "y", {"axis": 2})], {"x": SHAPE}, {}, "node Softmax_1 (Softmax): it is taken over batch"),
    ([LSTM, ("Concat", "Y Y", "y", {"axis": 0})], {"x": SHAPE}, {}, "it joins values along time"),
    ([LSTM, ("Transpose", "Y", "a", {"perm": [0, 3, 2, 1]}), ("Reshape", "a odd", "y")], {"x": SHAPE}, {},
     "shape [time, 2, batch, 1] to [time, -1] would mix frames, streams and units"),
    ([LSTM, ("Add", "Y positions", "y")], {"x": [5, 3, 4]}, {"positions": draw(5, 1, 1, 2)},
     "node Add_1 (Add): its shape [5, 1, 1, 2] differs along time"),
    ([("LSTM", "x W R", "y", {"hidden_size": 3})], {"x": SHAPE}, {}, "are no weights of 3 units in 1 direction"),
    ([("LSTM", "x W R", "y", {"hidden_size": 2, "input_forget": 1})], {"x": SHAPE}, {}, "input_forget = 1"),
    ([("LSTM", "x W R", "y", {"hidden_size": 2, "activations": ["Sigmoid", "Tanh", "Sinh"]})], {"x": SHAPE}, {},
     "the activation Sinh is not known; there is Relu"),
    ([("LSTM", "x W z", "y", {"hidden_size": 2})], {"x": SHAPE, "z": SHAPE}, {},
     "its weights z are not known before a run"),
    ([LSTM, ("Relu", "nothing", "y")], {"x": SHAPE}, {}, "node Relu_1 (Relu): its input nothing is made by no node"),
    ([LSTM, ("Relu", "Y", "y")], {"x": ["time", "batch", "units"]}, {},
     "the input x has the shape [time, batch, units]"),
    ([LSTM, ("Relu", "Y", "y")], {"x": [3, 5]}, {}, "node LSTM_0 (LSTM): its input has the axes"),
    ([("Gather", "x y_", "y")], {"x": SHAPE, "y_": [int, 1]}, {},
     "a label chooses from axis 0 of [time, batch, 4]; the rows of a known matrix are wanted"),
    ([LSTM, ("Cast", "Y", "i", {"to": 7}), ("Gather", "Y i", "y")], {"x": SHAPE}, {},
     "which entries it takes is not known"),
    ([("Add", "x y_", "y")], {"x": SHAPE, "y_": [int, "time", "batch"]}, {}, "holds labels, which are no numbers"),
    ([("Gather", "table x", "y")], {"x": [int, "time", "batch", 3]}, {"table": draw(5, 2)}, "3 labels in one frame"),
    ([("Mul", "x huge", "y")], {"x": SHAPE}, {"huge": np.float32(np.inf)}, "the number inf is in it"),
    ([("Conv", "x w", "y")], {"x": ["batch", 2, "time"]}, {"w": draw(3, 2, 4)}, "it has 3 frames less than its input"),
    ([("Conv", "x w", "y", {"strides": [2], "pads": [1, 1]})], {"x": ["batch", 2, "time"]}, {}, "strides above 1"),
    ([("Conv", "x w", "y", {"pads": [2, 2]})], {"x": ["batch", 2, "time"]}, {},
     "returns frames in their order, as many"),
    ([LSTM, ("Slice", "Y minus far zero minus", "y")], {"x": SHAPE}, {"minus": INTEGERS(-1), "far": INTEGERS(-2 ** 63)},
     "the output y: it has the axes [time backwards, 1, batch, 2]"),
    ([("Pad", "x amounts", "y")], {"x": SHAPE}, {"amounts": INTEGERS(0, 0, 1, 0, 0, 0)}, "it pads 4 by 1 and 0; time"),
    ([("Dropout", "x half yes", "y")], {"x": SHAPE}, {"half": np.float32(0.5), "yes": np.array(True)},
     "random numbers"),
    ([LSTM, ("Squeeze", "Y one", "s"), ("Concat", "s z", "y", {"axis": 2})], {"x": [5, 3, 4], "z": [6, 3, 2]}, {},
     "its inputs have different numbers of frames"),
    ([("Loop", "x", "y")], {"x": SHAPE}, {}, "Loop has no counterpart"),
    ([("Relu", "one", "y")], {"x": SHAPE}, {}, "the output y: it depends on no input"),
], ids=lambda v: v[:40] if isinstance(v, str) else None)
def test_what_has_no_counterpart_is_named(nodes, inputs, numbers, message, tmp_path, capsys):
    known = {"one": INTEGERS(1), "two": INTEGERS(2), "zero": INTEGERS(0), "odd": INTEGERS(0, -1)} | W | numbers
    model = graph(nodes, inputs, ["y"], known)
    with pytest.raises(SystemExit) as stop:
        brought(tmp_path, model)
    said = capsys.readouterr().err
    assert stop.value.code == 1 and message in said and "model.onnx: " in said and "Traceback" not in said


def test_a_layer_written_out_frame_by_frame_by_splitting(tmp_path, capsys):
    nodes, before = [("Split", "x", "p0 p1 p2", {"axis": 1})], "h"
    for t in range(3):
        nodes += [("Squeeze", f"p{t} one", f"x{t}"), ("MatMul", f"x{t} W", f"a{t}"), ("MatMul", f"{before} U", f"b{t}"),
                  ("Add", f"a{t} b{t}", f"s{t}"), ("Tanh", f"s{t}", f"h{t}")]
        before = f"h{t}"
    model = graph(nodes, {"x": [1, 3, 4]}, ["h2"], {"W": draw(4, 2), "U": draw(2, 2), "h": draw(1, 2),
                                                    "one": INTEGERS(1)})
    with pytest.raises(SystemExit):
        brought(tmp_path, model)
    assert "frame by frame, export the model so that" in capsys.readouterr().err


def test_files_that_are_no_models(tmp_path, capsys):
    onnx = needs("onnx")
    good = graph([LSTM, ("Relu", "Y", "y")], {"x": SHAPE}, ["y"], W).SerializeToString()
    for content, message in ((b"", "the file is empty"), (b"# a text\nmodel net {\n}\n", "no ONNX model"),
                             (good[:-40], "no ONNX model that can be read"), (b"PK\x03\x04nonsense", "no ONNX model"),
                             (onnx.ModelProto().SerializeToString() + b"\x08\x01", "no graph with an output")):
        with pytest.raises(SystemExit) as stop:
            brought(tmp_path, content)
        assert stop.value.code == 1 and message in capsys.readouterr().err


def test_weights_in_a_file_of_their_own(tmp_path, capsys):
    onnx = needs("onnx")
    model = graph([LSTM, ("Relu", "Y", "y")], {"x": SHAPE}, ["y"], W)
    onnx.save(model, tmp_path / "model.onnx", save_as_external_data=True, location="model.data", size_threshold=0)
    content = (tmp_path / "model.onnx").read_bytes()
    assert brought(tmp_path, content).exists()
    (tmp_path / "model.data").unlink()
    with pytest.raises(SystemExit):
        brought(tmp_path, content, name="other")
    assert "model.data" in capsys.readouterr().err
