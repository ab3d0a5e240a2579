"""The net of tanh.c: its manifest, built and loaded as the compiler would, and its meaning in NumPy."""

import re
from pathlib import Path

import numpy as np

from rnnc.runtime.module import load
from rnnc.runtime.net import Net
from rnnc.target.build import build

HERE = Path(__file__).parent
RUNTIME = HERE.parents[1] / "runtime"


def manifest(dtype: str = "float64", probe: tuple[str, ...] = ()) -> dict:
    signal = lambda name, shape, kind="real", classes=None, target=False, per="frame": {
        "name": name, "shape": shape, "kind": kind, "classes": classes, "target": target, "per": per}
    offsets = {"W": (0, [3, 2], ["glorot"]), "E": (6, [3, 4], ["uniform", -0.5, 0.5]),
               "U": (18, [3, 3], ["orthogonal"]), "V": (27, [3, 3], ["he"]), "c": (36, [3], ["value", 0.5])}
    outputs = [{"name": "p", "shape": [3], "kind": "real"}, {"name": "a", "shape": [], "kind": "int"}]
    outputs += [{"name": name, "shape": [3], "kind": "real"} for name in probe]
    return {
        "format": 1, "version": "0.1.0", "name": "tiny", "dtype": dtype, "program_hash": "0123abcd",
        "inputs": [signal("x", [2]), signal("k", [], "class", 4), signal("m", [], "flag"),
                   signal("b", [3], per="sequence"), signal("y", [], "class", 3, target=True)],
        "outputs": outputs,
        "params": [{"name": n, "shape": s, "trainable": n != "c", "offset": o, "init": i}
                   for n, (o, s, i) in offsets.items()],
        "trainable": 36, "total": 39, "scores": ["loss", "accuracy"],
        "state": [{"name": "h", "shape": [3], "depth": 1, "kind": "real"}],
        "functions": ["run", "evaluate", "backprop", "vjp"], "lookahead": None,
        "probes": [{"name": "h", "line": 3}, {"name": "p", "line": 4}]}


def texts(dtype: str = "float64") -> tuple[str, str, str]:
    """C, declarations for cffi, header."""
    real = {"float32": "float", "float64": "double"}[dtype]
    header = (HERE / "tanh.h").read_text()
    c = (HERE / "tanh.c").read_text().replace('#include "tanh.h"\n', header)
    fixed = [(RUNTIME / f"{name}.h").read_text() for name in ("base", "threads", "maths", "optimisers")]
    declared, defined = optimisers(fixed[-1], real)
    maths = "" if dtype == "float64" else "#define tanh tanhf\n#define exp expf\n#define log logf\n"
    cdef = "".join(line for line in header.splitlines(True) if not line.startswith("#")).replace("REAL", real)
    c = "\n".join([f"#define RN_DOUBLE {int(dtype == 'float64')}", *fixed, defined, f"#define REAL {real}", maths, c])
    return c, "struct tiny_tuning;\n" + cdef + declared, f"#define REAL {real}\n{header}{declared}"


def optimisers(text: str, real: str) -> tuple[str, str]:
    """The fixed C's optimisers under the model's name: declarations and definitions."""
    declared, defined = [], []
    for kind, function, short, arguments in re.findall(r"^RN_FUNCTION (\w+) (rn_(\w+))\(([^)]*)\)", text, re.M):
        plain = re.sub(r"\breal\b", real, " ".join(arguments.replace("restrict", "").split()))
        names = ", ".join(a.split()[-1].lstrip("*") for a in plain.split(","))
        declared.append(f"{kind} tiny_{short}({plain});")
        defined.append(f"{kind} tiny_{short}({plain}) {{ {'return ' * (kind != 'void')}{function}({names}); }}")
    return "\n".join(declared) + "\n", "\n".join(defined) + "\n"


def tiny(dtype: str = "float64", cache_dir=None, **more) -> Net:
    def make(probe: tuple[str, ...] = (), training: bool = False):
        c, cdef, header = texts(dtype)
        return load(build(c, cdef, header, manifest(dtype, probe), None, cache_dir))
    return Net(make(), variant=make, **more)


def inputs(frames: int, streams: int, seed: int = 0, starts=None) -> dict[str, np.ndarray]:
    """Arrays for a call, targets included."""
    random = np.random.default_rng(seed)
    sequences = streams + (0 if starts is None else int(np.count_nonzero(starts[1:])))
    return {"x": random.normal(size=(frames, streams, 2)), "k": random.integers(0, 4, (frames, streams)),
            "m": random.integers(0, 2, (frames, streams)), "b": random.normal(size=(sequences, 3)),
            "y": random.integers(0, 3, (frames, streams))}


def meaning(net: Net, x, k, m, b, y=None, starts=None, h=None, fresh=True):
    """p and h of every frame, by the definition."""
    T, B = k.shape
    p = {n: np.asarray(v, float) for n, v in net.parameters.items()}
    starts = np.zeros((T, B), int) if starts is None else starts
    begun = np.zeros(B, int)
    offset = np.concatenate([[0], np.cumsum(1 + (starts[1:] != 0).sum(0))])[:B]
    hs, ps = np.zeros((T, B, 3)), np.zeros((T, B, 3))
    for s in range(B):
        old = np.zeros(3) if h is None else h[s]
        for t in range(T):
            if starts[t, s]:
                old, begun[s] = np.zeros(3), begun[s] + (t > 0)
            old = np.tanh(p["W"] @ x[t, s] + p["E"][:, k[t, s]] + p["U"] @ old + b[offset[s] + begun[s]])
            e = np.exp(p["V"] @ old + m[t, s] * p["c"])
            hs[t, s], ps[t, s] = old, e / e.sum()
    return ps, hs
