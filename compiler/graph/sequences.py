"""Where sequences begin and end in a call, for the interpreter: counters of frames, and the parts inside the call.

In: the frames since the start that the state knows, and the starts of the call. Out: `Sequences`. A sequence here is
the part between two starts that lies inside the call; they are numbered by stream, then start.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Sequences:
    since: np.ndarray                          # [T + 1, B]: frames since the start; the last row is for the state
    left: np.ndarray                           # [T, B]: frames that follow in the sequence, inside the call
    gone: np.ndarray                           # [T, B]: frames before this one in the sequence, inside the call
    parts: list[tuple[int, int, int]]          # of each sequence its stream, first frame, and one past the last
    number: np.ndarray                         # [T, B]: the sequence of a frame

    @property
    def frames(self) -> np.ndarray:
        """[S]: how many each has inside the call."""
        return np.array([last - first for _, first, last in self.parts], np.int64)


def sequences(starts: np.ndarray, before) -> Sequences:
    """`starts` [T, B]; `before` [B]: frames since the start when the call begins, or None."""
    frames, streams = starts.shape
    since = np.zeros((frames + 1, streams), np.int64)
    if before is not None:
        since[0] = before
    for t in range(frames):
        since[t] = np.where(starts[t], 0, since[t])
        since[t + 1] = since[t] + 1
    left, gone, number = (np.zeros((frames, streams), np.int64) for _ in range(3))
    parts: list[tuple[int, int, int]] = []
    for b in range(streams):
        begins = [t for t in range(frames) if t == 0 or starts[t, b]]
        for first, last in zip(begins, [*begins[1:], frames]):
            number[first:last, b] = len(parts)
            gone[first:last, b] = np.arange(last - first)
            left[first:last, b] = gone[first:last, b][::-1]
            parts.append((b, first, last))
    return Sequences(since, left, gone, parts, number)


def ended(lists) -> np.ndarray:
    """Lists of labels as one array, -1 after the last label of each."""
    lists = [np.asarray(labels, np.int64) for labels in lists]
    out = np.full((len(lists), max([1, *map(len, lists)])), -1, np.int64)
    for row, labels in zip(out, lists):
        row[:len(labels)] = labels
    return out
