"""Runs known results again and says what was measured.

    python tests/results/run.py [NAME ...] [--out DIR] [--seeds N] [--list]

Writes results.json and results.md (a table) into --out. What is there already of other experiments stays, so that they
can be run one at a time. Everything runs on one thread; some take minutes.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).parents[1])     # `results.`, and the tasks that the tests have

from results import (  # noqa: E402, F401  (each enters its experiments)
    clocks,
    copying,
    forecasts,
    grammars,
    long_lags,
    recordings,
    speech,
    texts,
)
from results.harness import EXPERIMENTS, keep, kept, perform  # noqa: E402


def main() -> int:
    ask = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask.add_argument("names", nargs="*", metavar="NAME", help="of experiments, or beginnings of names (all)")
    ask.add_argument("--out", type=Path, help="folder of results.json and results.md (none)")
    ask.add_argument("--seeds", type=int, help="instead of as many as each has")
    ask.add_argument("--list", action="store_true", help="names and tasks")
    args = ask.parse_args()
    unknown = [name for name in args.names if not any(e.startswith(name) for e in EXPERIMENTS)]
    if unknown:
        ask.error(f"no such experiment: {', '.join(unknown)}; there is {', '.join(EXPERIMENTS)}")
    chosen = [e for name, e in EXPERIMENTS.items() if not args.names or name.startswith(tuple(args.names))]
    if args.list:
        print("\n".join(f"{e.name}: {e.task}" for e in chosen))
        return 0
    records = kept(args.out) if args.out else {}
    for one in chosen:
        records[one.name] = perform(one, args.seeds)
        text = keep(args.out, records, EXPERIMENTS) if args.out else None
    print(text or "\n".join(f"{r.name}: {r.measured}" for r in records.values()))
    return 0 if all(records[e.name].reproduced for e in chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
