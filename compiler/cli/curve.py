"""The log of a training run (CSV) to a picture of its loss: PNG with matplotlib, SVG without.

The log has one row per report: epoch, update, frames, seconds, loss of the training data, loss of the held-out data.
Either loss may be empty.
"""

import csv
from pathlib import Path

from rnnc.cli.console import write

TRAINING, HELD_OUT = ("training", "#7a9cc6"), ("held out", "#c0392b")
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 420, 60, 700, 36, 370


def draw(log: str, picture: Path, title: str, unit: str, scale: float) -> Path:
    """The picture's path: its suffix becomes .svg where a PNG is asked for and matplotlib is not installed."""
    lines = curves(log, scale)
    if picture.suffix.lower() != ".svg":
        try:
            plotted(lines, picture, title, unit)
            return picture
        except ImportError:
            picture = picture.with_suffix(".svg")
    write(picture, scalable(lines, f"{title}: {unit}"))
    return picture


def curves(log: str, scale: float) -> list[tuple[str, str, list[tuple[float, float]]]]:
    """(label, colour, points): frames seen against loss, in the unit that is shown."""
    points = {"loss": [], "held_out": []}
    for row in csv.DictReader(log.splitlines()):
        for key, found in points.items():
            if row[key]:
                found.append((float(row["frames"]), float(row[key]) * scale))
    named = ((*TRAINING, points["loss"]), (*HELD_OUT, points["held_out"]))
    return [line for line in named if line[2]]


def plotted(lines, picture: Path, title: str, unit: str) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(7.2, 4.2))
    for label, colour, points in lines:
        axes.plot(*zip(*points), color=colour, label=label, marker="o" if len(points) < 40 else None)
    axes.set(title=title, xlabel="frames seen", ylabel=unit)
    axes.grid(alpha=0.3)
    axes.legend()
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=120, bbox_inches="tight")
    pyplot.close(figure)


def scalable(lines, title: str) -> str:
    """The same picture as SVG text."""
    every = [p for _, _, points in lines for p in points] or [(0.0, 0.0)]
    last = max(x for x, _ in every) or 1.0
    low, high = min(y for _, y in every), max(y for _, y in every)
    high = high if high > low else low + 1
    across = lambda x: round(LEFT + (RIGHT - LEFT) * x / last, 1)
    down = lambda y: round(BOTTOM - (BOTTOM - TOP) * (y - low) / (high - low), 1)
    from rnnc.target.render import render
    return render(
        "curve.svg.j2", title=title, across="frames seen", width=WIDTH, height=HEIGHT, left=LEFT, right=RIGHT,
        top=TOP, bottom=BOTTOM,
        rows=[{"at": down(v), "label": f"{v:.2f}"} for v in steps(low, high)],
        columns=[{"at": across(v), "label": f"{v:,.0f}"} for v in steps(0, last)],
        lines=[{"label": label, "colour": colour, "legend": TOP + 14 + 16 * i,
                "points": " ".join(f"{across(x)},{down(y)}" for x, y in points),
                "dots": [{"x": across(x), "y": down(y)} for x, y in points] if len(points) < 40 else []}
               for i, (label, colour, points) in enumerate(lines)])


def steps(low: float, high: float, count: int = 5) -> list[float]:
    """Evenly spaced values for an axis, both ends among them."""
    return [low + (high - low) * i / count for i in range(count + 1)]
