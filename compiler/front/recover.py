"""A text that does not parse -> its faults, and the tree of what can be read without the faulty statements.

One fault at a time: explain it, take the statement it is in out of the list of words, and read the rest again. What is
reported after the first fault does not depend on it.
"""

import lark

from rnnc.errors import Faults, Source
from rnnc.front.explain import Refusal, explain
from rnnc.front.reader import reader
from rnnc.front.words import (
    DEFINITIONS,
    MOST_FAULTS,
    STATEMENTS,
    Words,
    begins_equation,
    first_on_line,
    open_brackets,
    read,
)


def recover(source: Source, faults: Faults) -> lark.Tree | None:
    """What is left to read, or None if that is nothing."""
    words = read(source)
    while len(faults.found) < MOST_FAULTS:
        tree, at, wanted = _read(words)
        if tree is not None:
            return tree
        refusal = explain(words, at, wanted)
        fault = refusal.fault
        faults.add(fault.code, fault.message, fault.span, fault.notes, fault.hint)
        words = _without(words, at, refusal)
    return None


def _read(words: Words) -> tuple[lark.Tree | None, int, set[str]]:
    """The tree; or the place of the first word that does not fit, and what could stand there instead."""
    reading = reader().parse_interactive("")
    for at, word in enumerate(words.list):
        try:
            tree = reading.feed_eof() if word.type == "$END" else reading.feed_token(word)
        except lark.UnexpectedToken:
            again = reader().parse_interactive("")     # a refused word leaves the reading in disorder
            for good in words.list[:at]:
                again.feed_token(good)
            return None, at, again.accepts()
    return tree, 0, set()


def _without(words: Words, at: int, refusal: Refusal) -> Words:
    if refusal.closes:                         # a missing `}`: put in, nothing is lost
        before = words.list[at - 1]
        brace = lark.Token("RBRACE", "}", before.end_pos, before.end_line, before.end_column,
                           before.end_line, before.end_column, before.end_pos)
        return Words(words.source, (*words.list[:at], brace, *words.list[at:]), words.faults)
    begin, inside = refusal.begin, any(words.list[o].type == "LBRACE" for o in open_brackets(words, at))
    if begin is None:
        begin = _statement_at(words, at) if inside else _definition_at(words, at)
    resume = at if refusal.resume is None else refusal.resume
    if not inside:
        end = _next_definition(words, begin, resume)
    elif words.list[begin].type in ("MODEL", "CELL"):
        end = _after_body(words, begin)
    else:
        end = _next_statement(words, begin, resume)
    return Words(words.source, (*words.list[:begin], *words.list[max(end, begin + 1):]), words.faults)


def _statement_at(words: Words, at: int) -> int:
    """Where the statement that this word interrupts begins."""
    for start in range(at - 1, -1, -1):
        word = words.list[start].type
        if word in ("LBRACE", "RBRACE"):
            return start + 1
        if word in STATEMENTS:
            return start
        if begins_equation(words, start) and words.list[open_brackets(words, start)[-1]].type == "LBRACE":
            return start
    return at


def _next_statement(words: Words, begin: int, at: int) -> int:
    """The first place that can begin a statement: by its word, as an equation, or as a line indented no further."""
    depth = braces = 0
    types = [word.type for word in words.list]
    balanced = types.count("LBRACE") == types.count("RBRACE")      # then `for ... { y = x }` ends with its own brace
    for place in range(begin, len(words.list) - 1):
        word = words.list[place]
        if place >= at and place > begin and not (balanced and braces):
            if word.type in STATEMENTS | DEFINITIONS | {"RBRACE"} or depth <= 0 and begins_equation(words, place):
                return place
            if first_on_line(words, place) and word.column <= words.list[begin].column:
                return place
        depth += word.type in ("LPAR", "LSQB", "LBRACE")
        depth -= word.type in ("RPAR", "RSQB", "RBRACE")
        braces += (word.type == "LBRACE") - (word.type == "RBRACE")
    return len(words.list) - 1


def _after_body(words: Words, begin: int) -> int:
    depth = 0
    for place in range(begin, len(words.list) - 1):
        depth += words.list[place].type == "LBRACE"
        if words.list[place].type == "RBRACE":
            depth -= 1
            if depth <= 0:
                return place + 1
    return len(words.list) - 1


def _definition_at(words: Words, at: int) -> int:
    for start in range(at - 1, -1, -1):
        word = words.list[start].type
        if word == "RBRACE":
            return start + 1
        if word in DEFINITIONS | {"CONST"}:
            return start
    return 0


def _next_definition(words: Words, begin: int, at: int) -> int:
    """Past the body that follows, if one does; else the next word or line that can begin a definition."""
    depth = 0
    for place in range(begin, len(words.list) - 1):
        word = words.list[place]
        if place >= at and place > begin:
            new_line = first_on_line(words, place) and word.column <= words.list[begin].column
            if word.type in DEFINITIONS or depth <= 0 and (word.type == "CONST" or new_line):
                return place
        depth += word.type == "LBRACE"
        if word.type == "RBRACE":
            depth -= 1
            if depth == 0 and place >= at:
                return place + 1
    return len(words.list) - 1
