"""Real data as batches of streams: text, arrays, tables, sound.

    data = rnnc.data.text("corpus.txt", streams=64, frames=128, held_out=0.05)
    rnnc.fit(net, data, opt, validate=data.held)

Two forms. `Streams`: long recordings cut into parallel streams, read window after window with the state carried on.
`Sequences`: many sequences of any lengths, a batch of them at a time, each from a fresh start. Both are random access:
what batch 7 of epoch 3 holds is a function of (seed, 3, 7), so a position is two numbers.
"""

from rnnc.runtime.data.batches import Sequences, Streams
from rnnc.runtime.data.characters import Text, text
from rnnc.runtime.data.files import arrays, csv, load, npz, sequences, wav

__all__ = ["Sequences", "Streams", "Text", "arrays", "csv", "load", "npz", "sequences", "text", "wav"]
