"""Text -> syntax tree: the way into the front.

A good text is read once. For a faulty one `recover` finds every fault it can, then what is left is checked like any
other, but for definitions that have lost a statement: their other troubles may be the loss.
"""

from functools import lru_cache

import lark

from rnnc.errors import Faults, Source, Span
from rnnc.front import tree
from rnnc.front.grow import grow
from rnnc.front.reader import reader
from rnnc.front.recover import recover
from rnnc.front.rules import check


@lru_cache(maxsize=8)
def parse(source: Source) -> tree.File:
    """Raises CompileError with every fault found, in the order of the text. A text that was just read is not read
    again: commands ask for its models first, then for one of them."""
    faults = Faults()
    try:
        read = reader().parse(source.text)
    except lark.UnexpectedInput:
        read = recover(source, faults)
    if read is not None:
        damaged = [fault.span for fault in faults.found]
        file = grow(read, source, faults)
        whole = [item for item in file.items if not any(_holds(item.span, place) for place in damaged)]
        check(tree.File(tuple(whole), span=file.span), faults)
    faults.stop()
    return file


def _holds(outer: Span, inner: Span) -> bool:
    return outer.line <= inner.line <= outer.end_line
