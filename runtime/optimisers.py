"""Optimisers: forms and defaults as in PyTorch, computed by the model's own C over the flat parameter vector.

`learning_rate` is a number, a function of the step (counted from 1), or a dict from a pattern of parameter paths
("h.*.Wi", first match counts) to either. `clip_norm` scales a gradient down to that norm; nothing is clipped unless
asked.
"""

import fnmatch
from dataclasses import dataclass

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.arrays import size, zeros
from rnnc.runtime.net import Net
from rnnc.runtime.trial import between
from rnnc.runtime.wanted import asked, asked_each, mapping, number, truth, whole
from rnnc.runtime.words import listed, said


def on_threads(net, name: str):
    """A rule of the C on as many threads as the net may use; on one, where the module's maker knows no other way."""
    several = net.module.function(f"{name}_threads")
    return net.module.function(name) if several is None else lambda *given: several(*given, between(net))


@dataclass(frozen=True)
class Group:
    """Parameters side by side in theta that learn at one rate."""

    first: int
    count: int
    rate: object                               # a number or a function of the step


@asked_each
class Optimiser:
    """What all of them share. A subclass names its C function, its vectors, and the arguments between them."""

    function: str
    slots: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()               # slots that these settings do without

    def __init_subclass__(cls) -> None:
        if "__init__" in vars(cls):
            cls.__init__ = asked(cls.__init__)
        asked_each(cls)

    def __init__(self, net, learning_rate, clip_norm: float | None, weight_decay: float, **settings):
        if not isinstance(net, Net):
            raise InputError(f"{type(self).__name__}: {said(net)}; the net that is to learn is wanted, as "
                             "rnnc.compile makes it")
        self.net, self.updates = net, 0
        self.clip_norm = clip_norm
        self.settings = {"weight_decay": number("weight_decay", weight_decay, 0), **settings}
        self.learning_rate = learning_rate
        self.vectors = {slot: zeros(net.trainable, net.dtype) for slot in self.slots if slot not in self.absent}
        module = net.module
        if module.function(self.function) is None:
            raise InputError(f"{net.name} was compiled for inference only; gradient=\"parameters\" makes it learn"
                             if net.manifest.get("loss", True) else
                             f"{net.name} has no loss to learn from: `loss expression` in its program says what "
                             "training lowers")
        self._call, self._norm = (on_threads(net, name) for name in (self.function, "norm2"))
        self._clip = module.function("clip")

    @property
    def learning_rate(self):
        return self._rate

    @learning_rate.setter
    def learning_rate(self, value) -> None:
        self._groups = groups(self.net, value)
        self._rate = value

    @property
    def clip_norm(self) -> float | None:
        return self._clip_norm

    @clip_norm.setter
    def clip_norm(self, value) -> None:
        self._clip_norm = None if value is None else number("clip_norm", value, 0, above=True)

    def step(self) -> None:
        """One update of every trainable parameter from `net.gradient`."""
        net, step = self.net, self.updates + 1
        rates = [(group, self.rate(group, step)) for group in self._groups]
        scale = self.scale()
        for group, rate in rates:
            memory = [self.vectors.get(slot) for slot in self.slots]
            parts = [self.pointer(v, group.first, group.count) for v in (net.theta, net.gradient, *memory)]
            self._call(group.count, *parts, rate, *self.arguments(step), scale)
        self.updates = step
        net.touch()

    def scale(self) -> float:
        """What clipping multiplies the gradient by."""
        if self.clip_norm is None:
            return 1.0
        gradient = self.pointer(self.net.gradient, 0, self.net.trainable)
        return self._clip(self._norm(self.net.trainable, gradient), self.clip_norm)

    def arguments(self, step: int) -> tuple:
        """What stands between the rate and the scale in the C function."""
        raise NotImplementedError

    def rate(self, group: Group, step: int) -> float:
        value = group.rate(step) if callable(group.rate) else group.rate
        return number("learning_rate", value, 0)

    def pointer(self, vector: np.ndarray | None, first: int, count: int):
        if vector is None:
            return self.net.module.ffi.NULL
        return self.net.module.ffi.from_buffer(f"{self.net.module.real}[]", vector[first:first + count])

    def state_dict(self) -> tuple[dict[str, np.ndarray], dict]:
        """Vectors and numbers, for a checkpoint."""
        return {name: v.copy() for name, v in self.vectors.items()}, {"updates": self.updates}

    def load_state_dict(self, vectors: dict[str, np.ndarray], numbers: dict) -> None:
        """What `state_dict` gave, of an optimiser of the same kind on the same network."""
        vectors, numbers = mapping("vectors", vectors, "name to array"), mapping("numbers", numbers, "name to number")
        updates = whole("updates", numbers.get("updates"))
        found = {name: np.asarray(vectors.get(name)) for name in self.vectors}
        for name, mine in self.vectors.items():
            if found[name].shape != mine.shape or found[name].dtype != mine.dtype:
                raise InputError(f"this is not the state of {type(self).__name__} on {self.net.name}: {name}")
        for name, mine in self.vectors.items():
            mine[...] = found[name]
        self.updates = updates

    def __repr__(self) -> str:
        words = [f"learning_rate={self.learning_rate}"] if not callable(self.learning_rate) else []
        words += [f"{k}={v}" for k, v in self.settings.items()]
        words += [f"clip_norm={self.clip_norm}"] if self.clip_norm is not None else []
        return f"{type(self).__name__}({', '.join(words)})"


class SGD(Optimiser):
    """theta -= rate * g. With `momentum` it is `Momentum`, with `nesterov` as well `Nesterov`."""

    function = "sgd"

    def __new__(cls, net=None, learning_rate=1e-3, *unnamed, momentum: float = 0.0, dampening: float = 0.0,
                nesterov: bool = False, **more):
        if unnamed or not (number("momentum", momentum, 0) or truth("nesterov", nesterov)):
            return super().__new__(cls)
        if nesterov and (not momentum or dampening):
            raise InputError("nesterov: it needs a momentum, and no dampening")
        if nesterov:
            return Nesterov(net, learning_rate, momentum=momentum, **more)
        return Momentum(net, learning_rate, momentum=momentum, dampening=dampening, **more)

    def __init__(self, net, learning_rate=1e-3, *, momentum: float = 0.0, dampening: float = 0.0,
                 nesterov: bool = False, weight_decay: float = 0.0, clip_norm: float | None = None):
        number("dampening", dampening)
        super().__init__(net, learning_rate, clip_norm, weight_decay)

    def arguments(self, step: int) -> tuple:
        return (self.settings["weight_decay"],)


class Momentum(Optimiser):
    """velocity = momentum * velocity + (1 - dampening) * g; theta -= rate * velocity"""

    function, slots = "momentum", ("velocity",)

    def __init__(self, net, learning_rate=1e-3, *, momentum: float = 0.9, dampening: float = 0.0,
                 weight_decay: float = 0.0, clip_norm: float | None = None):
        super().__init__(net, learning_rate, clip_norm, weight_decay, momentum=number("momentum", momentum, 0),
                         dampening=number("dampening", dampening))

    def arguments(self, step: int) -> tuple:
        s = self.settings
        return s["momentum"], s["dampening"], s["weight_decay"], step


class Nesterov(Optimiser):
    """velocity = momentum * velocity + g; theta -= rate * (g + momentum * velocity)"""

    function, slots = "nesterov", ("velocity",)

    def __init__(self, net, learning_rate=1e-3, *, momentum: float = 0.9, weight_decay: float = 0.0,
                 clip_norm: float | None = None):
        super().__init__(net, learning_rate, clip_norm, weight_decay, momentum=number("momentum", momentum, 0))

    def arguments(self, step: int) -> tuple:
        return self.settings["momentum"], self.settings["weight_decay"]


class RMSprop(Optimiser):
    """theta -= rate * g / (sqrt(mean of g^2) + eps); `centered` by the mean of g; the quotient may gather momentum."""

    function, slots = "rmsprop", ("square", "mean", "velocity")

    def __init__(self, net, learning_rate=1e-2, *, alpha: float = 0.99, eps: float = 1e-8, momentum: float = 0.0,
                 centered: bool = False, weight_decay: float = 0.0, clip_norm: float | None = None):
        momentum, centered = number("momentum", momentum, 0), truth("centered", centered)
        self.absent = (*(() if centered else ("mean",)), *(() if momentum else ("velocity",)))
        super().__init__(net, learning_rate, clip_norm, weight_decay, alpha=number("alpha", alpha, 0),
                         eps=number("eps", eps, 0), momentum=momentum, centered=centered)

    def arguments(self, step: int) -> tuple:
        s = self.settings
        return s["alpha"], s["eps"], s["momentum"], s["weight_decay"]


class Adadelta(Optimiser):
    """Zeiler 2012: a rate of its own for each number, from the ratio of past changes to past gradients."""

    function, slots = "adadelta", ("square", "changes")

    def __init__(self, net, learning_rate=1.0, *, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0.0,
                 clip_norm: float | None = None):
        super().__init__(net, learning_rate, clip_norm, weight_decay, rho=number("rho", rho, 0),
                         eps=number("eps", eps, 0))

    def arguments(self, step: int) -> tuple:
        s = self.settings
        return s["rho"], s["eps"], s["weight_decay"]


class Adam(Optimiser):
    """Kingma & Ba 2015. `weight_decay` is L2 regularisation, added to the gradient."""

    function, slots = "adam", ("m", "v")
    decay = 0.0

    def __init__(self, net, learning_rate=1e-3, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8,
                 weight_decay: float | None = None, clip_norm: float | None = None):
        try:
            first, second = betas
        except (TypeError, ValueError):
            raise InputError(f"betas: {said(betas)}, wanted two numbers") from None
        super().__init__(net, learning_rate, clip_norm, self.decay if weight_decay is None else weight_decay,
                         betas=(beta(first), beta(second)), eps=number("eps", eps, 0))

    def arguments(self, step: int) -> tuple:
        s = self.settings
        return *s["betas"], s["eps"], s["weight_decay"], step


class AdamW(Adam):
    """Loshchilov & Hutter 2019: the decay is taken from theta directly."""

    function = "adamw"
    decay = 1e-2


# ------------------------------------------------------------------------------------------------ arguments

def beta(value, name: str = "betas") -> float:
    found = number(name, value, 0)
    if found >= 1:
        raise InputError(f"{name}: {said(value)}, wanted {'numbers' if name == 'betas' else 'a number'} below 1")
    return found


def groups(net, rate) -> list[Group]:
    """Which stretch of theta learns at which rate; neighbours with one rate are joined."""
    check = lambda r: r if callable(r) else number("learning_rate", r, 0)
    if not isinstance(rate, dict):
        return [Group(0, net.trainable, check(rate))] if net.trainable else []
    rates = {pattern: check(r) for pattern, r in mapping("learning_rate", rate, "pattern to rate").items()}
    params = [p for p in net.manifest["params"] if p["trainable"]]
    for pattern in rates:
        if not any(fnmatch.fnmatchcase(p["name"], pattern) for p in params):
            raise InputError(f"learning_rate: no trainable parameter matches {pattern!r}; there is "
                             f"{listed(p['name'] for p in params)}")
    made: list[Group] = []
    for p in sorted(params, key=lambda p: p["offset"]):
        chosen = next((r for pattern, r in rates.items() if fnmatch.fnmatchcase(p["name"], pattern)), None)
        if chosen is None:
            raise InputError(f"learning_rate: no pattern matches {p['name']}; a last entry '*' is for all others")
        count = size(tuple(p["shape"]))
        if made and made[-1].rate is chosen and made[-1].first + made[-1].count == p["offset"]:
            made[-1] = Group(made[-1].first, made[-1].count + count, chosen)
        else:
            made.append(Group(p["offset"], count, chosen))
    return made
