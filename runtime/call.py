"""From keyword arguments to the C's struct of pointers: names, ranks, frames and streams of one call agree, or it is
refused.

Arrays are time-major, [T, B, ...]; with one stream the B axis may be left out of all of them. `step` has no T axis.
What has one value per sequence is [S, ...], in order of stream, then start: one for each stream, and one more for each
start after the call's first frame.
"""

from dataclasses import dataclass, field

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import arrays
from rnnc.runtime.arrays import KINDS, Signal, wanted_shape
from rnnc.runtime.module import C_KIND, Module
from rnnc.runtime.words import listed, unknown

# What the calls take besides signals.
WORDS = {"run": ("state", "starts", "out", "probe", "training", "frames"), "step": ("state", "starts", "out"),
         "evaluate": ("state", "starts", "weight", "frames"),
         "backprop": ("state", "starts", "weight", "accumulate", "frames"),
         "vjp": ("cotangents", "state", "starts", "accumulate", "frames")}
FLAG, NUMBER = Signal((), "flag"), Signal(())  # what `starts` and `weight` are


@dataclass(frozen=True)
class Port:
    """One signal at the border of a net: its name, what it is, the C field, its numbers in Python and in C."""

    name: str
    signal: Signal
    field: str
    dtype: np.dtype
    pointer: object                            # the C type of its array
    target: bool = False


@dataclass
class Call:
    """The arguments of one call, checked. `keep` holds what the struct points to."""

    frames: int
    streams: int
    bare: bool                                 # the B axis is left out
    step: bool
    struct: object
    arrays: dict[str, np.ndarray]
    weight: np.ndarray | None = None
    keep: list = field(default_factory=list)
    sequences: int = 0
    lists: dict[str, list] = field(default_factory=dict)       # of labels, as they came; `arrays` holds the rest

    def shape(self, signal: Signal) -> tuple[int, ...]:
        """What an output of this call looks like."""
        if signal.per == "sequence" and not (self.step and self.bare):
            return (self.sequences, *signal.shape)
        lead = (() if self.step else (self.frames,)) + (() if self.bare else (self.streams,))
        return lead + signal.shape


class Border:
    """The inputs and outputs of one module."""

    def __init__(self, module: Module):
        manifest = self.manifest = module.manifest
        self.ffi, self.real, self.prefix = module.ffi, module.real, module.prefix
        self.dtype = np.dtype(manifest["dtype"])
        types = {kind: self.ffi.typeof(f"{kind}[]") for kind in (self.real, "int32_t", "uint8_t")}
        self.types, self.numbers, self.bytes = types, types[self.real], types["uint8_t"]
        self.ports = {i["name"]: self._port(i) for i in manifest["inputs"]}
        self.outputs = {o["name"]: self._port(o) for o in manifest["outputs"]}
        self.tuning = None                     # P_tuning *, where a test forces a plan
        self.struct, self.out = (self.ffi.typeof(f"{self.prefix}_{name} *") for name in ("inputs", "outputs"))
        self.per_frame = [p for p in self.ports.values() if p.signal.per == "frame"]
        self.per_sequence = [p for p in self.ports.values() if p.signal.per == "sequence"]
        self.whole = bool(self.per_sequence) or any(p.signal.per == "sequence" for p in self.outputs.values())
        self.lists = any(p.signal.kind == "labels" for p in self.per_sequence)

    def _port(self, entry: dict) -> Port:
        kind = entry.get("kind", "real")
        signal = Signal(tuple(entry["shape"]), kind, entry.get("classes"), entry.get("per", "frame"))
        return Port(entry["name"], signal, entry.get("field", entry["name"].replace(".", "_")),
                    KINDS[kind] or self.dtype, self.types[C_KIND.get(kind, self.real)], entry.get("target", False))

    def gather(self, values: dict, what: str = "run", *, starts=None, weight=None, streams: int | None = None,
               step: bool = False, targets: bool = False, frames: int | None = None, accumulate: bool = False,
               fill: bool = False, lot: tuple[int, int] = (0, 0)) -> Call:
        """Checks everything and points C at it. `what`: the call; `streams`: of the state; `targets`: whether targets
        have to be there; `fill`: absent ones become zeros and no labels, for C that computes more than is asked for;
        `lot`: seed and number of the draw, for random operators."""
        self._names(values, targets, what)
        seen = Axes(step, streams)
        found: dict[str, np.ndarray] = {}
        if weight is not None:
            weight = arrays.weights(weight, self.dtype)
        for port in self.per_frame:
            if port.name in values:
                array = found[port.name] = self.convert(port, values[port.name], weight)
                seen.see(port.name, array.shape, port.signal)
        if starts is not None:
            starts = arrays.flags(starts, "starts")
            seen.see("starts", starts.shape, FLAG)
        if weight is not None:
            seen.see("weight", weight.shape, NUMBER)
        T, B, bare = seen.settle(frames)
        begun = 0 if step or starts is None else int(np.count_nonzero(starts[1:]))
        call = Call(T, B, bare, step, self.ffi.new(self.struct), found, weight, sequences=B + begun)
        struct = call.struct
        if self.tuning is not None:
            struct.tuning = self.tuning
        for port in self.per_sequence:
            if port.signal.kind == "labels":
                given = values.get(port.name, [()] * call.sequences if fill else None)
                if given is not None:
                    self._lists(port, given, call, starts)
            elif port.name in values:
                found[port.name] = self._per_sequence(port, values[port.name], call, starts)
        for port in self.ports.values() if fill else ():
            if port.name not in found and port.signal.kind != "labels":
                shape = (T, B, *port.signal.shape) if port.signal.per == "frame" else (B + begun, *port.signal.shape)
                found[port.name] = np.full(shape, -1 if port.signal.kind == "class" else 0, port.dtype)
        for name, array in found.items():
            port = self.ports[name]
            setattr(struct, port.field, self._pointer(call, array, port.pointer))
        if starts is not None:
            struct.starts = self._pointer(call, starts, self.bytes)
        if weight is not None:
            struct.weight = self._pointer(call, weight, self.numbers)
        if accumulate:
            struct.accumulate = 1
        if self.manifest.get("random"):
            struct.seed, struct.draw = lot
        return call

    def results(self, call: Call, out: dict | None, kept: list) -> tuple[dict[str, np.ndarray], object]:
        """Arrays for every output, the caller's where given, and the struct that points to them. `kept`: what they may
        not be part of."""
        if out is not None:
            if not isinstance(out, dict):
                raise InputError(f"out: a dict from output to array is wanted, not {type(out).__name__}")
            for name in out:
                if name not in self.outputs:
                    raise unknown("output", name, self.outputs)
        made = {name: arrays.result(out, name, call.shape(port.signal), port.dtype)
                for name, port in self.outputs.items()}
        if out:
            arrays.apart({n: made[n] for n in out if out[n] is not None}, [*call.arrays.items(), *kept])
        return made, self.point(call, made)

    def point(self, call: Call, made: dict[str, np.ndarray]) -> object:
        """P_outputs on arrays; those left out stay NULL."""
        struct = self.ffi.new(self.out)
        for name, array in made.items():
            port = self.outputs[name]
            setattr(struct, port.field, self._pointer(call, array, port.pointer))
        return struct

    def _pointer(self, call: Call, array: np.ndarray, ctype):
        pointer = self.ffi.from_buffer(ctype, array)
        call.keep.append(pointer)
        return pointer

    def _names(self, values: dict, targets: bool, what: str) -> None:
        for name in [n for n, v in values.items() if v is None]:
            del values[name]
        for name in values:
            if name not in self.ports:
                raise unknown("input", name, self.ports, also=WORDS[what])
        missing = [p for p in self.ports.values() if p.name not in values and (targets or not p.target)]
        if missing:
            raise InputError("missing: " + listed(f"{p.name} ({p.signal})" for p in missing))

    def convert(self, port: Port, value, weight: np.ndarray | None = None) -> np.ndarray:
        """An array that C can read; `weight`: of the frames, for targets that are unknown where it is 0."""
        match port.signal.kind:
            case "class":
                return arrays.labels(value, port.name, port.signal.classes, port.target, weight)
            case "flag":
                return arrays.flags(value, port.name, port.target, weight)
        return arrays.real(value, port.name, self.dtype)

    def _per_sequence(self, port: Port, value, call: Call, starts) -> np.ndarray:
        seen = port.target and port.signal.kind in ("flag", "class") and call.weight is not None
        array = self.convert(port, value, heaviest(call, starts) if seen else None)
        count, shape = call.sequences, port.signal.shape
        if array.shape == shape and count == 1 and call.bare:
            return array
        if array.shape != (count, *shape):
            raise InputError(f"{port.name}: got shape {list(array.shape)}, wanted {[count, *shape]}: "
                             f"{_why(call, count - call.streams)}")
        return array

    def _lists(self, port: Port, value, call: Call, starts) -> None:
        """Lists of labels: end to end for C, with the length of each. A list longer than its sequence has no path; it
        is let through where it does not count."""
        made = arrays.lists(value, port.name, port.signal.classes)
        if len(made) != call.sequences:
            raise InputError(f"{port.name}: got {len(made)} lists of labels, wanted {call.sequences}: "
                             f"{_why(call, call.sequences - call.streams)}")
        for i, (labels, frames, counts) in enumerate(zip(made, *spans(call, starts))):
            if counts:
                too_long(f"{port.name}[{i}]", labels, frames)
        call.lists[port.name] = made
        flat = np.concatenate([np.zeros(0, np.int32), *made]).astype(np.int32)
        lengths = np.array([len(labels) for labels in made], np.int32)
        setattr(call.struct, port.field, self._pointer(call, flat, port.pointer))
        setattr(call.struct, f"{port.field}_lengths", self._pointer(call, lengths, port.pointer))


def kept(net, state) -> list[tuple[str, np.ndarray]]:
    """What a call works with besides its arrays, and a caller can have views of: to write outputs there would change
    parameters while they are read, and with no notice that packed ones are stale."""
    return [("net.theta", net.theta), ("net.gradient", net.gradient)] + (
        [] if state is None else [("state", state._memory)])


def too_long(name: str, labels: np.ndarray, frames: int) -> None:
    """Refuses a list that so many frames cannot spell: one for each label, and one between equal neighbours."""
    needed = len(labels) + int(np.count_nonzero(labels[1:] == labels[:-1]))
    if needed > frames:
        raise InputError(f"{name}: {len(labels)} labels need at least {needed} frames, and the sequence has {frames}; "
                         "weight 0 at its last frame leaves it out of the loss")


def spans(call: Call, starts) -> tuple[np.ndarray, np.ndarray]:
    """Of each sequence of a call the number of frames, and whether its last frame has weight."""
    first = firsts(call, starts)
    ends = np.append(first[1:], call.streams * call.frames)
    weight = np.ones(call.streams * call.frames) if call.weight is None else by_stream(call, call.weight).ravel()
    return ends - first, weight[ends - 1] != 0


def heaviest(call: Call, starts) -> np.ndarray:
    """The largest weight in each sequence, without its sign: all of its frames see a target of the whole."""
    if not call.frames:
        return np.zeros(call.sequences)
    return np.maximum.reduceat(abs(by_stream(call, call.weight)).ravel(), firsts(call, starts))


def firsts(call: Call, starts) -> np.ndarray:
    """Where sequences begin, stream after stream."""
    begins = np.zeros((call.streams, call.frames), bool) if starts is None else by_stream(call, starts) != 0
    begins[:, :1] = True
    return np.flatnonzero(begins)


def by_stream(call: Call, array) -> np.ndarray:
    """[T, B] to [B, T]."""
    return np.asarray(array).reshape(call.frames, call.streams).T


def _why(call: Call, begun: int) -> str:
    streams = f"{call.streams} stream{'s' * (call.streams != 1)}"
    later = f" and {begun} start{'s' * (begun != 1)} after the first frame" if begun else ""
    return f"one per sequence, and there are {streams}{later}"


class Axes:
    """Frames and streams, as each array of a call sees them."""

    def __init__(self, step: bool, streams: int | None):
        self.step, self.state = step, streams
        self.first: str | None = None
        self.lead: tuple[int, ...] = ()

    def see(self, name: str, shape: tuple[int, ...], signal: Signal) -> None:
        full = 1 if self.step else 2
        lead = len(shape) - len(signal.shape)
        if lead not in (full, full - 1) or shape[lead:] != signal.shape:
            short = wanted_shape(signal, True, self.step)
            raise InputError(f"{name}: got shape {list(shape)}, wanted {wanted_shape(signal, False, self.step)} "
                             f"(with one stream also {short})")
        if self.first is None:
            self.first, self.lead = name, shape[:lead]
        elif len(self.lead) != lead:
            with_axis = lead < len(self.lead)
            raise InputError(f"{name}: got shape {list(shape)}, wanted {wanted_shape(signal, not with_axis, self.step)}"
                             f", since {self.first} comes {'with' if with_axis else 'without'} an axis of streams")
        elif shape[:lead] != self.lead:
            for axis, (mine, theirs) in enumerate(zip(shape, self.lead)):
                if mine != theirs:
                    unit = "streams" if self.step or axis == 1 else "frames"
                    raise InputError(f"{name}: {mine} {unit}, but {self.first} has {theirs}")

    def settle(self, frames: int | None) -> tuple[int, int, bool]:
        """Frames, streams, and whether the axis of streams is left out."""
        if self.first is None:                 # a net without inputs
            T = 1 if self.step else frames
            if T is None:
                raise InputError("this net has no inputs: say how many frames to run, frames=100")
            if not isinstance(T, (int, np.integer)) or T < 0:
                raise InputError(f"frames: {T!r} is not a number of frames")
            return int(T), self.state or 1, self.state is None
        if frames is not None:
            raise InputError("frames: the inputs say how many there are")
        bare = len(self.lead) == (0 if self.step else 1)
        T = 1 if self.step else self.lead[0]
        B = 1 if bare else self.lead[-1]
        if B == 0:
            raise InputError(f"{self.first}: no streams")
        if self.state is not None and B != self.state:
            raise InputError(f"state: it has {self.state} streams, but {self.first} has {B}")
        return T, B, bare
