"""Programs of the language beside what they mean, written by hand in NumPy for one sequence: test_by_hand.py compares.

Nothing is shared with the compiler, not even its elaboration, as the oracle does. A reference names the inputs that it
wants, as arrays [T, …] (or one value for an input per sequence), and `w`, the parameters by path. This file holds
signals in time; by_hand_layers.py follows with cells, layers and shapes.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from programs_in_text import ago


class ByHand(NamedTuple):
    text: str
    reference: Callable[..., dict]
    causal: bool        # nothing looks ahead or over the whole sequence: a call may be cut anywhere


def entering(programs: dict[str, ByHand]):
    """A decorator that enters a program there, with the function that says what its outputs are."""
    def means(text: str, causal: bool = True):
        def enter(reference):
            programs[reference.__name__] = ByHand(text, reference, causal)
            return reference
        return enter
    return means


PROGRAMS: dict[str, ByHand] = {}
means = entering(PROGRAMS)


def loop(step, x, *states):
    """The values of h, …, of step(frame, h, …) -> (h, …) over the frames, each as an array [T, …]."""
    found = []
    for frame in x:
        states = step(frame, *states)
        found.append(states)
    return tuple(np.array(v) for v in zip(*found, strict=True))


def rnn(w, place: str, x):
    h, = loop(lambda v, h: (np.tanh(w[f"{place}.W"] @ v + w[f"{place}.U"] @ h + w[f"{place}.b"]),),
              x, np.zeros(len(w[f"{place}.b"])))
    return h


def hot(labels, classes: int):
    """One-hot rows; a label below 0 is none."""
    return (np.asarray(labels)[:, None] == np.arange(classes)) * 1.0


def permuted(v, order, none=0.0):
    """Blocks of len(order) frames, each in the new order; places that have no frame hold `none`."""
    found = np.full_like(v, none)
    for t in range(len(v)):
        source = t // len(order) * len(order) + order[t % len(order)]
        if source < len(v):
            found[t] = v[source]
    return found


@means("""model m {
    input x : [2]
    param A : [2, 2]
    Q = 0.5 * Q[t-1] @ (eye(2) + 0.1 * A) + outer(x, x[t-1])
    init Q = eye(2) + A
    R = transpose(Q) @ Q[t-2]
    output Q, R, s = Q @ x, row = Q[0], column = Q[:, 1]
}""")
def a_matrix_as_state(x, w):
    first = np.eye(2) + w["A"]
    Q, = loop(lambda frame, Q: (0.5 * Q @ (np.eye(2) + 0.1 * w["A"]) + np.outer(*frame),),
              list(zip(x, ago(x, 1), strict=True)), first)
    R = np.array([Q[t].T @ (Q[t - 2] if t > 1 else first) for t in range(len(x))])
    return {"Q": Q, "R": R, "s": np.einsum("tij,tj->ti", Q, x), "row": Q[:, 0], "column": Q[:, :, 1]}


@means("""model m {
    input x : [2]
    output a = x[t-2][t+3], windowed = window(x[t+1], 3)[t-1], part = window(x, 2)[t+1][1:3]
}""", causal=False)
def delays_and_looks_ahead_add_up(x, w):
    return {"a": ago(x, -1), "windowed": np.concatenate([x, ago(x, 1), ago(x, 2)], 1),
            "part": np.concatenate([ago(x, -1)[:, 1:], x[:, :1]], 1)}


@means("""model m {
    input x : [2]
    input u
    v = 0.5 * v[t-1] + x
    init v[t-3] = 4
    w = v[t-3] + w[t-2]
    init w = 1
    init w[t-2] = 2
    s = u + 0.5 * s[t-5]
    most = max(s, most[t-1])
    init most = -100
    output v, w, s, most, y = v[t-3], z = w[t-1], before = most[t-2]
}""")
def every_depth_has_its_value_before_the_start(x, u, w):
    at = lambda found, t, first, deep=None, depth=None: found[t] if t >= 0 else deep if t == depth else first
    v, second, s, most = [], [], [], []
    late = lambda t: at(v, t, np.zeros(2), np.full(2, 4.0), -3)
    w2 = lambda t: at(second, t, np.ones(2), np.full(2, 2.0), -2)
    for t in range(len(x)):
        v.append(0.5 * at(v, t - 1, 0) + x[t])
        second.append(late(t - 3) + w2(t - 2))
        s.append(u[t] + 0.5 * at(s, t - 5, 0))
        most.append(max(s[t], at(most, t - 1, -100)))
    frames = range(len(x))
    return {"v": v, "w": second, "s": s, "most": most, "y": [late(t - 3) for t in frames],
            "z": [w2(t - 1) for t in frames], "before": [at(most, t - 2, -100) for t in frames]}


@means("""model m {
    input x : [2]
    input c : class(3)
    input f : flag
    since = where(c == 1, 0, since[t-1] + 1)
    latest = where(f, t, latest[t-1])
    init latest = -5
    h = where(f and not f[t-1], x, 0.5 * h[t-1])
    best = argmax(x)
    count = count[t-1] + one_hot(best)
    output since, latest, h, best, count, same = c == c[t-1], other = c[t-1] != c, taken = take(x, c),
        both = one_hot(c[t-2]) + one_hot(c)
}""")
def labels_and_flags_steer_states(x, c, f, w):
    def step(frame, t, since, latest, h, count):
        x, c, f, before = frame
        return (t + 1, 0 if c == 1 else since + 1, t if f else latest, x if f and not before else 0.5 * h,
                count + np.eye(2)[x.argmax()])
    frames = list(zip(x, c, f, ago(f, 1), strict=True))
    _, since, latest, h, count = loop(step, frames, 0, 0, -5, np.zeros(2), np.zeros(2))
    before = ago(c, 1, -1)
    taken = np.where(c < 2, np.take_along_axis(x, np.minimum(c, 1)[:, None], 1)[:, 0], 0)
    return {"since": since, "latest": latest, "h": h, "best": x.argmax(1), "count": count, "same": c == before,
            "other": c != before, "taken": taken, "both": hot(ago(c, 2, -1), 3) + hot(c, 3)}


@means("""model m {
    input x : [3]
    h = where(mod(t, 3) == 0, tanh(x + h[t-1]), h[t-1])
    g = where(mod(t + 1, 2) == 0 and t > 1, x, g[t-1] + 1)
    e = where(t == 0, x, e[t-1] * 0.5)
    whole = t * t - mod(t, 4) + max(t, 2) + min(t, 5) + abs(t - 3) + sign(t - 2)
    output h, g, e, whole, half = t / 2, square = t^2, floored = floor(t / 2), clipped = clip(t, 1, 3), minus = -t,
        early = t < 2 or t >= 4
}""")
def clocks_count_from_the_start(x, w):
    t = np.arange(len(x))

    def step(frame, t, h, g, e):
        return (t + 1, np.tanh(frame + h) if t % 3 == 0 else h, frame if (t + 1) % 2 == 0 and t > 1 else g + 1,
                frame if t == 0 else 0.5 * e)
    _, h, g, e = loop(step, x, 0, np.zeros(3), np.zeros(3), np.zeros(3))
    whole = t * t - t % 4 + np.maximum(t, 2) + np.minimum(t, 5) + abs(t - 3) + np.sign(t - 2)
    return {"h": h, "g": g, "e": e, "whole": whole, "half": t / 2, "square": t ** 2, "floored": t // 2,
            "clipped": np.clip(t, 1, 3), "minus": -t, "early": (t < 2) | (t >= 4)}


@means("""
cell final(n)(x) { h = rnn(n)(x)  return last(h) }
model m {
    input x : [2]
    input a : [2] per sequence
    input y : class(3) per sequence
    h = rnn(3)(x)
    total = sum_over(t, x)
    centred = x - mean_over(t, x)
    share_of = softmax_over(t, sum(x))
    attended = sum_over(t, share_of * h)
    d = tanh(centred + d[t-1] + a)
    init d = total
    back = reversed(final(3))(x)
    output end = last(h), total, centred, attended, d, most = max_over(t, d), back, before = share_of[t-1],
        joined = concat(last(h), attended, one_hot(y)), given = x + a, still = total[t-1],
        length = sum_over(t, 1 + 0 * x[0])
}""", causal=False)
def values_of_a_whole_sequence(x, a, y, w):
    h, total, centred = rnn(w, "h", x), x.sum(0), x - x.mean(0)
    share = np.exp(x.sum(1)) / np.exp(x.sum(1)).sum()
    d, = loop(lambda v, d: (np.tanh(v + d + a),), centred, total)
    attended = share @ h
    return {"end": h[-1], "total": total, "centred": centred, "attended": attended, "d": d, "most": d.max(0),
            "back": rnn(w, "back.h", x[::-1])[-1], "before": ago(share, 1),
            "joined": np.concatenate([h[-1], attended, np.eye(3)[y]]), "given": x + a, "still": total,
            "length": len(x)}


@means("""model m {
    input x : [2]
    input c : class(4)
    const p[i : 3] = mod(i + 1, 3)
    a = permute_time(x, p)
    h = permute_time(rnn(3)(a), [2, 0, 1])
    output a, h, labels = one_hot(permute_time(c, [1, 0])), late = permute_time(x[t-1], p), early = a[t+1],
        matrices = permute_time(outer(x, x), [0, 3, 1, 2]), clock = permute_time(t, [1, 0])
}""", causal=False)
def frames_in_a_new_order(x, c, w):
    turn = [1, 2, 0]
    a = permuted(x, turn)
    return {"a": a, "h": permuted(rnn(w, "h.rnn", a), [2, 0, 1]), "labels": hot(permuted(c, [1, 0], -1), 4),
            "late": permuted(ago(x, 1), turn), "early": ago(a, -1),
            "matrices": permuted(np.einsum("ti,tj->tij", x, x), [0, 3, 1, 2]),
            "clock": permuted(np.arange(len(x)), [1, 0])}


@means("""model m {
    input x : [2]
    input g : flag
    input q : flag per sequence
    input k : class(3) per sequence
    input S : [2, 2] per sequence
    input z per sequence
    h = where(q, S @ x, h[t-1] + z)
    init h = S[0]
    A = S @ A[t-1] * 0.5 + outer(x, x)
    init A = S
    held = where(g, z, held[t-1])
    init held = z * 2
    output h, A, held, turned = where(k == 1, x, -x), hot = one_hot(k), S, z, second = k == 2
}""")
def values_given_per_sequence(x, g, q, k, S, z, w):
    h, A, held = loop(lambda frame, h, A, held: (S @ frame[0] if q else h + z,
                                                 S @ A * 0.5 + np.outer(frame[0], frame[0]),
                                                 z if frame[1] else held),
                      list(zip(x, g, strict=True)), S[0], S, 2 * z)
    return {"h": h, "A": A, "held": held, "turned": x if k == 1 else -x, "hot": np.eye(3)[k], "S": S, "z": z,
            "second": k == 2}


@means("""model m {
    input x : [2]
    input S : [2, 2] per sequence
    d = d[t+1] * 0.5 + x
    init d = transpose(S) @ [1, 2]
    init d[t+1] = S[1]
    output d, ahead = d[t+2]
}""", causal=False)
def a_loop_backwards_begins_after_the_end(x, S, w):
    d, = loop(lambda v, d: (0.5 * d + v,), x[::-1], S[1])
    beyond = np.array([*d[::-1], S[1], S.T @ [1, 2]])
    return {"d": d[::-1], "ahead": beyond[2:]}
