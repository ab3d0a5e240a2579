"""Text as labels: each character the number of its place in the vocabulary; the target is the next character."""

import os
from pathlib import Path

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.data.batches import Streams, fraction, positive


class Text(Streams):
    """A text in parallel streams. `vocabulary` is a string: label i is its i-th character."""

    def __init__(self, signals, frames: int, vocabulary: str, held: "Text | None" = None):
        super().__init__(signals, frames, held=held)
        self.vocabulary = vocabulary

    def encode(self, text: str) -> np.ndarray:
        return encode(text, self.vocabulary)

    def decode(self, labels) -> str:
        return "".join(self.vocabulary[i] for i in np.ravel(labels))


def text(source, streams: int = 16, frames: int = 64, *, vocabulary: str | None = None, held_out: float = 0.0,
         input: str = "x", target: str = "y") -> Text:
    """A file, or the text itself (contains a newline). The vocabulary, unless given, is every character of the text
    once, sorted. `held_out`: the share at the end that is kept for validation, as `.held`."""
    positive("streams", streams)
    positive("frames", frames)
    words = read(source)
    vocabulary = "".join(sorted(set(words))) if vocabulary is None else vocabulary
    if len(set(vocabulary)) != len(vocabulary) or not vocabulary:
        raise InputError("vocabulary: a string in which no character comes twice is wanted")
    labels = encode(words, vocabulary)
    split = len(labels) - int(len(labels) * fraction(held_out))
    held = None
    if held_out:
        rest = labels[split:]
        if len(rest) < 2:
            raise InputError(f"held_out: {held_out} of {len(labels)} characters is too little to score")
        fewer = max(1, min(streams, (len(rest) - 1) // frames))
        held = Text(_pairs(rest, fewer, input, target), frames, vocabulary)
    if split <= streams:
        raise InputError(f"a text of {split} characters is too short for {streams} streams")
    return Text(_pairs(labels[:split], streams, input, target), frames, vocabulary, held)


def read(source) -> str:
    if isinstance(source, str) and "\n" in source:
        return source
    if not isinstance(source, (str, os.PathLike)):
        raise InputError(f"text: a path or a text is wanted, not {type(source).__name__}")
    try:
        return Path(source).read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise InputError(f"{source}: {fault.strerror or fault} (a text itself has at least one newline)") from None
    except UnicodeDecodeError as fault:
        raise InputError(f"{source}: byte {fault.start} is not UTF-8") from None


def encode(text: str, vocabulary: str) -> np.ndarray:
    """int32 labels; a character outside the vocabulary is refused by name."""
    points = lambda string: np.frombuffer(string.encode("utf-32-le", "surrogatepass"), np.uint32)
    known, codes = points(vocabulary), points(text)
    table = np.full(max(int(known.max(initial=0)), int(codes.max(initial=0))) + 1, -1, np.int32)
    table[known] = np.arange(len(known))
    labels = table[codes]
    if labels.min(initial=0) < 0:
        strange = chr(codes[labels < 0][0])
        raise InputError(f"the character {strange!r} (U+{ord(strange):04X}) is not in the vocabulary")
    return labels


def _pairs(labels: np.ndarray, streams: int, input: str, target: str) -> dict[str, np.ndarray]:
    """Each stream a contiguous part; its target is its own text, one character on."""
    length = (len(labels) - 1) // streams
    part = lambda first: np.ascontiguousarray(labels[first:first + length * streams].reshape(streams, length).T)
    return {input: part(0), target: part(1)}
