"""--dtype and --weight-type: the numbers a command computes with, and how matrices are stored."""

import argparse

from rnnc.cli.console import Usage
from rnnc.runtime.ask import DTYPES, WEIGHTS


def add_numbers(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dtype", choices=DTYPES, help="(float32)")
    command.add_argument("--weight-type", choices=WEIGHTS,
                         help="bfloat16: of the matrices that products in loops read, which halves them; int8: of "
                              "quantised ones, of 8 bits or fewer, to the same numbers (float32)")


def numbers(options, dtype: str | None = None, weights: str | None = None) -> dict:
    """`dtype` and `weights` as `rnnc.compile` takes them: the flags, else what was chosen before, else float32."""
    found = {"dtype": options.dtype or dtype or "float32", "weights": options.weight_type or weights or "float32"}
    if found["weights"] != "float32" and found["dtype"] != "float32":
        raise Usage(f"{found['weights']} stands for float32 weights, and the numbers here are {found['dtype']}",
                    hint="leave out --weight-type or --dtype")
    return found
