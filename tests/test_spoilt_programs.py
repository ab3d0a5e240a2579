"""Programs spoilt at random: whatever is written, a program becomes a sound graph or is refused in the user's words."""

import random
from dataclasses import fields, replace
from pathlib import Path

import pytest

from rnnc.errors import CompileError, Source
from rnnc.front import tree
from rnnc.front.parse import parse
from rnnc.front.show import show
from rnnc.graph.check import check
from rnnc.graph.elaborate import elaborate

PROGRAMS = sorted((Path(__file__).parent / "programs" / "good").glob("*.rnn"))
FUNCTIONS = ("tanh sum transpose dim reversed dense softmax argmax one_hot zeros norm inv floor concat window take mse "
             "stop_gradient cross_entropy reshape stack embed lstm expm eye spike quantize straight_through").split()
OPERATORS = ["+", "-", "*", "/", "//", "^", "@", "<", "==", "and"]


def parts(node):
    for field in fields(node):
        value = getattr(node, field.name)
        for part in value if isinstance(value, tuple) else (value,):
            if type(part).__module__ == tree.__name__:
                yield part


def expressions(node):
    if isinstance(node, tree.Expr) and not isinstance(node, tree.Range):
        yield node
    for part in parts(node):
        yield from expressions(part)


def exchange(node, old, new):
    """The tree with one node in place of another."""
    if node is old:
        return new
    changed = {}
    for field in fields(node):
        value = getattr(node, field.name)
        if isinstance(value, tuple):
            changed[field.name] = tuple(exchange(p, old, new) if type(p).__module__ == tree.__name__ else p
                                        for p in value)
        elif type(value).__module__ == tree.__name__:
            changed[field.name] = exchange(value, old, new)
    return replace(node, **changed)


def spoil(file: tree.File, rng: random.Random) -> tree.File:
    """One expression becomes another one, or is read late, called, computed with."""
    every = list(expressions(file))
    old, other = rng.choice(every), rng.choice(every)
    at = {"span": old.span}
    number, time = tree.Number(rng.choice([0, 1, 2, 3, 0.5]), **at), tree.Name("t", **at)
    late = rng.choice([tree.Binary(rng.choice("+-"), time, number, **at), number, time])
    argument = lambda value: tree.Argument(None, value, **at)
    new = rng.choice([
        other, other, number, tree.Index(old, (late,), **at), tree.Binary(rng.choice(OPERATORS), old, other, **at),
        tree.Call(tree.Name(rng.choice(FUNCTIONS), **at), (argument(old),), **at),
        tree.Call(tree.Name(rng.choice(FUNCTIONS), **at), (argument(old), argument(other)), **at),
        tree.Attribute(old, rng.choice(["c", "h", "W", "0"]), **at)])
    return exchange(file, old, new)


@pytest.mark.parametrize("path", PROGRAMS, ids=lambda p: p.stem)
def test_spoilt_programs_are_refused_or_sound(path):
    file = parse(Source(path.name, path.read_text(encoding="utf-8")))
    for seed in range(25):
        rng = random.Random(seed)
        spoilt = file
        for _ in range(rng.randrange(1, 4)):
            spoilt = spoil(spoilt, rng)
        try:
            check(elaborate(parse(Source("spoilt.rnn", show(spoilt)))))
        except CompileError as error:
            assert all(fault.render() for fault in error.diagnostics)
