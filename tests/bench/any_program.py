"""Any program against the same equations in JAX, translated from its checked graph (peers/jax_graph.py).

    python tests/bench/any_program.py --cells lstm gru ... --samples tagger ... [FILE.rnn ...] [-D hidden=64]
        [--units 16 64 256] [--calls 256x1 64x16] [--threads 1 2] [--quick] [--turns 7] [--out FILE.jsonl]

`--cells` and `--samples` without names are all of them. A cell is a layer, `dense(16)(cell(n)(x))` with n inputs and a
squared error. rnnc and JAX, each in a process of its own, take turns; of JAX the best of up to six forms counts: as
users write it, with the matrices stored the other way round, with their gradients taken out of the loop, both, with
eight steps in a turn of the scan, and linear loops without a scan. Loss, gradients and outputs must agree. The table
has thousands of frames a second, medians of turns, and rnnc over JAX; a program that is not measured is named with the
reason. Of linear attention JAX has no chunked form here, as its users would write for long calls.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from statistics import median

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this folder's profile.py must not hide Python's

from bench.turns import Fault, Peer, turn  # noqa: E402

ROOT = Path(__file__).parents[2]
SIDES = ("rnnc", "jax")
WHATS = ("train", "run")
# Arguments of cells that take more than their size; a cell that has none of its own runs on something else.
ARGUMENTS = {"conv": "{n}, 3", "narx": "{n}, 4", "projected_lstm": "{n}, {n} / 2"}
BODIES = {"residual": "residual(lstm({n}))(x)", "zoneout": "zoneout(0.1)(lstm({n})(x))",
          "layer_norm": "layer_norm()(x)", "rms_norm": "rms_norm()(x)"}


def cell_program(name: str, n: int) -> str:
    body = BODIES.get(name, f"{name}({ARGUMENTS.get(name, '{n}')})(x)").format(n=n)
    return (f"model net {{\n    input x : [{n}]\n    target y : [16]\n"
            f"    z = dense(16)({body})\n    output z\n    loss mse(z, y)\n}}\n")


def compared(case: dict, sides: dict[str, Peer], options, place: str) -> dict:
    """One case: {what: {side: seconds of the turns}}, or why not."""
    found: dict = {"label": case["label"], "frames": case["frames"], "streams": case["streams"],
                   "threads": sides["rnnc"].threads}
    case = case | {"place": place, "quick": options.quick}
    for name in SIDES:
        found[f"made {name}"] = sides[name].ask("make", case)
    for what in WHATS:
        reason = found["made jax"]["skipped"].get(what) or found["made rnnc"]["skipped"].get(what)
        if reason:
            found[what] = {"skipped": reason}
            continue
        seconds: dict = {name: [] for name in SIDES}
        for count in range(options.turns):
            for name in SIDES[::1 - 2 * (count % 2)]:
                seconds[name].append(turn(sides[name], [what, options.seconds], options.patience)["seconds"])
        found[what] = seconds
    return found


def cells_of(found: dict, what: str) -> list[str]:
    here = found[what]
    if "skipped" in here:
        return ["-", "-", "-", here["skipped"]]
    frames = found["frames"] * found["streams"] / 1e3
    mine, theirs = (frames / median(here[name]) for name in SIDES)
    best = min(here["jax"]) / min(here["rnnc"])
    return [f"{mine:.1f}", f"{theirs:.1f}", f"**{mine / theirs:.2f}** ({best:.2f})", found["made jax"]["form"][what]]


def line(found: dict) -> str:
    cells = [found["label"], str(found["frames"]), str(found["streams"]), str(found["threads"])]
    if "error" in found:
        return "| " + " | ".join([*cells, found["error"]]) + " |"
    return "| " + " | ".join(cells + [cell for what in WHATS for cell in cells_of(found, what)]) + " |"


HEAD = ("| program | T | B | threads | rnnc, training | JAX | ratio (of bests) | JAX's form "
        "| rnnc, running | JAX | ratio (of bests) | JAX's form |\n" + "|---" * 12 + "|")


def cases(options) -> list[dict]:
    """What to compare, in order."""
    from rnnc.cli.sources import samples
    from rnnc.graph.elaborate.library import standard_names
    calls = [tuple(map(int, call.split("x"))) for call in options.calls]
    sizes = {key: json.loads(value) for key, value in (pair.split("=", 1) for pair in options.sizes)}
    programs = []
    if options.cells is not None:
        for n in options.units:
            programs += [(f"{name} {n}", cell_program(name, n), {})
                         for name in options.cells or standard_names()]
    paths = [Path(p) for p in options.files]
    if options.samples is not None:
        paths += [ROOT / "samples" / f"{name}.rnn" for name in options.samples or samples()]
    said = "".join(f", {key} {value}" for key, value in sizes.items())
    programs += [(f"{path.stem}{said}", str(path), sizes) for path in paths]
    return [{"label": label, "source": source, "sizes": more, "frames": T, "streams": B}
            for label, source, more in programs for T, B in calls]


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("files", nargs="*", metavar="FILE", help="programs")
    ask.add_argument("--cells", nargs="*", metavar="NAME", help="standard cells as a layer")
    ask.add_argument("--samples", nargs="*", metavar="NAME", help="programs of samples/")
    ask.add_argument("--units", nargs="+", type=int, default=[16, 64, 256], metavar="N", help="of cells (16 64 256)")
    ask.add_argument("--calls", nargs="+", default=["256x1", "64x16"], metavar="TxB", help="(256x1 64x16)")
    ask.add_argument("--threads", nargs="+", type=int, default=[1, 2], metavar="N", help="(1 2)")
    ask.add_argument("-D", dest="sizes", action="append", default=[], metavar="SIZE=N", help="of files and samples")
    ask.add_argument("--quick", action="store_true", help="two or three of JAX's forms only, which compile sooner")
    ask.add_argument("--turns", type=int, default=7, help="of each side (7)")
    ask.add_argument("--seconds", type=float, default=0.04, help="of a turn (0.04)")
    ask.add_argument("--patience", type=float, default=1, help="seconds to wait for a quiet machine, each turn (1)")
    ask.add_argument("--out", type=Path, help="a line of JSON for each case is added here (none)")
    options = ask.parse_args()
    print(HEAD, flush=True)
    with tempfile.TemporaryDirectory() as place, open(Path(place, "log"), "w") as log:
        for threads in options.threads:
            sides: dict[str, Peer] = {}
            for case in cases(options):
                for name in SIDES:
                    if name not in sides or not sides[name].alive:
                        sides[name] = Peer(name, threads, None, log, "bench.peers.any_side")
                try:
                    found = compared(case, sides, options, place)
                except Fault as fault:
                    found = case | {"threads": threads, "error": f"{fault}"}
                print(line(found), flush=True)
                if options.out:
                    with open(options.out, "a", encoding="utf-8") as file:
                        file.write(json.dumps(found) + "\n")
            for side in sides.values():
                side.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
