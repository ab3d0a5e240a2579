"""The parser that lark makes of grammar/rnn.lark.

Making its tables takes longer than reading any program, so they are kept in the user's cache, named by a digest of all
they depend on. Where that folder cannot be used they are simply made again.
"""

import hashlib
import io
import os
import sys
import tempfile
from functools import cache
from importlib.resources import files
from pathlib import Path

import lark

OPTIONS = {"parser": "lalr", "lexer": "basic", "start": "file", "propagate_positions": True, "maybe_placeholders": True}


def grammar() -> str:
    return files("rnnc.grammar").joinpath("rnn.lark").read_text(encoding="utf-8")


@cache
def reader() -> lark.Lark:
    """The one parser of this process."""
    text = grammar()
    place = _kept_at(text)
    kept = _kept(place)
    if kept is not None:
        return lark.Lark.load(io.BytesIO(kept))
    made = lark.Lark(text, **OPTIONS)
    _keep(made, place)
    return made


def _kept_at(text: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    depends = f"{sys.version} {lark.__version__} {sorted(OPTIONS.items())} {text}"
    name = f"grammar-{hashlib.sha256(depends.encode()).hexdigest()[:20]}"
    return Path(os.environ.get("RNNC_CACHE") or Path(home) / "rnnc") / name


def _kept(place: Path) -> bytes | None:
    """The tables, if they are all there: the file begins with their digest."""
    try:
        whole = place.read_bytes()
    except OSError:
        return None
    seal, tables = whole[:32], whole[32:]
    return tables if hashlib.sha256(tables).digest() == seal else None


def _keep(made: lark.Lark, place: Path) -> None:
    """Written aside and renamed, so that another process never sees half of it."""
    tables = io.BytesIO()
    made.save(tables)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(prefix=f".{place.name}-", dir=place.parent)
        with os.fdopen(handle, "wb") as out:
            out.write(hashlib.sha256(tables.getvalue()).digest() + tables.getvalue())
        os.replace(aside, place)
    except OSError:
        pass                                   # no cache then; the tables are made, and that is what matters
