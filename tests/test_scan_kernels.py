"""The fixed C that counts frames, cuts time into lanes and picks a number of threads, alone."""

import numpy as np
import pytest
from fixed_c import loaded

from rnnc.graph.sequences import sequences

BUILDS = [("gcc", "native", False), ("gcc", "native", True), ("gcc", "x86-64-v3", False), ("gcc", "x86-64-v3", True),
          ("gcc", "x86-64-v2", False), ("gcc", "x86-64-v2", True), ("clang", "native", False),
          ("clang", "native", True)]


@pytest.fixture(params=BUILDS, ids=lambda b: f"{b[0]}-{b[1]}-{'double' if b[2] else 'float'}")
def k(request):
    return loaded(*request.param)


def test_frames_since_and_left(k):
    r = np.random.default_rng(0)
    for frames, streams in ((1, 1), (1, 5), (2, 3), (33, 1), (100, 1), (40, 7), (64, 17)):
        for share in (0, 0.02, 0.4):
            count = r.integers(0, 9, streams)
            starts = (r.random((frames, streams)) < share).astype(np.int64)
            known = sequences(starts, count)
            since, left = np.full((frames, streams), -7), np.full((frames, streams), -7)
            k.fill_since(since, count, starts, int(share > 0), frames, streams)
            assert np.array_equal(since, known.since[:frames])
            k.fill_left(left, since, frames, streams)
            assert np.array_equal(left, known.left)


def test_rows_of_which_all_reach_so_far(k):
    """Rows one behind another, of one frame or of several: never yes where a row reaches less far."""
    r = np.random.default_rng(1)
    for streams in (1, 2, 3, 5, 16, 40):
        starts = (r.random((80, streams)) < 0.03).astype(np.int64)
        known = sequences(starts, np.zeros(streams, np.int64))
        for which, counts in (("since", known.since[:80]), ("left", known.left)):
            flat, yes, could = counts.ravel().copy(), 0, 0
            for first in range(0, flat.size - k.vl + 1):
                for n, least in ((k.vl, 2), (1, 1), (k.vl - 1, 3)):
                    said = getattr(k, f"all_{which}")(flat[first:].copy(), n, streams, least)
                    assert not said or (flat[first:first + n] >= least).all()
                    yes, could = yes + said, could + bool((flat[first:first + n] >= least + n).all())
            assert yes >= could > 0


@pytest.mark.parametrize("m", [1, 2, 3, 4])
def test_a_vector_of_frames_is_one_frame_after_another(k, m):
    r = np.random.default_rng(m)
    for _ in range(20):
        a, b = (r.uniform(-1, 1, (m, m, k.vl)) / m).astype(k.type), r.standard_normal((m, k.vl)).astype(k.type)
        last, x = r.standard_normal(m).astype(k.type), b.copy()
        assert k.scan(m, x, a.copy(), last) == 1
        now = last.astype(np.longdouble)
        for lane in range(k.vl):
            now = a[:, :, lane].astype(np.longdouble) @ now + b[:, lane]
            assert np.allclose(x[:, lane].astype(float), now.astype(float), rtol=0, atol=20 * np.finfo(k.type).eps)
    b[0, 1] = np.inf
    assert k.scan(m, b, a.copy(), last) == 0
    b[0, 1] = np.nan
    assert k.scan(m, b, a.copy(), last) == 0


def test_lanes_move(k):
    x, before, y = (np.arange(n, dtype=k.type) + first for n, first in ((k.vl, 0), (k.vl, 100), (4 * k.vl, 0)))
    k.lanes(y, x, before)
    later, twice, back, same = y.reshape(4, k.vl)
    joined = np.concatenate([before, x])
    assert np.array_equal(later, joined[k.vl - 1:-1]) and np.array_equal(twice, joined[k.vl - 2:-2])
    assert np.array_equal(back, x[::-1]) and (same == 1).all()


def test_a_column(k):
    to = np.ones((5, 7), k.type)
    for label in (3, -1, 7, 3):
        k.scatter_column(to, 7, np.arange(5, dtype=k.type), 5, 7, label)
    wanted = np.ones((5, 7))
    wanted[:, 3] += 2 * np.arange(5)
    assert np.array_equal(to, wanted)


def test_how_many_threads(k):
    """outside, flops, numbers, bytes, panels, meetings; most; frames, streams."""
    assert k.worth(0.0, 1e3, 1e2, 1e3, 2, 1, 8, 1000, 1) == 1          # steps of 100 ns: they would only meet
    assert k.worth(0.0, 2e6, 1e4, 4e6, 64, 1, 2, 1000, 1) == 2
    assert k.worth(0.0, 2e6, 1e4, 4e6, 64, 1, 1, 1000, 1) == 1
    assert k.worth(1e7, 1e3, 1e2, 1e3, 2, 1, 8, 1000, 16) > 1          # much to do outside of the loop
    assert k.worth(0.0, 0.0, 10.0, 0.0, 0, 0, 8, 100000, 1) == 1       # one stream of numbers
    assert 1 <= k.worth(0.0, 2e6, 1e4, 4e6, 64, 1, 6, 1000, 1) <= 6
