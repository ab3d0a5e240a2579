"""rnnc: the programs of programs/, with the shared parameters. Weights count as changed before every training call, so
that packing them is part of it, as it is of training. Single frames are timed from C, where devices call them."""

import ctypes
import statistics
import subprocess
import tempfile
from pathlib import Path

import numpy as np

import rnnc
from bench.inputs import gates, reference
from bench.machine import compile_c
from bench.peers import Job
from bench.workloads import Workload

PROGRAMS = Path(__file__).parents[1] / "programs"
RATE = 1e-3


def named(w: Workload, values: dict) -> dict[str, np.ndarray]:
    """Stacked arrays by the paths of single gates."""
    found, n = {}, w.units
    for k, layer in enumerate(values["layers"]):
        for row, gate in enumerate(gates(w.cell) or [""]):
            for letter in "WUb":
                if letter in layer:
                    found[f"h.{k}.{letter}{gate}"] = layer[letter][row * n:(row + 1) * n]
        if "bu" in layer:
            found[f"h.{k}.bu"] = layer["bu"][2 * n:]
        for row, gate in enumerate("ifo" if "p" in layer else ""):
            found[f"h.{k}.p{gate}"] = layer["p"][row]
        if "u" in layer:
            found[f"h.{k}.u"] = layer["u"]
    return found | ({"logits.W": values["V"], "logits.b": values["v"]} if w.labels else {})


def net_of(w: Workload, threads: int, values: dict, **more):
    net = rnnc.compile(PROGRAMS / f"{w.cell}.rnn", threads=threads, inputs=w.inputs, units=w.units, layers=w.layers,
                       **more)
    net.parameters = named(w, values)
    return net


def make(w: Workload, values: dict, peer: str, threads: int):
    if w.kind == "stream":
        return Stream(w, values)
    net = net_of(w, threads, values, gradient="parameters" if w.kind == "training" else None)
    if w.kind == "sequence":
        out = {"h": np.empty((w.frames, w.streams, w.units), np.float32)}
        step = lambda: net.run(x=values["x"], out=out)["h"]
        return Job(step, lambda: [float(np.abs(step()[-1] - reference(w, values["x"])).max())])
    optimiser = rnnc.Adam(net, learning_rate=RATE) if w.labels else None
    scale = 1 if w.labels else w.count         # rnnc's loss is a mean over frames, the peers' a sum

    def step():
        net.touch()
        loss = net.backprop(x=values["x"], y=values["y"])
        if optimiser:
            optimiser.step()
        return loss

    def check():
        loss = net.backprop(x=values["x"], y=values["y"])
        total = lambda letter: sum(float(np.abs(net.gradients[name]).sum(dtype=np.float64)) for name in net.parameters
                                   if name.startswith(f"h.0.{letter}"))
        return [scale * v for v in (loss, total("W"), total("U") or total("u") or total("b"))]

    return Job(step, check)


DRIVER = r"""
#include <time.h>
#include "net.c"
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}
__attribute__((visibility("default")))
void bench_steps(const void *packed, void *state, void *work, const float *x, float *h,
                 long frames, long each, double *us) {
    for (long i = 0; i < frames; i++) {
        const double start = now();
        for (long k = 0; k < each; k++) {
            net_inputs in = {0};
            net_outputs out = {0};
            in.x = x + (i * each + k) % 64 * INPUTS;
            out.h = h;
            net_step(packed, state, &in, &out, 1, work, 1);
        }
        us[i] = (now() - start) / (double)each;
    }
}
"""


class Stream:
    """One frame a call from C: the emitted C and a loop around its step, compiled together."""

    def __init__(self, w: Workload, values: dict):
        self.w, self.x = w, np.ascontiguousarray(values["x"])
        net = net_of(w, 1, values, gradient=None)
        self.place = tempfile.TemporaryDirectory()
        sizes = [f"-D{k}={v}" for k, v in (("inputs", w.inputs), ("units", w.units), ("layers", 1))]
        subprocess.run(["rnnc", "build", str(PROGRAMS / f"{w.cell}.rnn"), "-o", self.place.name, "--emit", "c,header",
                        "--inference", "--prefix", "net", *sizes], check=True, stdout=subprocess.DEVNULL)
        driver, built = Path(self.place.name, "driver.c"), str(Path(self.place.name, "driver.so"))
        driver.write_text(f"#define INPUTS {w.inputs}\n{DRIVER}")
        compile_c(driver, built, "-shared", "-fPIC", "-std=gnu11", "-ffp-contract=fast", "-fno-math-errno",
                  "-fno-trapping-math", "-lm")
        self.c = ctypes.CDLL(built)
        for name in ("net_state_size", "net_workspace_size", "net_packed_size"):
            getattr(self.c, name).restype = ctypes.c_size_t
        self.packed, self.state, self.work = (self._block(n) for n in (
            self.c.net_packed_size(), self.c.net_state_size(1), self.c.net_workspace_size(1, 1)))
        self.c.net_pack(self._at(net.theta), self._at(self.packed))
        self.h = np.zeros(w.units, np.float32)

    def _block(self, size: int) -> np.ndarray:
        block = np.zeros(size + 64, np.uint8)
        start = -block.ctypes.data % 64
        return block[start:start + size]

    def _at(self, array: np.ndarray):
        return ctypes.c_void_p(array.ctypes.data)

    def _run(self, frames: int, each: int = 1) -> np.ndarray:
        us = np.zeros(frames)
        self.c.bench_steps(*(self._at(a) for a in (self.packed, self.state, self.work, self.x, self.h)),
                           ctypes.c_long(frames), ctypes.c_long(each), self._at(us))
        return us

    def check(self) -> list[float]:
        self.c.net_reset(self._at(self.state), 1)
        self._run(64)
        return [float(np.abs(self.h - reference(self.w, self.x)[0]).max())]

    def turn(self, least: float) -> dict:
        one = statistics.median(self._run(200))
        each = max(1, int(2 / max(one, 1e-3)))                    # the clock itself takes some 30 ns
        us = self._run(max(50, int(1e6 * least / (one * each))), each)
        return {"seconds": 1e-6 * statistics.median(us), "late": 1e-6 * float(np.quantile(us, 0.99))}
