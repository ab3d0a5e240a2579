"""The command line: one file per group of commands, and `app.main`, which turns faults into messages and exit codes."""

import sys


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Most of the first moment goes by until all of them are read: Ctrl-C may come there, too."""
    try:
        from rnnc.cli.app import main as run
    except KeyboardInterrupt:
        print("rnnc: stopped", file=sys.stderr)
        return 130
    return run(arguments)
