"""What an imported network is to learn from now on: a target and a loss on its first output."""

import re

from rnnc.cli.bring.draft import Draft, Said
from rnnc.cli.bring.values import LABEL, Inexpressible, Value

OF_CLASSES = ("cross_entropy", "hinge", "squared_hinge")
BEFORE = {"cross_entropy": "softmax", "binary_cross_entropy": "sigmoid"}       # what the loss has inside already


def goal(draft: Draft, value: Value, loss: str) -> tuple[list[str], set[str]]:
    """Lines for the program, and what they name."""
    if value.kind == LABEL:
        raise Inexpressible("a label cannot be learned; --loss needs an output of numbers first")
    said, makers = draft.say(value.data), draft.makers(value.data)
    per = " per sequence" if all(line.per != "frame" for line in makers) else ""
    if loss in BEFORE and len(makers) == 1 and makers[0].size == value.data.size:
        inner = re.fullmatch(rf"{BEFORE[loss]}\((\w+)\)", makers[0].text)
        said = Said(inner[1], said.number, makers[0].needs) if inner else said
    size = value.data.size
    kind = f" : class({size})" if loss in OF_CLASSES else "" if said.number else f" : [{size}]"
    target = draft.name("wanted")
    return [f"target {target}{kind}{per}", f"loss {loss}({said.text}, {target})"], set(said.needs)
