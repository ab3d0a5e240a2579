"""rnnc and its peers on the same work, interleaved in one run.

    python tests/bench/run.py [--only W1 W2-16 ...] [--threads 1 2] [--quick] [--all] [--peers rnnc jax-scan ...]

Prints a table in Markdown and writes the record (JSON) and the table into --out. Peers that are not installed are left
out and named. --all adds settings of the peers that were never the best. Keep the machine otherwise idle: rows whose
turns were disturbed by other programs are marked *.
"""

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])   # `bench.`; and this folder's profile.py must not hide Python's

from bench import machine, table  # noqa: E402
from bench.turns import Peer, compete  # noqa: E402
from bench.workloads import chosen  # noqa: E402

# By cell: what was the best, or is what users write. Others with --all.
LOOPS = ["rnnc", "torch-eager", "torch-hoist", "torch-hoist+mkl", "jax-scan", "jax-hoist", "jax-hoist-T"]
PEERS = {
    "lstm": [*LOOPS, "torch-nn", "torch-nn+mkl"], "characters": [*LOOPS, "torch-nn", "torch-nn+mkl"],
    "gru": [*LOOPS, "torch-nn", "torch-nn+mkl"],
    "peephole": [*LOOPS, "torch-cell-hoist", "torch-cell-hoist+mkl"],
    "sru": ["rnnc", "torch-eager", "torch-eager+mkl", "jax-scan", "jax-scan-u8", "jax-assoc"],
    "tanh": [*LOOPS, "torch-nn-blocks", "torch-nn-blocks+mkl", "jax-hoist-T-u4", "jax-hoist-T-blocks"],
    "indrnn": ["rnnc", "torch-eager", "jax-scan", "jax-scan-T"],
}
INFERENCE = {"sequence": ["rnnc", "torch-nn", "torch-nn+mkl", "ort", "openvino", "jax-scan", "jax-scan-T"],
             "stream": ["rnnc", "torch-nncell", "ort", "ort-bound", "openvino", "jax-step-T"]}
MORE = ["torch-cell", "torch-cell-hoist", "torch-eager+mkl", "jax-scan-T", "jax-scan-u8", "jax-hoist-T-u4"]
MODULES = {"torch": ("torch",), "jax": ("jax",), "ort": ("onnx", "onnxruntime"), "openvino": ("onnx", "openvino")}


def peers_for(w, everything: bool, only: list[str]) -> list[str]:
    names = PEERS[w.cell] + MORE * everything if w.kind == "training" else INFERENCE[w.kind]
    return only or list(dict.fromkeys(names))


def installed(name: str) -> bool:
    return all(importlib.util.find_spec(module) for module in MODULES.get(name.split("-")[0].split("+")[0], ()))


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("--only", nargs="+", default=[], metavar="ID", help="workloads; W2 is W2-16 and W2-64")
    ask.add_argument("--threads", nargs="+", type=int, default=[2], metavar="N", help="(2)")
    ask.add_argument("--peers", nargs="+", default=[], metavar="NAME", help="these instead of the usual ones")
    ask.add_argument("--all", action="store_true", help="slower settings of the peers too")
    ask.add_argument("--quick", action="store_true", help="three short turns each, for a first look")
    ask.add_argument("--rounds", type=int, help="turns of each (9)")
    ask.add_argument("--seconds", type=float, help="of a turn (0.2)")
    ask.add_argument("--patience", type=float, default=2, help="seconds to wait for a quiet machine, each turn (2)")
    ask.add_argument("--out", type=Path, help="folder of bench.json and bench.md (none)")
    args = ask.parse_args()
    rounds, least = args.rounds or (3 if args.quick else 9), args.seconds or (0.05 if args.quick else 0.2)
    works = chosen([p for word in args.only for p in word.split(",")])
    rows, notes = [], []
    tell = lambda text: (notes.append(text), print(text, file=sys.stderr, flush=True))
    with tempfile.TemporaryDirectory() as place, open(Path(place, "log"), "w") as log:
        switch = machine.mkl_switch(place)
        wanted = {name for w in works for name in peers_for(w, args.all, args.peers)}
        absent = sorted(name for name in wanted if not installed(name))
        if absent:
            tell(f"not installed: {', '.join(absent)}")
        limits = machine.limits(args.threads)
        record = {"date": time.strftime("%Y-%m-%d"), "processor": machine.processor(), "versions": machine.versions(),
                  "mkl_switch": bool(switch), "limits": limits.lines, "load": os.getloadavg()[0]}
        for threads in args.threads:
            alive: dict[str, Peer] = {}
            try:
                for w in (w for w in works if w.kind != "stream" or threads == 1):
                    names = [n for n in peers_for(w, args.all, args.peers)
                             if n not in absent and (switch or "+mkl" not in n)]
                    for name in names:
                        if name not in alive:
                            alive[name] = Peer(name, threads, switch, log)
                    found = compete(w, [alive[n] for n in names if alive[n].alive], rounds, least,
                                    args.patience, tell)
                    print(table.line(w, found, limits, threads), file=sys.stderr, flush=True)
                    rows += found
            finally:
                for peer in alive.values():
                    peer.end()
    record |= {"rows": [row.record() for row in rows], "notes": notes}
    text = table.markdown(record, works, rows, limits)
    print(text)
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "bench.json").write_text(json.dumps(record, indent=1))
        (args.out / "bench.md").write_text(text)
    return 1 if any("differs" in note for note in notes) else 0


if __name__ == "__main__":
    sys.exit(main())
