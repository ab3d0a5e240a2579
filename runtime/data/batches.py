"""The two forms of data, and what training asks of them."""

import hashlib
import math

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.wanted import asked, asked_each, mapping, number, truth, whole


@asked_each
class Streams:
    """Signals of N frames in B parallel streams, arrays [N, B, ...]. `starts` marks where sequences begin. What has one
    value per sequence stands in `per_sequence`, an array [S, ...] or S lists of labels each; `sequence` [N, B] tells
    which of these S a frame is part of."""

    carries = True                             # the state goes on from window to window

    @asked
    def __init__(self, signals: dict[str, np.ndarray], frames: int, starts: np.ndarray | None = None,
                 held: "Streams | None" = None, per_sequence: dict | None = None, sequence: np.ndarray | None = None):
        self.frames, self.starts, self.held = whole("frames", frames, 1), starts, held
        self.per_sequence, self.sequence = dict(per_sequence or {}), sequence
        self.signals = mapping("signals", signals, "signal to array")
        shapes = {name: np.shape(a)[:2] for name, a in self.signals.items()}
        if not shapes or any(len(shape) < 2 for shape in shapes.values()):
            raise InputError("signals: arrays [frames, streams, ...] are wanted; rnnc.data.arrays cuts recordings into "
                             "streams")
        if len(set(shapes.values())) != 1:
            raise InputError(f"signals differ in frames or streams: {shapes}")
        self.length, self.streams = next(iter(shapes.values()))
        if not self.length:
            raise InputError(f"the data is too short: not one frame for each of {self.streams} streams")

    def __len__(self) -> int:
        """Windows per epoch; the last one may be shorter."""
        return math.ceil(self.length / self.frames)

    def window(self, first: int, last: int) -> dict[str, np.ndarray]:
        """Frames first to last of every stream, as arguments of a call."""
        first, last = whole("first", first), whole("last", last)
        found = {name: a[first:last] for name, a in self.signals.items()}
        if self.starts is not None:
            found["starts"] = self.starts[first:last]
        if self.per_sequence:
            number = self.sequence[first:last]
            begins = np.zeros(number.shape, bool) if self.starts is None else self.starts[first:last] != 0
            begins[:1] = True
            places = number.T[begins.T]                         # by stream, then start
            found |= {name: take(values, places) for name, values in self.per_sequence.items()}
        return found

    def batch(self, epoch: int, index: int) -> dict[str, np.ndarray]:
        """Update `index` of an epoch; recordings are read in the same order in every one."""
        index = _index(self, epoch, index)
        return self.window(index * self.frames, min((index + 1) * self.frames, self.length))

    @property
    def total(self) -> int:
        """Frames of one epoch, all streams together."""
        return self.length * self.streams

    @property
    def digest(self) -> str:
        return digest([*self.signals.items(), ("starts", self.starts), *spread(self.per_sequence)], self.frames)

    @property
    def names(self) -> list[str]:
        """Of all signals."""
        return [*self.signals, *self.per_sequence]

    def __repr__(self) -> str:
        return f"<{', '.join(self.names)}: {self.length:,} frames x {self.streams} streams, by {self.frames}>"


@asked_each
class Sequences:
    """Whole sequences, lists of arrays [T, ...]; `batch_size` of them per update, in a new order every epoch. A signal
    that has one value per sequence is an array with that axis first, or a list of lists of labels."""

    carries = False

    @asked
    def __init__(self, signals: dict, batch_size: int = 16, shuffle: bool = True, seed: int = 0,
                 held: "Sequences | None" = None):
        self.signals, self.batch_size = mapping("signals", signals, "signal to arrays"), whole("batch", batch_size, 1)
        self.shuffle, self.seed, self.held = truth("shuffle", shuffle), whole("seed", seed), held
        if not self.signals:
            raise InputError("no signals")
        counts = {name: np.shape(values)[0] if not isinstance(values, list) else len(values)
                  for name, values in self.signals.items() if isinstance(values, list) or np.ndim(values)}
        if len(counts) < len(self.signals):
            raise InputError("signals: a list of arrays [T, ...] each is wanted, or one value per sequence")
        if len(set(counts.values())) != 1:
            raise InputError(f"signals differ in their number of sequences: {counts}")
        self.count = next(iter(counts.values()))
        if not self.count:
            raise InputError("no sequences")
        lists = {n: v for n, v in self.signals.items() if isinstance(v, list)}
        if not lists:
            raise InputError("sequences come as lists of arrays; these are arrays only")
        spoken = {n for n, v in lists.items() if all(s.ndim == 1 and (s.dtype.kind in "iu" or not s.size) for s in v)}
        framed = [v for n, v in lists.items() if n not in spoken] or list(lists.values())
        self.lengths = [len(s) for s in framed[0]]
        for name, values in lists.items():      # lists of labels may have other lengths than the frames
            for i, (one, length) in enumerate(zip(values, self.lengths)):
                if not length:
                    raise InputError(f"{name}: sequence {i} has no frames")
                if len(one) != length and name not in spoken:
                    raise InputError(f"{name}: sequence {i} has {len(one)} frames, others say {length}")

    def __len__(self) -> int:
        return math.ceil(self.count / self.batch_size)

    def order(self, epoch: int) -> np.ndarray:
        if not self.shuffle:
            return np.arange(self.count)
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)

    def batch(self, epoch: int, index: int) -> dict:
        chosen = self.chosen(epoch, index)
        return {name: take(values, chosen) for name, values in self.signals.items()}

    def chosen(self, epoch: int, index: int) -> np.ndarray:
        """The sequences of an update, by number."""
        index = _index(self, epoch, index)
        return self.order(epoch)[index * self.batch_size:(index + 1) * self.batch_size]

    @property
    def names(self) -> list[str]:
        return list(self.signals)

    @property
    def total(self) -> int:
        return sum(self.lengths)

    @property
    def digest(self) -> str:
        return digest(spread(self.signals), self.batch_size, self.shuffle, self.seed)

    def __repr__(self) -> str:
        return f"<{', '.join(self.signals)}: {self.count} sequences, {self.total:,} frames, by {self.batch_size}>"


def _index(data, epoch, index) -> int:
    """Which update of an epoch, if there is such a one."""
    whole("epoch", epoch)
    if whole("index", index) >= len(data):
        raise InputError(f"index: an epoch of this data has updates 0..{len(data) - 1}, not {index}")
    return int(index)


def take(values, places):
    """Those of some sequences: a list stays a list."""
    return [values[i] for i in places] if isinstance(values, list) else values[places]


def spread(signals: dict) -> list[tuple[str, np.ndarray]]:
    """Every array by its signal, those of a list one by one."""
    return [(n, a) for n, v in signals.items() for a in (v if isinstance(v, list) else [v])]


def digest(pairs, *numbers) -> str:
    """Tells one set of data from another; a sample of each array is enough."""
    sink = hashlib.sha256(repr(numbers).encode())
    for name, array in pairs:
        if array is None:
            continue
        array = np.asarray(array)
        sink.update(f"{name} {array.dtype} {array.shape}".encode())
        rows = array if len(array) <= 4096 else array[:: len(array) // 4096]
        sink.update(np.ascontiguousarray(rows).tobytes())
    return sink.hexdigest()[:32]


def shared_length(signals: dict[str, np.ndarray], source=None) -> int:
    """How many frames all of these recordings have. `source`: the file they come from, or a dict of one for each."""
    lengths = {name: len(a) for name, a in signals.items()}
    if len(set(lengths.values())) != 1:
        told = {f"{name} ({source[name]})" if isinstance(source, dict) and name in source else name: n
                for name, n in lengths.items()}
        place = "" if source is None or isinstance(source, dict) else f"{source}: "
        raise InputError(f"{place}signals differ in frames: {told}; each has one value for every frame of the "
                         "recording: cut them to one length, or leave out what is no signal")
    return next(iter(lengths.values()))


def cut(signals: dict[str, np.ndarray], streams: int) -> dict[str, np.ndarray]:
    """One recording [N, ...] to contiguous parts side by side, [N // streams, streams, ...]; the rest is left out."""
    streams = whole("streams", streams, 1)
    length = shared_length(signals) // streams
    if not length:
        raise InputError(f"{shared_length(signals)} frames are too few for {streams} streams")
    return {name: np.ascontiguousarray(np.swapaxes(a[:length * streams].reshape(streams, length, *a.shape[1:]), 0, 1))
            for name, a in signals.items()}


def fraction(value) -> float:
    """How much is held out of training, 0 up to 1."""
    if not 0 <= number("held_out", value) < 1:
        raise InputError(f"held_out: {value!r} is not between 0 and 1")
    return float(value)


def parted(count: int, held: int, share: float, unit: str, least: int = 1) -> int:
    """How many of `count` are left to learn from, once `held` of them, a share that was asked for, are held out."""
    if share and held < least:
        raise InputError(f"held_out: {share} of {count} {unit} is too little to score",
                         typed="; --held-out 0 holds nothing out")
    if held and held == count:
        raise InputError(f"held_out: {share} of {count} {unit} leaves none to learn from")
    return count - held
