"""Optimisers that keep fewer numbers than Adam, which has two for each parameter.

    SGDSaI   one for each parameter, and one for each array (M. Xu, L. Xiang, X. Cai, H. Wen: No more Adam: learning
             rate scaling at initialization is all you need. arXiv:2412.11768)
    Apollo   for a matrix 2 rank numbers per column (H. Zhu and others: APOLLO: SGD-like memory, AdamW-level
             performance. arXiv:2412.05270); random directions are drawn again when wanted
    GaLore   the same, and the directions, rank numbers per row (J. Zhao and others: GaLore: memory-efficient LLM
             training by gradient low-rank projection. arXiv:2403.03507)

Compared with the authors' published code: SGD-SaI's there divides the deviation by n - 1 and begins with the whole
first gradient as velocity, where the paper's formulas, and these, divide by n and begin at zero; Apollo's puts Adam's
corrections of the first means into the rate, the same but for eps, and takes the square root of its `scale`
(APOLLO-Mini is rank=1, whole=True, scale=128 ** 0.5 here); for a square matrix both low-rank ones look along the
other axis.

Columns are those of the longer axis. Vectors, single numbers, sparse matrices and matrices with an axis of at most
`rank` are trained by AdamW.
"""

from dataclasses import dataclass
from zlib import crc32

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.arrays import size, zeros
from rnnc.runtime.optimisers import Group, Optimiser, beta
from rnnc.runtime.wanted import number, truth, whole
from rnnc.runtime.words import said


@dataclass(frozen=True)
class Part:
    """One array of theta, and where its numbers stand in the optimiser's vectors."""

    name: str
    first: int
    shape: tuple[int, ...]
    group: Group                               # its rate
    place: int                                 # in m and v
    directions: int                            # in p
    low: bool                                  # through `rank` directions

    @property
    def count(self) -> int:
        return size(self.shape)

    @property
    def axes(self) -> tuple[int, int, int, int]:
        """The shorter axis, the longer one, and the steps between neighbours along them."""
        rows, columns = self.shape
        return (rows, columns, columns, 1) if rows <= columns else (columns, rows, 1, columns)


def arrays(opt, rank: int | None) -> list[Part]:
    """The trainable arrays of the net; through `rank` directions where that saves anything, if it is given."""
    made, place, directions = [], 0, 0
    for p in sorted((p for p in opt.net.manifest["params"] if p["trainable"]), key=lambda p: p["offset"]):
        shape = tuple(p["shape"])
        group = next(g for g in opt._groups if g.first <= p["offset"] < g.first + g.count)
        low = rank is not None and len(shape) == 2 and p.get("pattern") is None and min(shape) > rank
        made.append(Part(p["name"], p["offset"], shape, group, place, directions, low))
        place += rank * max(shape) if low else size(shape)
        directions += rank * min(shape) if low else 0
    return made


class SGDSaI(Optimiser):
    """Before the first update each array gets a gain, the norm of its gradient over the gradient's standard deviation
    (1 where all of its numbers are alike). Then velocity = momentum * velocity + (1 - momentum) g;
    theta = (1 - rate * weight_decay) theta - rate * gain * velocity."""

    function, slots = "sgd_sai", ("velocity",)

    def __init__(self, net, learning_rate=1e-4, *, momentum: float = 0.9, eps: float = 1e-8,
                 weight_decay: float = 0.0, clip_norm: float | None = None):
        super().__init__(net, learning_rate, clip_norm, weight_decay, momentum=beta(momentum, "momentum"),
                         eps=number("eps", eps, 0))
        self.vectors["gains"] = np.zeros(len(arrays(self, None)))

    def step(self) -> None:
        net, step, s = self.net, self.updates + 1, self.settings
        parts, scale = arrays(self, None), self.scale()
        rates = [self.rate(part.group, step) for part in parts]
        for i, (part, rate) in enumerate(zip(parts, rates)):
            theta, g, velocity = (self.pointer(v, part.first, part.count)
                                  for v in (net.theta, net.gradient, self.vectors["velocity"]))
            if step == 1:
                self.vectors["gains"][i] = net.module.function("signal_to_noise")(part.count, g, s["eps"])
            self._call(part.count, theta, g, velocity, rate, self.vectors["gains"][i], s["momentum"],
                       s["weight_decay"], scale)
        self.updates = step
        net.touch()


class LowRank(Optimiser):
    """What Apollo and GaLore share: Adam's means of a matrix's gradient seen through a few directions."""

    function = "adam_direction"

    def __init__(self, net, learning_rate, rank: int, every: int, scale: float, betas, eps: float, weight_decay: float,
                 clip_norm: float | None, **settings):
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise InputError(f"betas: {said(betas)}, wanted two numbers") from None
        if "seed" in settings:
            settings["seed"] = whole("seed", settings["seed"], 0)
        super().__init__(net, learning_rate, clip_norm, weight_decay, rank=whole("rank", rank, 1),
                         every=whole("every", every, 1), scale=number("scale", scale, 0, above=True),
                         betas=(beta(first), beta(second)), eps=number("eps", eps, 0), **settings)
        parts = arrays(self, self.settings["rank"])
        low = [part for part in parts if part.low]
        count = parts[-1].place + self.numbers(parts[-1]) if parts else 0
        self.vectors |= {"m": zeros(count, net.dtype), "v": zeros(count, net.dtype), **self.more(low)}
        most = max((self.numbers(part) for part in low), default=0)
        self._low, self._change = zeros(most, net.dtype), zeros(most, net.dtype)
        self._functions = {name: net.module.function(name) for name in
                           ("adamw", "project", "project_back", "channel_scales", "channel_norm", "channel_step")}

    def numbers(self, part: Part) -> int:
        return self.settings["rank"] * max(part.shape) if part.low else part.count

    def step(self) -> None:
        net, step, s = self.net, self.updates + 1, self.settings
        parts, scale = arrays(self, s["rank"]), self.scale()
        rates = [self.rate(part.group, step) for part in parts]
        index = 0
        for part, rate in zip(parts, rates):
            theta, g = (self.pointer(v, part.first, part.count) for v in (net.theta, net.gradient))
            m, v = (self.pointer(self.vectors[k], part.place, self.numbers(part)) for k in "mv")
            if not part.low:
                self._functions["adamw"](part.count, theta, g, m, v, rate, *s["betas"], s["eps"], s["weight_decay"],
                                         step, scale)
                continue
            p = self.pointer(self.directions(part, step), 0, s["rank"] * min(part.shape))
            low, change = (self.pointer(vector, 0, self.numbers(part)) for vector in (self._low, self._change))
            self._functions["project"](*part.axes, s["rank"], p, g, low, scale)
            self._call(self.numbers(part), low, m, v, change, *s["betas"], s["eps"], step)
            self.move(part, index, theta, g, p, low, change, rate, scale)
            index += 1
        self.updates = step
        net.touch()

    def more(self, low: list[Part]) -> dict[str, np.ndarray]:
        """Further vectors, by name."""
        raise NotImplementedError

    def directions(self, part: Part, step: int) -> np.ndarray:
        """[rank, shorter axis], flat."""
        raise NotImplementedError

    def move(self, part, index, theta, g, p, low, change, rate: float, scale: float) -> None:
        raise NotImplementedError


class Apollo(LowRank):
    """R = P g, with P of `rank` random rows from N(0, 1 / rank), drawn again every `every` updates. Adam's means are of
    R. The gradient itself is the step, its columns j scaled by |Adam(R)_j| / |R_j| (with `whole` by one such number for
    the matrix, as in APOLLO-Mini with rank 1), all of it by `scale`; its norm grows by at most the factor `growth` from
    one update to the next."""

    def __init__(self, net, learning_rate=1e-3, *, rank: int = 8, every: int = 200, scale: float = 1.0,
                 whole: bool = False, growth: float = 1.01, seed: int = 0, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0, clip_norm: float | None = None):
        super().__init__(net, learning_rate, rank, every, scale, betas, eps, weight_decay, clip_norm,
                         whole=truth("whole", whole), growth=number("growth", growth, 1), seed=seed)
        self._drawn: dict[str, tuple[int, np.ndarray]] = {}
        self._scales = zeros(max((max(p.shape) for p in arrays(self, self.settings["rank"]) if p.low), default=0),
                             net.dtype)

    def more(self, low: list[Part]) -> dict[str, np.ndarray]:
        return {"norms": np.zeros(len(low))}

    def directions(self, part: Part, step: int) -> np.ndarray:
        s, period = self.settings, (step - 1) // self.settings["every"]
        if self._drawn.get(part.name, (None,))[0] != period:
            chance = np.random.default_rng([s["seed"], period, crc32(part.name.encode())])
            p = chance.standard_normal(s["rank"] * min(part.shape)) / np.sqrt(s["rank"])
            self._drawn[part.name] = period, p.astype(self.net.dtype)
        return self._drawn[part.name][1]

    def move(self, part, index, theta, g, p, low, change, rate: float, scale: float) -> None:
        s, norms = self.settings, self.vectors["norms"]
        scales = self.pointer(self._scales, 0, max(part.shape))
        self._functions["channel_scales"](s["rank"], max(part.shape), low, change, scales, s["whole"])
        norm = self._functions["channel_norm"](*part.axes, g, scales) * scale
        held = min(1.0, s["growth"] * norms[index] / norm) if norms[index] > 0 and norm > 0 else 1.0
        norms[index] = norm * held
        self._functions["channel_step"](*part.axes, theta, g, scales, rate * s["scale"] * scale * held,
                                        rate * s["weight_decay"])


class GaLore(LowRank):
    """R = P g, with P the `rank` left singular vectors of the gradient with the largest singular values, found again
    every `every` updates. Adam's step for R goes back through P, times `scale`."""

    def __init__(self, net, learning_rate=1e-3, *, rank: int = 8, every: int = 200, scale: float = 0.25,
                 betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0.0,
                 clip_norm: float | None = None):
        super().__init__(net, learning_rate, rank, every, scale, betas, eps, weight_decay, clip_norm)

    def more(self, low: list[Part]) -> dict[str, np.ndarray]:
        return {"p": zeros(sum(self.settings["rank"] * min(part.shape) for part in low), self.net.dtype)}

    def directions(self, part: Part, step: int) -> np.ndarray:
        rank, shorter = self.settings["rank"], min(part.shape)
        p = self.vectors["p"][part.directions:part.directions + rank * shorter]
        if (step - 1) % self.settings["every"] == 0:
            g = self.net.gradients[part.name]
            g = np.asarray(g if g.shape[0] == shorter else g.T, float)
            if np.isfinite(g).all():
                p[:] = np.linalg.svd(g, full_matrices=False)[0][:, :rank].T.ravel()
        return p

    def move(self, part, index, theta, g, p, low, change, rate: float, scale: float) -> None:
        s = self.settings
        self._functions["project_back"](*part.axes, s["rank"], p, change, theta, rate * s["scale"],
                                        rate * s["weight_decay"])
