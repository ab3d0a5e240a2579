"""The part of the data that training never saw: kept in the checkpoint, scored after every epoch and by `rnnc eval`."""

import io
import math
from pathlib import Path

from rnnc.cli.console import Refusal, write

FILE = "held.npz"
LENGTHS, PER, SEQUENCE = " lengths", "per sequence ", "sequence of a frame"      # no signal has a space in its name


def keep(data, folder: Path) -> None:
    """Writes held-out data to the folder: recordings as they are, sequences end to end with their lengths, and lists of
    labels likewise."""
    import numpy as np
    flat = lambda name, values: {name: np.concatenate(values), f"{name}{LENGTHS}": np.array([len(v) for v in values])} \
        if isinstance(values, list) else {name: values}
    arrays = {}
    for name, values in data.signals.items():
        arrays |= flat(name, values)
    if data.carries:
        extra = {"starts": data.starts, SEQUENCE: data.sequence}
        arrays |= {name: array for name, array in extra.items() if array is not None}
        for name, values in data.per_sequence.items():
            arrays |= flat(PER + name, values)
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    write(folder / FILE, sink.getvalue())


def kept(folder: Path, frames: int, batch: int):
    """What `keep` wrote."""
    import numpy as np

    import rnnc
    from rnnc.runtime.data.files import DAMAGE, unpacked
    try:
        arrays = unpacked(folder / FILE)
    except FileNotFoundError:
        raise Refusal(f"{folder} keeps no held-out data; name some with --text, --data or --set") from None
    except PermissionError as fault:
        raise Refusal(f"{folder / FILE}: {fault.strerror}") from None
    except (OSError, *DAMAGE):
        raise Refusal(f"{folder / FILE} is damaged") from None
    lists = {name.removesuffix(LENGTHS) for name in arrays if name.endswith(LENGTHS)}
    whole = {name: np.split(arrays[name], np.cumsum(arrays.pop(name + LENGTHS))[:-1]) for name in lists}
    arrays |= whole
    if not lists or all(name.startswith(PER) for name in lists):
        starts, sequence = arrays.pop("starts", None), arrays.pop(SEQUENCE, None)
        each = {name.removeprefix(PER): arrays.pop(name) for name in list(arrays) if name.startswith(PER)}
        return rnnc.data.Streams(arrays, frames, starts, None, each, sequence)
    return rnnc.data.Sequences(arrays, batch, shuffle=False)


def bits(nats: float) -> float:
    return nats / math.log(2)
