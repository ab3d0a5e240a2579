"""Time per frame against units, frames, streams, layers, delay and threads, as pictures: a kink shows where a rule of
the planner or of the kernels changes badly.

    python tests/bench/curves.py [--threads 1 2] [--out curves.svg]

Training of an LSTM of 256 units (128 frames, one stream, one layer, 128 inputs) with one of these changed, and of
h = tanh(W x + U h[t-d]) for the delay. Dotted: the bound of unlisted.py. Needs matplotlib. Medians of nine turns; the
fastest of them are drawn as well, thin, since other programs lengthen the others.
"""

import argparse
import importlib.util
import json
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this folder's profile.py must not hide Python's

from bench import machine  # noqa: E402
from bench.unlisted import bound, timed  # noqa: E402

LSTM = """model net(units = 256, layers = 1) {
    input x : [128]
    target y : [units]
    h = stack(layers, lstm(units))(x)
    output h
    loss sum((h - y) ^ 2)
}
"""
DELAYED = """model net {
    input x : [128]
    target y : [256]
    param W : [256, 128]
    param U : [256, 256]
    h = tanh(W @ x + U @ h[t-DELAY])
    output h
    loss sum((h - y) ^ 2)
}
"""
PLAIN = {"units": 256, "frames": 128, "streams": 1, "layers": 1, "delay": 1}
SWEEPS = {
    "units": (16, 24, 32, 48, 64, 80, 96, 128, 160, 192, 224, 256, 288, 320, 384, 448, 512, 640, 768, 1024),
    "frames": (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048),
    "streams": (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128),
    "layers": (1, 2, 3, 4, 6, 8),
    "delay": (1, 2, 3, 4, 5, 6, 8, 12, 16),
}


def measure(what: str, value: int, threads: int, limits, plans) -> dict:
    import rnnc
    from rnnc import pipeline
    from rnnc.errors import Source
    at = PLAIN | {what: value}
    text, sizes = (DELAYED.replace("DELAY", str(value)), {}) if what == "delay" else \
        (LSTM, {"units": at["units"], "layers": at["layers"]})
    net = rnnc.compile(text, threads=threads, sizes=sizes)
    made = pipeline.schedules(Source("<curve>", text), pipeline.Options(), sizes)["backprop"]
    taken = sorted(timed(net, at["frames"], at["streams"], threads))
    count = at["frames"] * at["streams"]
    return {"what": what, "value": value, "threads": threads, "median": taken[len(taken) // 2] / count,
            "least": taken[0] / count,
            "bound": bound(made, at["frames"], at["streams"], limits, threads, plans) / count}


def draw(record: list[dict], picture: Path, title: str) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot, ticker
    figure, panels = pyplot.subplots(2, 3, figsize=(13, 7.5))
    colours = ("#1f5fa8", "#c0392b", "#2e7d32", "#7b1fa2")
    swept = list(dict.fromkeys(row["what"] for row in record))
    for axes in panels.flat[len(swept):]:
        axes.axis("off")
    for what, axes in zip(swept, panels.flat):
        for threads, colour in zip(sorted({row["threads"] for row in record}), colours):
            rows = [row for row in record if row["what"] == what and row["threads"] == threads]
            across = [row["value"] for row in rows]
            name = f"{threads} thread{'s' * (threads > 1)}"
            axes.plot(across, [1e6 * row["median"] for row in rows], "o-", color=colour, markersize=3, label=name)
            axes.plot(across, [1e6 * row["least"] for row in rows], "-", color=colour, linewidth=0.6)
            axes.plot(across, [1e6 * row["bound"] for row in rows], ":", color=colour)
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        axes.xaxis.set_major_formatter(ticker.ScalarFormatter())
        axes.set(xlabel=what, ylabel="microseconds a frame and stream")
        axes.grid(alpha=0.3, which="both")
    panels[0, 0].legend()
    panels[1, 2].text(0, 0.5, f"{title}\n\ntraining, float32\nLSTM, 128 inputs, 256 units, 128 frames,\none stream, "
                      "one layer, but for one;\ndelay: h = tanh(W x + U h[t-d])\n\nmedian of nine, fastest (thin), "
                      "bound (dotted)")
    figure.tight_layout()
    figure.savefig(picture, metadata={"Date": None} if picture.suffix == ".svg" else None)


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="(1 2)")
    ask.add_argument("--only", nargs="+", choices=SWEEPS, default=list(SWEEPS))
    ask.add_argument("--out", type=Path, default=Path("curves.svg"), help="(curves.svg, and the figures as JSON)")
    options = ask.parse_args()
    if not importlib.util.find_spec("matplotlib"):              # asked before minutes of measuring, not after
        ask.error("the pictures are drawn by matplotlib: pip install matplotlib")
    from rnnc.target.measure import machine as this_machine
    limits, plans, record = machine.limits(options.threads), this_machine(), []
    for what in options.only:
        for value in SWEEPS[what]:
            for threads in options.threads:
                record.append(row := measure(what, value, threads, limits, plans))
                print(f"{what} {value}, {threads} threads: {1e6 * row['median']:.3f} us, "
                      f"{row['bound'] / row['median']:.0%} of the bound", flush=True)
    options.out.with_suffix(".json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    draw(record, options.out, machine.processor())
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
