"""The part of the data that training never saw: kept in the checkpoint, scored after every epoch and by `rnnc eval`."""

import io
import math
from pathlib import Path

from rnnc.cli.console import Refusal, write

FILE = "held.npz"


def keep(data, folder: Path) -> None:
    """Writes held-out data to the folder: recordings as they are, sequences end to end with their lengths."""
    import numpy as np
    if data.carries:
        arrays = dict(data.signals)
        if data.starts is not None:
            arrays["starts"] = data.starts
    else:
        arrays = {n: np.concatenate(v) if isinstance(v, list) else v for n, v in data.signals.items()}
        arrays["lengths"] = np.array(data.lengths)
    sink = io.BytesIO()
    np.savez_compressed(sink, **arrays)
    write(folder / FILE, sink.getvalue())


def kept(folder: Path, frames: int, batch: int):
    """What `keep` wrote."""
    import numpy as np

    import rnnc
    try:
        with np.load(folder / FILE, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise Refusal(f"{folder} keeps no held-out data; name some with --text, --data or --set") from None
    except (ValueError, OSError, EOFError):
        raise Refusal(f"{folder / FILE} is damaged") from None
    lengths = arrays.pop("lengths", None)
    if lengths is None:
        return rnnc.data.Streams(arrays, frames, arrays.pop("starts", None))
    ends = np.cumsum(lengths)
    apart = {n: np.split(a, ends[:-1]) if len(a) == ends[-1] else a for n, a in arrays.items()}
    return rnnc.data.Sequences(apart, batch, shuffle=False)


def bits(nats: float) -> float:
    return nats / math.log(2)
