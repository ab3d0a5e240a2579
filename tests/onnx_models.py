"""ONNX graphs in few words, and how they are held against what `rnnc import` makes of them. Not a test.

The remark behind an input or output of a program says what axes it has in the file: arrays go to and fro by it, so that
it is tested as well. Programs are computed by the oracle, which needs no C compiler.
"""

import re
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from rnnc import pipeline
from rnnc.cli.app import main
from rnnc.errors import Source
from rnnc.graph import oracle

LENGTHS = {"time": 5, "batch": 3}
REMARK = re.compile(r"\s*(input|output) (\w+)(.*?)# \[(.*)\] in the file(?:, (.*))?$")
MISSING = "the {0} package is not installed; pip install {0} brings it"


def needs(name: str):
    return pytest.importorskip(name, reason=MISSING.format(name))


def graph(nodes: list, inputs: dict, outputs: list[str], numbers: dict | None = None, opset: int = 17):
    """A model. `nodes`: (operator, inputs, outputs, attributes); names stand in one text, with - for none. `inputs`:
    name -> sizes, for labels a list that begins with int."""
    onnx = needs("onnx")
    make, types = onnx.helper, onnx.TensorProto
    words = lambda text: ["" if word == "-" else word for word in text.split()]
    made = [make.make_node(op, words(reads), words(writes), name=f"{op}_{i}", **(rest[0] if rest else {}))
            for i, (op, reads, writes, *rest) in enumerate(nodes)]
    kinds = {int: types.INT64, bool: types.BOOL}
    ports = [make.make_tensor_value_info(name, kinds.get(sizes[0], types.FLOAT) if sizes else types.FLOAT,
                                         [s for s in sizes if s not in (int, bool)]) for name, sizes in inputs.items()]
    results = [make.make_tensor_value_info(name, types.UNDEFINED, None) for name in outputs]
    known = [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in (numbers or {}).items()]
    whole = make.make_graph(made, "test", ports, results, known)
    model = make.make_model(whole, opset_imports=[make.make_opsetid("", opset)], ir_version=8)
    try:                                       # runtimes want the types of outputs
        inferred = onnx.shape_inference.infer_shapes(model)
        for port, found in zip(model.graph.output, inferred.graph.output):
            if found.type.tensor_type.elem_type:
                port.type.CopyFrom(found.type)
    except Exception:
        pass
    return model


def brought(place: Path, model, *flags: str, name: str = "net") -> Path:
    """The program that `rnnc import` makes of a model; refusals come as SystemExit, with the code."""
    file = place / "model.onnx"
    file.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    code = main(["import", str(file), "-o", str(place / f"{name}.rnn"), *flags])
    if code:
        assert not list(place.glob(f"{name}.*")), "something half-written was left behind"
        raise SystemExit(code)
    return place / f"{name}.rnn"


def roles(text: str) -> dict[str, dict]:
    """What a program's remarks say: name in the file -> name, axes, kind."""
    found = {}
    for line in text.splitlines():
        match = REMARK.match(line)
        if match:
            classes = re.search(r"class\((\d+)\)", match[3])
            found[match[5] or match[2]] = {"name": match[2], "axes": match[4].split(", "), "input": match[1] == "input",
                                           "classes": int(classes[1]) if classes else None}
    return found


def here(array: np.ndarray, axes: list[str]) -> np.ndarray:
    """An array of the file as a program has it: [time, batch, ...], or [batch, ...]; units in at most two axes."""
    order = [axes.index(role) for role in ("time", "batch") if role in axes]
    lead = len(order)
    order += [i for i, axis in enumerate(axes) if axis not in ("time", "batch")]
    array = array.transpose(order)
    if "batch" not in axes:
        array, lead = (array[:, None], 2) if "time" in axes else (array[None], 1)
    units = [n for n in array.shape[lead:] if n != 1] or [1] * (array.ndim > lead)
    return array.reshape(*array.shape[:lead], *(units if len(units) <= 2 else [-1]))


def agrees(place: Path, model, *flags: str, seed: int = 0, tolerance: float = 3e-5, **given) -> str:
    """Holds a program against onnxruntime, for all outputs that both have; returns its text."""
    runtime = needs("onnxruntime")
    path = brought(place, model, *flags)
    text, weights = path.read_text(), load_file(path.with_suffix(".safetensors"))
    session = runtime.InferenceSession(str(place / "model.onnx"), providers=["CPUExecutionProvider"])
    known, chance, feeds = roles(text), np.random.default_rng(seed), {}
    for port in session.get_inputs():
        part = known.get(port.name, {"axes": ["batch"] * len(port.shape), "classes": 2})
        shape = [n if isinstance(n, int) else LENGTHS[axis] for n, axis in zip(port.shape, part["axes"])]
        array = (chance.integers(0, part["classes"] or 4, shape) if "int" in port.type
                 else chance.random(shape) < 0.5 if "bool" in port.type else chance.standard_normal(shape))
        feeds[port.name] = given.get(port.name, array).astype(
            {"tensor(float)": "f4", "tensor(double)": "f8", "tensor(int64)": "i8", "tensor(int32)": "i4",
             "tensor(bool)": "?"}[port.type])
    wanted = dict(zip([port.name for port in session.get_outputs()], session.run(None, feeds)))
    made = pipeline.elaborated(Source("net.rnn", text))
    inputs = {part["name"]: here(feeds[name], part["axes"]) for name, part in known.items() if part["input"]}
    found = oracle.run(made, inputs, weights, dtype=np.float64, frames=LENGTHS["time"] if not any(
        "time" in part["axes"] for part in known.values()) else None)
    compared = [name for name in wanted if name in known]
    assert compared
    for name in compared:
        want = here(wanted[name], known[name]["axes"])
        got = found.value(made.outputs[known[name]["name"]])
        assert got.shape == want.shape, f"{name}: {got.shape}, {want.shape}\n{text}"
        assert np.allclose(got, want, atol=tolerance, rtol=1e-4), f"{name}: {np.abs(got - want).max()}\n{text}"
    return text
