"""Texts to learn from: files, or the documentation that every CPython carries in pydoc_data.topics.

A corpus says what it is (name, characters, digest, vocabulary), so that a result can be traced to its data.
"""

import hashlib
import platform
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rnnc.cli.console import Refusal, Usage
from rnnc.cli.sources import decoded, not_a_file

BUILT_IN = "python-documentation"


@dataclass(frozen=True)
class Corpus:
    """A text and where it is from."""

    name: str
    text: str

    @cached_property
    def vocabulary(self) -> str:
        """Every character of the text once, sorted: label i is the i-th of them."""
        return "".join(sorted(set(self.text)))

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.text.encode("utf-8")).hexdigest()

    def summary(self) -> str:
        return (f"{self.name}: {len(self.text):,} characters, {len(self.vocabulary)} different ones, "
                f"sha256 {self.digest}")


def documentation() -> Corpus:
    """The reference manual inside this Python, topic by topic in the order of their names."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise Refusal("this Python ships without pydoc_data; name a text with --text FILE") from None
    name = f"documentation of {platform.python_implementation()} {platform.python_version()} (pydoc_data.topics)"
    return Corpus(name, "\n".join(topics[key] for key in sorted(topics)))


def from_file(name: str) -> Corpus:
    path = Path(name)
    if not path.is_file():
        raise Usage(not_a_file(path, "text"))
    text = decoded(path.read_bytes(), name)
    if not text:
        raise Refusal(f"{name} is empty")
    return Corpus(name, text)
