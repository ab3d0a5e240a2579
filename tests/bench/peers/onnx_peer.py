"""ONNX Runtime and OpenVINO: inference of one LSTM node, whole sequences and single frames. ort-bound swaps the state
between two bound buffers, so that nothing is copied to Python."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from bench.inputs import reference
from bench.peers import Job
from bench.workloads import Workload


def model(w: Workload, values: dict, frames: int) -> bytes:
    layer, n = values["layers"][0], w.units

    def turned(stacked):                       # i f g o -> i o f c
        i, f, g, o = np.split(stacked, 4)
        return np.concatenate([i, o, f, g])

    zeros = np.zeros(4 * n, np.float32)
    constants = {"W": turned(layer["W"])[None], "R": turned(layer["U"])[None],
                 "B": np.concatenate([turned(layer["b"]), zeros])[None]}
    value = lambda name, *shape: helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h0", "c0"], ["h", "h1", "c1"], hidden_size=n)
    state = (1, w.streams, n)
    outputs = [value("h", frames, *state), value("h1", *state), value("c1", *state)]
    graph = helper.make_graph([node], "lstm", [value("x", frames, w.streams, w.inputs), value("h0", *state),
                                               value("c0", *state)],
                              outputs[:1] if w.kind == "sequence" else outputs[1:],
                              [numpy_helper.from_array(array, name) for name, array in constants.items()])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return made.SerializeToString()


def make(w: Workload, values: dict, peer: str, threads: int) -> Job | None:
    if w.kind == "training":
        return None
    x, sequence = values["x"], w.kind == "sequence"
    zero = lambda: np.zeros((1, w.streams, w.units), np.float32)
    text = model(w, values, w.frames)
    if peer == "openvino":
        call = openvino(text, threads)
    else:
        import onnxruntime as ort
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        session = ort.InferenceSession(text, options, providers=["CPUExecutionProvider"])
        if peer == "ort-bound":
            return None if sequence else bound(w, session, x)
        call = lambda feed: session.run(None, feed)
    if sequence:
        feed = {"x": x, "h0": zero(), "c0": zero()}
        step = lambda: call(feed)[0]
        return Job(step, lambda: [float(np.abs(step()[-1, 0] - reference(w, x)).max())])
    now = [zero(), zero(), 0]

    def step():
        k = now[2] % 64
        now[0], now[1] = call({"x": x[k:k + 1], "h0": now[0], "c0": now[1]})
        now[2] += 1

    def check():
        for _ in range(64):
            step()
        return [float(np.abs(now[0][0] - reference(w, x)).max())]

    return Job(step, check)


def openvino(text: bytes, threads: int):
    import openvino as ov
    core = ov.Core()
    settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(core.read_model(model=text), "CPU", settings).create_infer_request()

    def call(feed):
        found = request.infer(feed, share_inputs=True, share_outputs=True)
        return [np.array(found[k]) if "c0" in feed and len(found) > 1 else found[k] for k in range(len(found))]

    return call


def bound(w: Workload, session, x: np.ndarray) -> Job:
    import onnxruntime as ort
    value = ort.OrtValue.ortvalue_from_numpy
    states = [value(np.zeros((1, 1, w.units), np.float32)) for _ in range(4)]
    frames, bindings, now = [value(x[k:k + 1]) for k in range(64)], [], [0]
    for p in (0, 2):
        b = session.io_binding()
        for name, place in (("h0", p), ("c0", p + 1)):
            b.bind_ortvalue_input(name, states[place])
        for name, place in (("h1", 2 - p), ("c1", 3 - p)):
            b.bind_ortvalue_output(name, states[place])
        bindings.append(b)

    def step():
        b = bindings[now[0] & 1]
        b.bind_ortvalue_input("x", frames[now[0] % 64])
        session.run_with_iobinding(b)
        now[0] += 1

    def check():
        for _ in range(64):
            step()
        return [float(np.abs(states[0].numpy()[0] - reference(w, x)).max())]

    return Job(step, check)
