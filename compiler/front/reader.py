"""The parser that lark makes of grammar/rnn.lark, and its words: text -> tokens, tokens -> lark's tree.

Making the tables takes longer than reading any program, so they are kept in the user's cache, named by a digest of all
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
    kept = _kept_at(text)
    try:
        return lark.Lark.load(io.BytesIO(kept.read_bytes()))
    except Exception:                          # absent, or of no use: whatever is wrong with it, a new one will do
        made = lark.Lark(text, **OPTIONS)
        _keep(made, kept)
        return made


def _kept_at(text: str) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    depends = f"{sys.version_info[:3]} {lark.__version__} {sorted(OPTIONS.items())} {text}"
    return Path(home) / "rnnc" / f"grammar-{hashlib.sha256(depends.encode()).hexdigest()[:20]}.tables"


def _keep(made: lark.Lark, place: Path) -> None:
    """Written aside and renamed, so that another process never sees half of it."""
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        handle, aside = tempfile.mkstemp(dir=place.parent)
        with os.fdopen(handle, "wb") as out:
            made.save(out)
        os.replace(aside, place)
    except OSError:
        pass
