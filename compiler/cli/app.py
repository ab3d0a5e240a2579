"""The command line's frame: parses arguments, runs one command, turns every fault into a message and an exit code.

0 done, 1 a fault in the program or the data, 2 usage, 3 toolchain, 70 a bug of ours, 130 stopped by Ctrl-C.
"""

import argparse
import codecs
import difflib
import errno
import os
import sys
import tempfile
import warnings

import rnnc
from rnnc.cli import bring, build, evaluate, explain, generate, program, stream, train
from rnnc.cli.console import Refusal, Usage, apologise, complain, say
from rnnc.errors import CompileError, RnncError, ToolchainError

OK, FAULT, USAGE, TOOLCHAIN, BUG, STOPPED, CLOSED = 0, 1, 2, 3, 70, 130, 141


class Parser(argparse.ArgumentParser):
    """Its help is a result like any other: argparse says nothing where it cannot be written. A word that it does not
    know is answered with the nearest that it does, by the command it was meant for."""

    given: list[str] = []

    def parse_known_args(self, args=None, namespace=None):
        self.given = sys.argv[1:] if args is None else list(args)
        found, left = super().parse_known_args(args, namespace)
        if left:                                 # a command's own flags are known here, not to the parser of commands
            self.error(f"unrecognized arguments: {' '.join(left)}")
        return found, left

    def error(self, message: str):
        nearest = [self.nearest(word.partition("=")[0], message) for word in self.given]
        super().error(message + "".join(f"\n  hint: did you mean {word}?" for word in nearest if word))

    def nearest(self, given: str, message: str) -> str | None:
        """The flag, or the word that may stand there, which a wrong one resembles."""
        known = [word for action in self._actions for word in action.choices or ()]
        if given.startswith("-"):
            known = [flag for action in self._actions for flag in action.option_strings]
            if given[:2] != "--" and given[:2] in known or any(flag.startswith(given) for flag in known):
                return None                      # -Dn=3, or the beginning of a long one: nothing is wrong with these
        elif f"invalid choice: {given!r}" not in message:
            return None
        return next(iter(difflib.get_close_matches(given, known, n=1)), None)

    def _print_message(self, message: str, file=None) -> None:
        if file is sys.stdout:
            print(message, end="", flush=True)
        else:
            super()._print_message(message, file)


def parser() -> argparse.ArgumentParser:
    """Every command of the program; each group of them lives in a file of its own."""
    top = Parser(
        prog="rnnc", description="An ahead-of-time compiler for recurrent neural networks.",
        epilog="Exit codes: 0 done, 1 a fault in the program or the data, 2 usage, 3 C toolchain, 70 a bug of rnnc. "
               "Results go to stdout, messages to stderr.")
    top.add_argument("--version", action="version", version=f"rnnc {rnnc.__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    for group in (program, build, train, evaluate, stream, generate, explain, bring):
        group.add(commands)
    return top


def open_streams() -> None:
    """Whoever starts us with a stream closed (`>&-`, some services) wants to hear nothing, or says nothing. Results and
    messages are UTF-8, as programs are, whatever the locale; names of files come out as the bytes that they are."""
    codecs.register_error("names of files", as_bytes)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))        # noqa: SIM115 -- as long as we live
    for out in (sys.stdout, sys.stderr):
        if hasattr(out, "reconfigure"):
            out.reconfigure(encoding="utf-8", errors="names of files")


def as_bytes(fault: UnicodeError):
    """What no text is: the bytes of a file's name, or shown by its number."""
    try:
        return codecs.lookup_error("surrogateescape")(fault)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(fault)


def let_go() -> None:
    """What waits to be written to stdout goes nowhere: Python's last flush would fail once more, in its own words."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def where_full(fault: OSError) -> str:
    """What may be full, where the fault does not name a file."""
    return f" (the output, or {tempfile.gettempdir()})" if fault.errno == errno.ENOSPC else ""


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; no exception leaves it, whatever happened."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    open_streams()
    try:
        options = parser().parse_args(arguments)
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *place: say(str(message))       # not a line of our own source
            code = options.run(options)
        sys.stdout.flush()
        return code or OK
    except SystemExit as stop:                   # argparse: --help is 0, a wrong flag is 2
        return stop.code if isinstance(stop.code, int) else USAGE
    except Usage as fault:
        say(str(fault) + (f"\n  hint: {fault.hint}" if fault.hint else ""))
        return USAGE
    except CompileError as fault:
        complain(fault.diagnostics, sys.stderr)
        return FAULT
    except ToolchainError as fault:
        say(str(fault))
        return TOOLCHAIN
    except RnncError as fault:
        say(fault.message + fault.typed)
        return FAULT
    except Refusal as fault:
        say(str(fault))
        return FAULT
    except BrokenPipeError:                      # the reader of our output left early, as `| head` does
        let_go()
        return CLOSED
    except KeyboardInterrupt as stop:
        say(f"stopped; {stop}" if str(stop) else "stopped")
        return STOPPED
    except OSError as fault:                     # a full disk, a folder that may not be written
        place = f"{fault.filename}: " if fault.filename else ""
        say(f"{place}{fault.strerror or fault}{'' if place else where_full(fault)}")
        try:
            sys.stdout.flush()
        except OSError:
            let_go()
        return FAULT
    except MemoryError:
        say("not enough memory for this; fewer streams, frames or units need less")
        return FAULT
    except Exception as fault:
        apologise(fault, arguments)
        return BUG
