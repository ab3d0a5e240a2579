"""A net's loss and metrics over a whole set of data."""

import numpy as np


def evaluate(net, data) -> dict:
    """Scores averaged over all frames, or over all sequences where they are means over sequences; streams carry their
    state from window to window."""
    sums: dict[str, float] = {}
    counts = {"frames": 0}
    whole = net.manifest.get("per_sequence") or ()
    state = net.state(data.streams) if data.carries else None
    for index in range(len(data)):
        batch = conform(data.batch(0, index), net)
        found = net.evaluate(**batch) if state is None else net.evaluate(state=state, **batch)
        counted = {unit: found.pop(unit) for unit in ("frames", "sequences") if unit in found}
        counts = {unit: counts.get(unit, 0) + n for unit, n in counted.items()}
        for name, value in found.items():
            sums[name] = sums.get(name, 0.0) + value * counted[unit_of(name, whole)]
    return {**{name: value / max(1, counts[unit_of(name, whole)]) for name, value in sums.items()}, **counts}


def unit_of(score: str, whole) -> str:
    """What a score is a mean over; `whole`: those of sequences."""
    return "sequences" if score in whole else "frames"


def conform(batch: dict, net) -> dict:
    """A signal of one unit may come with or without its axis; everything else is the net's own check."""
    signals = {**net.inputs, **net.targets}
    return {name: _conform(value, signals[name]) if name in signals else value for name, value in batch.items()}


def _conform(value, signal):
    if signal.kind == "labels":
        return value
    if isinstance(value, list):
        return [axis(v, signal.shape, 1) for v in value]
    return axis(value, signal.shape, 2 if signal.per == "frame" else 1)


def axis(array: np.ndarray, shape: tuple[int, ...], lead: int) -> np.ndarray:
    """An array with that many axes before those of `shape`, where its one unit comes as a number, or the reverse."""
    if shape == (1,) and array.ndim == lead:
        return array[..., None]
    if shape == () and array.ndim == lead + 1 and array.shape[-1] == 1:
        return array[..., 0]
    return array
