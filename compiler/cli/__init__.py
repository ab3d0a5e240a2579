"""The command line: one file per group of commands, and `main`, which turns faults into messages and exit codes."""

from rnnc.cli.app import main

__all__ = ["main"]
