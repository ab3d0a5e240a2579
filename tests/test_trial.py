"""Ways of running a call are timed and the fastest is kept; whatever is tried, the numbers are the same."""

from threading import Thread

import numpy as np
import pytest

import rnnc
from rnnc.runtime import trial
from rnnc.runtime.trial import AGAIN, AT_MOST, EACH, LATES, TIMINGS, Trial

TEXT = """model m(n = 12) {
    input x : [3]
    target y : [24]
    h = concat(rnn(n)(x), reversed(rnn(n))(x))
    output h
    loss mse(h, y)
}
"""


def play(ways: Trial, seconds, calls: int, whole: float = 0.0) -> list[int]:
    """Which way each call went, if way i takes seconds[i] a frame, of calls of `whole` seconds."""
    went = []
    for _ in range(calls):
        went.append(ways.choose())
        ways.note(went[-1], seconds[went[-1]], whole)
    return went


def test_the_fastest_way_is_kept():
    ways = Trial([(0, None), (0, None), (1, None)])
    round_ = EACH * 2 * (TIMINGS + 1)
    went = play(ways, [1.3, 1.2, 1.0], round_ + AGAIN - 1)
    assert went[:6] == [0, 0, 1] * 2 and set(went[round_:]) == {2} and ways.settled


def test_most_calls_of_a_round_go_the_best_way_so_far():
    ways = Trial([(0, None), (0, None), (0, None), (1, None)])
    went = play(ways, [1.0, 1.3, 1.1, 1.2], EACH * 3 * (TIMINGS + 1))
    assert went == ([0, 0, 1] * (TIMINGS + 1) + [0, 0, 2] * (TIMINGS + 1) + [0, 0, 3] * (TIMINGS + 1)) and ways.settled
    ways = Trial([(0, None), (0, None), (1, None)])
    went = play(ways, [1.4, 1.0, 1.3], EACH * 2 * (TIMINGS + 1))
    assert went == [0, 0, 1] * (TIMINGS + 1) + [1, 1, 2] * (TIMINGS + 1)


def test_the_first_run_of_a_way_does_not_count():
    ways = Trial([(0, None), (1, None)])
    for way, seconds in (0, 99.0), (0, 1.0), (1, 0.1):
        assert ways.choose() == way
        ways.note(way, seconds)
    play(ways, [1.0, 2.0], 20)
    assert ways.best == 0


@pytest.mark.parametrize("seconds, tried", [(5.0, 2), (1.7, 3), (1.4, 4)])
def test_slow_ways_are_dropped(seconds, tried):
    """A hopeless one at its first timing, a slow one at its second."""
    ways = Trial([(0, None), (1, None)])
    assert play(ways, [1.0, seconds], AGAIN).count(1) == tried


def test_long_calls_try_a_slow_way_once_each_round():
    ways = Trial([(0, None), (1, None)])
    went = play(ways, [1.0, 1.9], 5 * AGAIN, trial.LONG + 1e-3)
    assert went[:6] == [0, 0, 1, 0, 0, 0] and went.count(1) == 3 and ways.best == 0


def test_a_long_slow_call_does_not_condemn_the_best_way():
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.4], AGAIN, trial.LONG + 1e-3)
    while ways.settled:
        play(ways, [1.0, 1.4], 1, trial.LONG + 1e-3)
    ways.note(ways.choose(), 2.4, trial.LONG + 1e-3)           # 1.7 times the other way's time
    play(ways, [1.0, 1.4], 2 * AGAIN, trial.LONG + 1e-3)
    assert ways.best == 0


def test_one_thread_in_long_calls_is_soon_compared_again():
    """Two cores that are one for a while, as a virtual machine's may be, make one thread the best for so long."""
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.9], 20 * AGAIN, 0.01)
    while ways.settled:
        play(ways, [1.0, 1.9], 1, 0.01)
    play(ways, [2.0, 1.9], EACH * TIMINGS, 0.01)
    assert ways.best == 1
    went = play(ways, [1.0, 1.9], AT_MOST, 0.01)
    assert ways.best == 0 and went.count(1) <= trial.ALONE / 0.01 + 3 * TIMINGS


def test_one_slow_call_condemns_no_way():
    ways, turn = Trial([(0, None), (1, None)]), 1
    for _ in range(30):
        way = ways.choose()
        turn += way == 0
        ways.note(way, 1.9 if way == 0 and turn == 3 else [1.0, 1.2][way])     # the first timing of way 0
    assert ways.best == 0


def test_ways_are_timed_again_and_the_best_may_change():
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.4], EACH * (TIMINGS + 1))
    assert ways.best == 0
    went = play(ways, [2.0, 1.4], AGAIN + EACH * TIMINGS)
    assert went[AGAIN:] == [0, 0, 1] * TIMINGS and ways.best == 1


def test_a_change_of_mind_is_looked_at_again_soon():
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.4], 20 * AGAIN)
    while ways.settled:                                        # until a round begins, in a bad moment of way 0
        play(ways, [1.0, 1.4], 1)
    play(ways, [2.0, 1.4], EACH * TIMINGS)
    assert ways.best == 1
    play(ways, [1.0, 1.4], AGAIN + EACH * TIMINGS)
    assert ways.best == 0


def test_ways_are_timed_again_less_and_less_often():
    ways = Trial([(0, None), (1, None)])
    went = play(ways, [1.0, 1.4], 6000)
    times = [i for i, way in enumerate(went) if way == 1][::TIMINGS][2:]       # the first timing of each round
    gaps = [b - a for a, b in zip(times, times[1:])]
    assert gaps[0] < 3 * AGAIN and max(gaps) < AT_MOST + 5 * TIMINGS and gaps == sorted(gaps)


def test_short_calls_are_timed_again_after_some_time_only():
    """A round takes longer than many of them."""
    ways = Trial([(0, None), (1, None)])
    went = play(ways, [1.0, 1.4], 40 * AT_MOST, trial.REST / (10 * AT_MOST))
    assert went[-8 * AT_MOST:].count(1) <= 2 * TIMINGS + 1


def test_calls_that_come_late_are_looked_into_at_once():
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.4], 20 * AGAIN)
    while not ways.settled:
        play(ways, [1.0, 1.4], 1)
    went = play(ways, [9.0, 1.4], LATES + 2 * TIMINGS + 2)     # another program has come
    assert went[-1] == 1 and 1 in went[:LATES + 3]
    assert play(ways, [9.0, 1.4], AGAIN // 2) == [1] * (AGAIN // 2)            # what is usual now is not late


def test_one_late_call_is_anybodys_fault():
    ways = Trial([(0, None), (1, None)])
    play(ways, [1.0, 1.4], EACH * (TIMINGS + 1))
    for _ in range(AGAIN // 2 - 1):
        assert play(ways, [9.0, 1.4], 1) == play(ways, [1.0, 1.4], 1) == [0]


@pytest.fixture
def threads(monkeypatch):
    monkeypatch.setenv("RNNC_TEST_THREADS", "1")               # lifts the cap of one core


def draw(frames, streams):
    random = np.random.default_rng(3)
    return {"x": random.normal(size=(frames, streams, 3)).astype(np.float32),
            "y": random.normal(size=(frames, streams, 24)).astype(np.float32)}


def test_every_way_gives_the_same_bits(threads):
    net, alone = rnnc.compile(TEXT, threads=2, seed=1), rnnc.compile(TEXT, threads=1, seed=1)
    data = draw(20, 4)
    want = alone.backprop(**data), alone.gradient.tobytes(), alone.run(x=data["x"])["h"].tobytes()
    for _ in range(40):
        assert (net.backprop(**data), net.gradient.tobytes(), net.run(x=data["x"])["h"].tobytes()) == want
    tried = net._trials["backprop", (20).bit_length(), 4, 2]
    while not tried.settled:
        net.backprop(**data)
    assert len(tried.ways) >= 2 and all(tried.taken)


def test_calls_of_several_threads_share_a_trial():
    ways, faults = Trial([(0, None), (1, None)]), []

    def calls():
        try:
            play(ways, [1.0, 1.2], 5000)
        except Exception as fault:             # a list that another thread has emptied
            faults.append(fault)
    running = [Thread(target=calls) for _ in range(8)]
    [thread.start() for thread in running]
    [thread.join() for thread in running]
    assert not faults and ways.best == 0


def test_one_thread_has_one_way():
    net = rnnc.compile(TEXT, threads=1)
    net.backprop(**draw(20, 4))
    assert not any(net._trials.values())


def test_the_choice_of_threads_is_among_the_ways(threads, monkeypatch):
    monkeypatch.setattr(trial, "cores", lambda: 2)
    net = rnnc.compile(TEXT)
    ways = trial.ways_of(net, "backprop", 20, 4)
    assert [n for n, _ in ways][-1] == 1 and {n for n, _ in ways[:-1]} == {0}


def test_threads_asked_for_are_the_most(monkeypatch):
    monkeypatch.setattr(trial, "cores", lambda: 2)
    monkeypatch.setattr(trial, "capped", lambda count, silent: count)
    monkeypatch.setattr("rnnc.runtime.net.capped", lambda count, silent: count)
    ways = trial.ways_of(rnnc.compile(TEXT, threads=2), "backprop", 20, 4)
    assert [n for n, _ in ways][-1] == 1 and {n for n, _ in ways[:-1]} == {2}


@pytest.mark.parametrize("training", [False, True])
def test_late_calls_of_the_short_way_are_seen(threads, monkeypatch, training):
    """Calls like the last one take a way of their own through Python."""
    monkeypatch.setattr("rnnc.runtime.again.WATCHED", 0.0)
    net, data = rnnc.compile(TEXT, threads=2), draw(20, 4)
    call = (lambda: net.backprop(**data)) if training else (lambda: net.run(x=data["x"]))
    for _ in range(40):
        call()
    tried = net._trials["backprop" if training else "run", (20).bit_length(), 4, 2]
    while not tried.settled:
        call()
    call()
    tried.usual = 1e-9                         # all come late now
    for _ in range(LATES + 1):
        call()
    assert not tried.settled


def test_lengths_that_differ_share_a_trial(threads):
    net = rnnc.compile(TEXT, threads=2)
    run = lambda frames: net.run(x=draw(frames, 1)["x"])
    for frames in range(33, 33 + AGAIN - 1):
        run(frames)
    shared, = net._trials.values()
    while not shared.settled:                  # a round takes longer where calls come late
        run(33)
    assert len(net._trials) == 1


def test_a_state_is_remembered_once_the_way_is_known(threads):
    net = rnnc.compile(TEXT.replace("reversed(rnn(n))(x)", "rnn(n)(x)"), threads=2)
    state, x = net.state(2), draw(8, 2)["x"]
    want, calls = None, 0
    while calls < 20 or "run" not in state._like and calls < 500:
        state.reset()
        got = net.run(state=state, x=x)["h"].tobytes()
        want, calls = want or got, calls + 1
        assert got == want
    assert state._like["run"].threads == 2
    net.threads = 1
    state.reset()
    assert net.run(state=state, x=x)["h"].tobytes() == want and state._like["run"].threads == 1
