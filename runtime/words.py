"""Names in messages: near misses, and lists that stay short."""

import difflib
from collections.abc import Iterable

from rnnc.errors import InputError


def said(value) -> str:
    """What came, in few words: `got 'abc'`."""
    return f"got {shown(value)}"


def shown(value) -> str:
    """A value in few words. A number of NumPy's is a number."""
    if getattr(value, "shape", None) == () and type(value).__name__ != "ndarray" and hasattr(value, "item"):
        value = value.item()
    text = f"an array of shape {list(value.shape)}" if getattr(value, "shape", None) else repr(value)
    return short(" ".join(text.split()))


def short(text: str, most: int = 60) -> str:
    return text if len(text) <= most else text[:most - 3] + "..."


def unknown(what: str, name: object, known: Iterable[str], said_as: str | None = None,
            also: Iterable[str] = ()) -> InputError:
    """`what` has no such name: says so, with the nearest ones or all of them. `said_as`: how the caller wrote it.
    `also`: what may have been meant, and is of another kind."""
    known = [str(k) for k in known]
    given = shown(name if said_as is None else said_as)
    close = difflib.get_close_matches(str(name), dict.fromkeys([*known, *also]), n=3, cutoff=0.6)
    if close:
        tail = "; did you mean " + " or ".join(repr(c) for c in close) + "?"
    elif known:
        tail = "; there is " + listed(known)
    else:
        tail = "; there is none"
    return InputError(f"no {what} is called {given}{tail}")


def listed(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown}, and {len(names) - most} more"


def figure(value: float) -> str:
    """A loss or a metric: four places, unless it is too large for them to matter."""
    return f"{value:.4f}" if abs(value) < 1e5 else f"{value:.4g}"


def place(line) -> str:
    """Where an equation stands: a line number, or file:line:column."""
    return f" (line {line})" if isinstance(line, int) else f" ({line})" if line else ""


class Report(str):
    """A text that shows itself as it is, also at the prompt and in a notebook."""

    __repr__ = str.__str__
