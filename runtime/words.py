"""Names in messages: near misses, and lists that stay short."""

import difflib
from collections.abc import Iterable

from rnnc.errors import InputError


def unknown(what: str, name: object, known: Iterable[str]) -> InputError:
    """`what` has no such name: says so, with the nearest ones or all of them."""
    known = [str(k) for k in known]
    close = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    if close:
        tail = "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    elif known:
        tail = "; there is " + listed(known)
    else:
        tail = "; there is none"
    return InputError(f"no {what} is called {name!r}{tail}")


def listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, and {len(names) - most} more"


def place(line) -> str:
    """Where an equation stands: a line number, or file:line:column."""
    return f" (line {line})" if isinstance(line, int) else f" ({line})" if line else ""
