"""Operators that draw numbers: dropout and noise, and the keys that say which numbers.

row_key(per, ago) is a leaf, the key of a frame of a stream (ago frames earlier), or of its sequence (also domain =
"sequence"). dropout(v, key; p, site) is 0 for a share p of the units and v / (1 - p) for the others; noise(std, key;
site) is std times normal numbers. Nothing is remembered of what was drawn: a unit's numbers are a function of where it
stands,

    call key = T(seed, draw)    row key = T(call key, (frame, stream))    two words = T(row key, (unit, site))

T(key, counter) is Threefry-2x32 with 20 rounds (Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as
1, 2, 3"), a cipher made of additions, rotations and exclusive ors. Frame: how many frames the stream has run since its
state was fresh, starts or not; per sequence, that number at the sequence's first frame. Unit: the place in the value,
row by row. Site: a hash of the operator's path. So the derivative draws the same numbers again.
"""

import hashlib

import numpy as np

from rnnc.graph.nodes import INT, REAL
from rnnc.graph.ops.op import ELEMENTWISE, LEAF, Op, need, need_kinds, row

TURNS = ((13, 15, 26, 6), (17, 29, 16, 24))    # by how much each round rotates
PARITY = 0x1BD11BDA
MASK = 0xFFFFFFFF
RANDOM = ("dropout", "noise")                  # their values belong to their units: no slice may move through them


def threefry(key, counter):
    """Two words from two words and two more, arrays of uint32 that fit."""
    with np.errstate(over="ignore"):
        k = [np.asarray(w, np.uint32) for w in key]
        k.append(k[0] ^ k[1] ^ np.uint32(PARITY))
        a, b = (np.asarray(c, np.uint32) + w for c, w in zip(counter, k))
        for turn in range(5):
            for by in TURNS[turn % 2]:
                a = a + b
                b = ((b << np.uint32(by)) | (b >> np.uint32(32 - by))) ^ a
            a = a + k[(turn + 1) % 3]
            b = b + k[(turn + 2) % 3] + np.uint32(turn + 1)
    return a, b


def halves(word: int) -> tuple[int, int]:
    return word & MASK, word >> 32 & MASK


def row_keys(seed: int, draw: int, frames: np.ndarray, streams: np.ndarray | None = None) -> np.ndarray:
    """The keys of one frame: `frames` holds every stream's number (or that of each of `streams`). As int64, which
    graphs know."""
    streams = np.arange(len(frames)) if streams is None else streams
    words = threefry(threefry(halves(seed), halves(draw)), (frames & MASK, streams))
    return (words[0].astype(np.uint64) | words[1].astype(np.uint64) << np.uint64(32)).view(np.int64)


def site_number(path: str) -> int:
    return int.from_bytes(hashlib.sha256(path.encode()).digest()[:4], "little")


def words(node, key: np.ndarray):
    """The two words of every unit: [streams, units] each."""
    key = key.reshape(-1, 1).view(np.uint64)
    keys = (key & np.uint64(MASK)).astype(np.uint32), (key >> np.uint64(32)).astype(np.uint32)
    return threefry(keys, (np.arange(node.size, dtype=np.uint32), np.uint32(site_number(node.attr("site")))))


def normal(node, key):
    """Box & Muller 1958, with 24 bits each."""
    first, second = (np.float64(w >> np.uint32(8)) for w in words(node, key))
    return (np.sqrt(-2 * np.log((first + 1) / 2 ** 24)) * np.cos(2 * np.pi * second / 2 ** 24)).reshape(-1, *node.shape)


def threshold(share: float) -> int:
    """A word below this one is dropped."""
    return min(round(share * 2 ** 32), MASK)


def _dropout(node, v, key):
    kept = words(node, key)[0] >= np.uint32(threshold(node.attr("p")))
    return np.where(kept.reshape(-1, *node.shape), v / (1 - node.attr("p")), 0)


def _dropout_shape(args, attrs, shape):
    need_kinds("dropout", args, REAL, INT)
    need(0 <= attrs.get("p", -1) < 1 and "site" in attrs, "dropout without its share or site")
    return args[0].shape, REAL


def _noise_shape(args, attrs, shape):
    need_kinds("noise", args, REAL, INT)
    need("site" in attrs, "noise without a site")
    return args[0].shape if args[0].shape or shape is None else shape, REAL


def _key(args, attrs, shape):
    need(attrs.get("per") in ("frame", "sequence") and "ago" in attrs, "a row key of nothing")
    return (), INT


row(Op("row_key", LEAF, 0, _key, domain=None))
row(Op("dropout", ELEMENTWISE, 2, _dropout_shape, _dropout,
       (lambda c, up: up("dropout", c.b, p=c.attr("p"), site=c.attr("site")), None)))
row(Op("noise", ELEMENTWISE, 2, _noise_shape, lambda node, std, key: std * normal(node, key),
       (lambda c, up: up * c.a.number(1)("noise", c.b, shape=c.node.shape, site=c.attr("site")), None)))
