"""What a set of data holds against what a model takes, looked at once before anything is computed. A refusal says where
in the data the fault stands; batches, which are cut from it, would count from their own first frame."""

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import arrays
from rnnc.runtime.arrays import Signal
from rnnc.runtime.call import too_long
from rnnc.runtime.score import axis

WEIGHT = "weight"                              # of frames in the loss: no signal, but data may have it
AT_ONCE = 1 << 16                              # frames of which a copy is made


def check(data, signals: dict[str, Signal], targets, dtype, place) -> None:
    """`data`: a recording in one stream, or sequences; `signals`: what the model takes, by name; `place`: a function
    from a signal to the file it comes from."""
    for name in sorted(data.names, key=lambda name: name != WEIGHT):
        signal = Signal(()) if name == WEIGHT else signals[name]
        try:
            Sight(data, name, name in targets, np.dtype(dtype)).see(signal)
        except InputError as fault:
            raise InputError(f"{place(name)}: {fault.message}", str(fault)[len(fault.message):], fault.typed) from None


class Sight:
    """One signal of a set of data."""

    def __init__(self, data, name: str, target: bool, dtype: np.dtype):
        self.data, self.name, self.target, self.dtype = data, name, target, dtype
        found = data.signals if name in data.signals else data.per_sequence
        self.values = found[name]
        self.framed = found is data.signals and (data.carries or isinstance(self.values, list))
        if self.framed:                        # a list of sequences, or the one recording without its axis of streams
            self.values = [self.values[:, 0]] if data.carries else self.values

    def see(self, signal: Signal) -> None:
        if signal.kind == "labels":
            return self.lists(signal)
        if signal.per == "frame":
            return self.frames(signal)
        count = self.sequences()
        if isinstance(self.values, list) or self.values.shape != (count, *signal.shape):
            raise self.misshapen([count, *signal.shape], "sequence")
        self.numbers(self.values, signal, self.name, np.zeros(count) if WEIGHT in self.data.names else None)

    def frames(self, signal: Signal) -> None:
        """One value for each frame."""
        lengths, weights = [self.data.length] if self.data.carries else self.data.lengths, self.weights()
        values = [axis(v, signal.shape, 1) for v in self.values] if self.framed else []
        if not self.framed or any(v.shape[1:] != signal.shape for v in values):
            raise self.misshapen([sum(lengths), *signal.shape], "frame")
        for i, (one, length) in enumerate(zip(values, lengths)):
            name = self.name if self.data.carries else f"{self.name}, sequence {i}"
            if len(one) != length:
                raise InputError(f"{name}: {len(one)} frames, others have {length}")
            self.numbers(one, signal, name, None if weights is None else weights[i])

    def lists(self, signal: Signal) -> None:
        """A list of labels for each sequence, which in whole sequences has to find room."""
        values = self.values[0] if self.data.carries and self.framed else self.values
        made = arrays.lists(values, self.name, signal.classes)
        weights = None if self.data.carries else self.weights()
        for i, (labels, frames) in enumerate(zip(made, () if self.data.carries else self.data.lengths)):
            if weights is None or weights[i][-1]:
                too_long(f"{self.name}[{i}]", labels, frames)

    def numbers(self, values, signal: Signal, name: str, weight) -> None:
        match signal.kind:
            case "class":
                arrays.labels(values, name, signal.classes, self.target, weight)
            case "flag":
                arrays.flags(values, name, self.target, weight)
            case _:
                for first in range(0, len(values), AT_ONCE):
                    some = arrays.real(values[first:first + AT_ONCE], name, self.dtype)
                    if self.name == WEIGHT and not np.isfinite(some).all():
                        at = first + int(np.flatnonzero(~np.isfinite(some))[0])
                        raise InputError(f"{name}: every weight has to be a finite number; {values[at]} stands at "
                                         f"[{at}]")

    def weights(self) -> list | None:
        """Of the frames, for each sequence."""
        found = self.data.signals.get(WEIGHT)
        return None if found is None else [axis(w, (), 1) for w in ([found[:, 0]] if self.data.carries else found)]

    def sequences(self) -> int:
        if not self.data.carries:
            return self.data.count
        return 1 + (0 if self.data.starts is None else int(np.count_nonzero(self.data.starts[1:])))

    def misshapen(self, wanted: list[int], per: str) -> InputError:
        """With the shape in the file, where sequences stand end to end."""
        parts = self.values if isinstance(self.values, list) else [self.values]
        got = [sum(len(v) for v in parts), *parts[0].shape[1:]]
        return InputError(f"{self.name}: got shape {got}, wanted {wanted}: one per {per}")
