"""What is measured, as plain data: shapes, the operations of the matrix products, and the least time silicon allows.

A frame is one step of one stream. Training is the forward pass, the backward pass and the gradients of all parameters
of one call with fresh weights; only "characters" adds an optimiser's step. The loss is the sum of outputs times fixed
random numbers, in "characters" the cross entropy of the next symbol.
"""

from dataclasses import dataclass

GATES = {"lstm": 4, "peephole": 4, "gru": 3, "tanh": 1, "sru": 3, "indrnn": 1, "characters": 4}
IN_LOOP = {"lstm", "peephole", "gru", "tanh", "characters"}   # cells with a matrix in their loop


@dataclass(frozen=True)
class Workload:
    id: str
    cell: str
    inputs: int
    units: int
    frames: int                                # T, per stream and call
    streams: int
    layers: int = 1
    delay: int = 1
    kind: str = "training"                     # training | sequence (the forward pass) | stream (one frame a call)

    @property
    def count(self) -> int:
        """Frames of one call, all streams together."""
        return self.frames * self.streams

    @property
    def labels(self) -> bool:
        return self.cell == "characters"

    @property
    def parameters(self) -> int:
        g, n = GATES[self.cell], self.units
        size = sum(g * n * (self.width(k) + (n if self.cell in IN_LOOP else 0) + 1) for k in range(self.layers))
        return size + (self.inputs * (n + 1) if self.labels else 0)

    def width(self, layer: int) -> int:
        """Inputs of a layer."""
        return self.units if layer else self.inputs

    def says(self) -> str:
        layers = f"{self.layers} x " if self.layers > 1 else ""
        delay = f", h[t-{self.delay}]" if self.delay > 1 else ""
        return f"{layers}{self.cell} {self.units}{delay}, in {self.inputs}, T {self.frames}, B {self.streams}"


def training() -> list[Workload]:
    w = lambda *a, **k: Workload(*a, **k)
    return [
        w("W1", "lstm", 128, 512, 256, 1), w("W1b", "lstm", 128, 1024, 256, 1),
        w("W2-16", "lstm", 128, 512, 64, 16), w("W2-64", "lstm", 128, 512, 64, 64),
        w("W3-1", "lstm", 128, 256, 128, 1, layers=4), w("W3-16", "lstm", 128, 256, 128, 16, layers=4),
        w("W4-1", "gru", 128, 512, 256, 1), w("W4-16", "gru", 128, 512, 64, 16),
        w("W5-1", "peephole", 128, 256, 128, 1), w("W5-16", "peephole", 128, 256, 128, 16),
        w("W6-1", "sru", 512, 512, 1024, 1), w("W6-16", "sru", 512, 512, 256, 16),
        w("W7", "tanh", 128, 512, 256, 1, delay=4),
        w("W8", "indrnn", 128, 512, 1024, 1, layers=2),
        *(w(f"W9-{b}", "characters", 128, 512, 128, b) for b in (1, 16, 64)),
    ]


WORKLOADS = {w.id: w for w in (
    *training(),
    *(Workload(f"I1-{n}", "lstm", 32, n, 1, 1, kind="stream") for n in (32, 64, 128, 256, 512)),
    *(Workload(f"I2-{b}", "lstm", 128, 512, 256, b, kind="sequence") for b in (1, 16)),
)}

# Microseconds a frame of RTNeural (C++, sizes known to its compiler) on a core of 263 GFLOP/s; it has no package to
# install, so its figures are scaled by the peak of the run.
RTNEURAL = {"I1-32": 0.15, "I1-64": 0.66, "I1-128": 2.0, "I1-256": 8.8, "I1-512": 40.0}
RTNEURAL_PEAK = 263.0


def chosen(patterns: list[str]) -> list[Workload]:
    """`W2` is W2-16 and W2-64; `W2-16` that one; nothing is all."""
    found = [w for w in WORKLOADS.values()
             if not patterns or any(w.id == p or w.id.startswith(f"{p}-") for p in patterns)]
    if not found:
        raise SystemExit(f"no such workload; there are {', '.join(WORKLOADS)}")
    return found


def products(w: Workload) -> dict[str, float]:
    """Floating-point operations of the matrix products of one call, by their part of it. The gradient of the outside
    input is not wanted, and a label's product is a copy."""
    g, n, frames, learn = GATES[w.cell], w.units, w.count, w.kind == "training"
    parts = dict.fromkeys(("inputs", "loop", "loop back", "weights", "inputs back", "head"), 0.0)
    for layer in range(w.layers):
        width, loop = 0 if w.labels else w.width(layer), w.cell in IN_LOOP
        parts["inputs"] += 2 * g * n * width * frames
        parts["loop"] += 2 * g * n * n * frames * loop
        if learn:
            parts["loop back"] += 2 * g * n * n * frames * loop
            parts["weights"] += 2 * g * n * (width + n * loop) * frames
            parts["inputs back"] += 2 * g * n * width * frames * (layer > 0)
    if w.labels:
        parts["head"] = 2 * n * w.inputs * frames * (3 if learn else 1)
    return parts


def bound(w: Workload, limits, threads: int) -> float:
    """Least seconds of a call: products that wait for no loop at the peak of multiply-add; a step of a loop at the
    larger of its operations at that peak and one read of its matrix (what the second caches hold at their speed, the
    rest at the third's); a loop of delay d does d steps at once. All else is free."""
    peak, near, far = limits.peak[threads], limits.l2[threads], limits.l3[threads]
    parts, g, n = products(w), GATES[w.cell], w.units
    if w.kind == "stream":
        size = 4.0 * g * n * (w.inputs + n)
        first = min(size, limits.l1_bytes)
        second = min(size - first, max(0, limits.l2_bytes - first))
        return max(size / 2 / peak, first / limits.l1[1] + second / near + (size - first - second) / far)
    seconds = (sum(parts.values()) - parts["loop"] - parts["loop back"]) / peak
    if w.cell in IN_LOOP:
        size = 4.0 * g * n * n
        held = min(size, limits.l2_bytes * threads)
        step = max(2 * g * n * n * w.streams * w.delay / peak, held / near + (size - held) / far)
        seconds += w.layers * w.frames / w.delay * step * (2 if w.kind == "training" else 1)
    if w.labels:
        seconds += w.parameters * 28 / far     # Adam reads four numbers and writes three
    return seconds
