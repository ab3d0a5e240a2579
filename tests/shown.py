"""Small programs whose stages (test_goldens.py) and plans in words (test_explain.py) golden files hold still."""

from importlib.resources import files

FOURTH = """# A loop that reaches back four frames: four of them go at once.
model fourth(n = 8) {
    input  x : [3]
    target y : [n]
    param W : [n, 3]
    param U : [n, n]

    h = tanh(W @ x + U @ h[t-4]) + 0.1 * h[t-1]

    output h
    loss   mse(h, y)
}
"""
SRU = """# All products are outside the loop.
model simple(n = 8) {
    input  x : [n]
    target y : [n]
    h = sru(n)(x)
    output h
    loss   mse(h, y)
}
"""
CLOCKS = """# Two clocks: a number of the frame, and an input.
model clocks(n = 8) {
    input  x : [3]
    input  moves : flag
    target y : [n]
    param W : [n, 3]
    param U, V : [n, n]

    s = where(mod(t, 4) == 0, tanh(W @ x + U @ s[t-1]), s[t-1])
    h = where(moves, tanh(s + V @ h[t-1]), 0.9 * h[t-1])

    output h
    loss   mse(h, y)
}
"""


def sample(name: str) -> str:
    return (files("rnnc.samples") / f"{name}.rnn").read_text(encoding="utf-8")


PROGRAMS = {
    "small_charlm": (sample("charlm"), {"vocab": 9, "hidden": 8}),
    "fourth": (FOURTH, {}),
    "sru": (SRU, {}),
    "clocks": (CLOCKS, {}),
}
