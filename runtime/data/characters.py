"""Text as labels: each character the number of its place in the vocabulary; the target is the next character."""

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.data.batches import Streams, fraction, parted
from rnnc.runtime.wanted import asked, asked_each, is_whole, path, whole
from rnnc.runtime.words import said, shown


@asked_each
class Text(Streams):
    """A text in parallel streams. `vocabulary` is a string: label i is its i-th character."""

    @asked
    def __init__(self, signals, frames: int, vocabulary: str, held: "Text | None" = None):
        super().__init__(signals, frames, held=held)
        self.vocabulary = vocabulary

    def encode(self, text: str) -> np.ndarray:
        return encode(text, self.vocabulary)

    def decode(self, labels) -> str:
        """Labels of any shape as one text."""
        labels = np.ravel(labels)
        for label in labels:
            if not is_whole(label) or not 0 <= label < len(self.vocabulary):
                raise InputError(f"labels: {shown(label)} is not in 0..{len(self.vocabulary) - 1}")
        return "".join(self.vocabulary[i] for i in labels)


@asked
def text(source, streams: int = 16, frames: int = 64, *, vocabulary: str | None = None, held_out: float = 0.0,
         input: str = "x", target: str = "y") -> Text:
    """A file, or the text itself (contains a newline). The vocabulary, unless given, is every character of the text
    once, sorted. `held_out`: the share at the end that is kept for validation, as `.held`."""
    streams, frames = whole("streams", streams, 1), whole("frames", frames, 1)
    for name, value in (("input", input), ("target", target)):
        if not isinstance(value, str):
            raise InputError(f"{name}: {said(value)}, wanted the name of a signal")
    words = read(source)
    if not words:
        raise InputError(f"{source}: the file is empty")
    vocabulary = "".join(sorted(set(words))) if vocabulary is None else vocabulary
    if not isinstance(vocabulary, str) or len(set(vocabulary)) != len(vocabulary) or not vocabulary:
        raise InputError("vocabulary: a string in which no character comes twice is wanted")
    labels = encode(words, vocabulary)
    split = parted(len(labels), int(len(labels) * fraction(held_out)), held_out, "characters", least=2)
    held = None
    if held_out:
        rest = labels[split:]
        fewer = max(1, min(streams, (len(rest) - 1) // frames))
        held = Text(_pairs(rest, fewer, input, target), frames, vocabulary)
    if split <= streams:
        whose = "a text of 1 character" if split == 1 else f"a text of {split} characters"
        raise InputError(f"{whose} is too short for {streams} streams" if streams > 1 else
                         f"{whose} is too short: each character is followed by one that is to be foretold")
    return Text(_pairs(labels[:split], streams, input, target), frames, vocabulary, held)


def read(source) -> str:
    if isinstance(source, str) and "\n" in source:
        return source
    try:
        return path("text", source).read_bytes().decode("utf-8-sig")
    except OSError as fault:
        raise InputError(f"{source}: {fault.strerror or fault} (a text itself has at least one newline)") from None
    except UnicodeDecodeError as fault:
        raise InputError(f"{source}: byte {fault.start} is not UTF-8") from None


def encode(text: str, vocabulary: str) -> np.ndarray:
    """int32 labels; a character outside the vocabulary is refused by name."""
    if not isinstance(text, str):
        raise InputError(f"text: {said(text)}, wanted a string")
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
