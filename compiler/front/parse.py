"""Text -> syntax tree. The way in to the front."""

import lark

from rnnc.errors import Faults, Source
from rnnc.front import tree
from rnnc.front.grow import grow, span_of
from rnnc.front.reader import reader


def parse(source: Source) -> tree.File:
    faults = Faults()
    try:
        parsed = reader().parse(source.text)
    except lark.UnexpectedToken as fault:
        faults.add("E0102", f"`{fault.token}` cannot stand here", span_of(fault.token, source))
        faults.stop()
    file = grow(parsed, source, faults)
    faults.stop()
    return file
