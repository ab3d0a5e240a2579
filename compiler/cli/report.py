"""What a training run tells: a line per epoch on stdout, log.csv, the curve."""

import csv
import io
import math
import sys

from rnnc.runtime.words import figure

BITS = 1 / math.log(2)
POINT = ["epoch", "updates", "frames", "seconds", "loss", "held_out"]
HELD = "validation loss"


def unit(text: bool) -> str:
    return "bits per character" if text else "loss"


def scale(text: bool) -> float:
    """From the loss of a text model, in nats per frame, to bits per character."""
    return BITS if text else 1.0


def line(row: dict, epochs: int, text: bool) -> str:
    """An epoch in one line."""
    value = lambda nats: figure(nats * scale(text))
    parts = [f"epoch {row['epoch']}/{epochs}: {value(row['loss'])} {unit(text)}"]
    if HELD in row:
        parts.append(f"held out {value(row[HELD])}")
    parts += [f"{name.removeprefix('validation ')} {figure(v)}" for name, v in row.items()
              if name.startswith("validation ") and name != HELD]
    parts.append(f"{row['seconds']:.1f} s, {row['frames per second']:,.0f} {'characters' if text else 'frames'}/s")
    return ", ".join(parts)


def tell(text: str) -> None:
    """A line of the report, above whatever bar is on the terminal."""
    from tqdm import tqdm
    tqdm.write(text, file=sys.stdout)
    sys.stdout.flush()


def log(rows: list[dict], curve: list[list]) -> str:
    """Points of the curve and ends of epochs in the order in which they happened, as CSV; every metric is a column."""
    metrics = sorted({k for row in rows for k in row if k.startswith("validation ") and k != HELD})
    ends = [{"epoch": r["epoch"], "updates": r["updates"], "frames": r["frames"], "seconds": f"{r['seconds']:.3f}",
             "held_out": r.get(HELD, ""), **{m.removeprefix("validation "): r.get(m, "") for m in metrics}}
            for r in rows]
    epoch_of = lambda updates: 1 + sum(r["updates"] < updates for r in rows)
    points = [{"epoch": epoch_of(u), "updates": u, "frames": f, "loss": value} for u, f, value in curve]
    found = sorted(points + ends, key=lambda p: (p["updates"], "held_out" in p))
    sink = io.StringIO()
    writer = csv.DictWriter(sink, [*POINT, *(m.removeprefix("validation ") for m in metrics)], restval="",
                            lineterminator="\n")
    writer.writeheader()
    writer.writerows(found)
    return sink.getvalue()
