"""Sequences of different lengths: a list of arrays goes side by side and end to end into streams, with a start before
each, and results come back as lists. What has one value per sequence comes as an array [N, ...], or N lists of labels,
in the order of the list.

Longest first, each to the stream that is shortest so far (Graham 1969). What a stream lacks at its end is filled with
the beginning of the longest sequence at weight 0: real data, so that no NaN comes from values nobody meant.
"""

import heapq
from dataclasses import dataclass

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import arrays
from rnnc.runtime.call import Border

MOST_STREAMS = 64


@dataclass(frozen=True)
class Piece:
    """Sequence `index` (its first `length` frames) in `stream`, from frame `first` on; filling counts for nothing."""

    index: int
    stream: int
    first: int
    length: int
    filling: bool = False


@dataclass(frozen=True)
class Packed:
    """Sequences in streams."""

    values: dict
    starts: np.ndarray
    weight: np.ndarray | None
    pieces: tuple[Piece, ...]
    frames: int                                # real ones

    def unpack(self, array: np.ndarray, per: str) -> list[np.ndarray] | np.ndarray:
        """[T, B, ...] to one array per sequence, [S, ...] to [N, ...], in the order they came."""
        if per == "sequence":
            place = {p.index: i for i, p in enumerate(by_start(self.pieces)) if not p.filling}
            return array[[place[i] for i in range(len(place))]]
        found = {p.index: array[p.first:p.first + p.length, p.stream].copy() for p in self.pieces if not p.filling}
        return [found[i] for i in range(len(found))]


def by_start(pieces) -> list[Piece]:
    """In order of stream, then start."""
    return sorted(pieces, key=lambda p: (p.stream, p.first))


def is_ragged(border: Border, values: dict) -> bool:
    """Whether any input is a list of sequences, each an array with an axis of time but none of streams."""
    return any(name in border.ports and border.ports[name].signal.per == "frame"
               and isinstance(value, (list, tuple)) and len(value) > 0
               and all(getattr(v, "ndim", None) == len(border.ports[name].signal.shape) + 1 for v in value)
               for name, value in values.items())


def pack(border: Border, what: str, values: dict, starts=None, weight=None) -> Packed:
    """Checks that all lists agree, places the sequences, copies them there."""
    border._names(values, False, what)
    lists = {n: _list(n, v) for n, v in values.items() if border.ports[n].signal.per == "frame"}
    first = next(iter(lists))
    lengths = [len(a) for a in lists[first]]
    if weight is not None:
        lists["weight"] = _list("weight", weight)
    if starts is not None:
        if border.whole:
            raise InputError("starts: in a list each array is one sequence; with values per sequence there can be no "
                             "further starts inside")
        lists["starts"] = _list("starts", starts)
    for name, sequences in lists.items():
        if len(sequences) != len(lengths):
            raise InputError(f"{name}: {len(sequences)} sequences, but {first} has {len(lengths)}")
        for i, (sequence, length) in enumerate(zip(sequences, lengths)):
            if len(sequence) != length:
                raise InputError(f"{name}[{i}]: {len(sequence)} frames, but {first}[{i}] has {length}")
            if length == 0:
                raise InputError(f"{name}[{i}]: a sequence without frames")
    pieces, T, B = place(lengths)
    packed = {n: _lay(n, lists[n], border.ports[n].signal.shape, pieces, T, B) for n in lists if n in border.ports}
    for name in values.keys() - lists.keys():
        packed[name] = _whole(border.ports[name], values[name], lengths, by_start(pieces))
    begin = _lay("starts", lists["starts"], (), pieces, T, B) if starts is not None else np.zeros((T, B), np.uint8)
    for p in pieces:
        begin[p.first, p.stream] = 1
    filling = [p for p in pieces if p.filling]
    weights = _lay("weight", lists["weight"], (), pieces, T, B) if weight is not None else None
    if filling and weights is None:
        weights = np.ones((T, B), border.dtype)
    for p in filling:
        weights[p.first:p.first + p.length, p.stream] = 0
    return Packed(packed, begin, weights, tuple(pieces), sum(lengths))


def _whole(port, value, lengths: list[int], pieces: list[Piece]):
    """One value per sequence, in the order of the pieces. Filling spells nothing."""
    name = port.name
    if port.signal.kind != "labels":
        array = arrays.as_array(value, name)
        if array.shape[:1] != (len(lengths),):
            raise InputError(f"{name}: got shape {list(array.shape)}, wanted one per sequence, {len(lengths)} of them")
        return array[[p.index for p in pieces]]
    made = arrays.lists(value, name, port.signal.classes)
    if len(made) != len(lengths):
        raise InputError(f"{name}: got {len(made)} lists of labels, wanted one per sequence, {len(lengths)} of them")
    return [made[p.index][:0 if p.filling else None] for p in pieces]


def place(lengths: list[int]) -> tuple[list[Piece], int, int]:
    """Pieces, frames, streams."""
    longest = max(lengths)
    streams = max(1, min(len(lengths), MOST_STREAMS, -(-sum(lengths) // longest)))
    free = [(0, s) for s in range(streams)]
    pieces = []
    for i in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        filled, stream = heapq.heappop(free)
        pieces.append(Piece(i, stream, filled, lengths[i]))
        heapq.heappush(free, (filled + lengths[i], stream))
    frames = max(filled for filled, _ in free)
    source = lengths.index(longest)
    for filled, stream in sorted(free):
        while filled < frames:
            length = min(longest, frames - filled)
            pieces.append(Piece(source, stream, filled, length, filling=True))
            filled += length
    return pieces, frames, streams


def _list(name: str, value) -> list[np.ndarray]:
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{name}: a list of arrays is wanted, one per sequence, as for the other inputs")
    made = [arrays.as_array(v, f"{name}[{i}]") for i, v in enumerate(value)]
    for i, array in enumerate(made):
        if array.ndim == 0:
            raise InputError(f"{name}[{i}]: a sequence is wanted, not a number")
    return made


def _lay(name: str, sequences: list[np.ndarray], shape: tuple[int, ...], pieces, frames: int, streams: int):
    for i, s in enumerate(sequences):
        if s.shape[1:] != shape:
            raise InputError(f"{name}[{i}]: got shape {list(s.shape)}, wanted [T{''.join(f', {n}' for n in shape)}]")
    whole = np.empty((frames, streams, *shape), np.result_type(*{s.dtype for s in sequences}))
    for p in pieces:
        whole[p.first:p.first + p.length, p.stream] = sequences[p.index][:p.length]
    return whole
