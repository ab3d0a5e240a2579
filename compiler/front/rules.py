"""What the grammar lets through and the language does not: every statement in its place, `t` left alone.

Works on the tree alone, without knowing what any name means.
"""

from collections.abc import Iterator
from dataclasses import fields

from rnnc.errors import Faults, Note
from rnnc.front import tree

DEEPEST = 150                                  # levels of one expression: passes after this one may recurse
MODEL_ONLY = {tree.Input: "input", tree.Output: "output", tree.Loss: "loss", tree.Metric: "metric"}
KINDS = {"real", "class", "labels", "flag"}


def check(file: tree.File, faults: Faults) -> None:
    for item in file.items:
        if _too_deep(item, faults):
            continue
        if isinstance(item, tree.Model):
            _check_model(item, faults)
        elif isinstance(item, tree.Cell):
            _check_cell(item, faults)
        for node in _nodes(item):
            _check_node(node, faults)


def _check_model(model: tree.Model, faults: Faults) -> None:
    for statement in model.body:
        if isinstance(statement, tree.Return):
            faults.add("E0113", "`return` stands only in a cell", statement.span, hint="a model has `output`s")


def _check_cell(cell: tree.Cell, faults: Faults) -> None:
    for statement in cell.body:
        word = MODEL_ONLY.get(type(statement))
        if word == "input" and statement.target:
            word = "target"
        if word:
            hint = f"a cell's signals are its second arguments: `cell {cell.name.id}(...)({statement.names[0].id})`" \
                if word in ("input", "target") else None
            faults.add("E0113", f"`{word}` stands only in a model", statement.span, hint=hint)
    returns = [statement for statement in cell.body if isinstance(statement, tree.Return)]
    if not returns:
        faults.add("E0115", f"the cell `{cell.name.id}` returns nothing", cell.name.span,
                   hint="its last line says what it is: `return h`")
    for statement in returns[1:]:
        faults.add("E0114", "a cell returns once", statement.span, [Note(returns[0].span, "here it has returned")])
    if len(returns) == 1 and cell.body[-1] is not returns[0]:
        faults.add("E0114", "`return` is not the last statement of its cell", returns[0].span)
    for formal in cell.signals:
        if formal.default is not None:
            faults.add("E0118", f"the signal `{formal.name.id}` cannot have a default", formal.span,
                       hint="sizes have defaults: they stand in the first list")


def _check_node(node, faults: Faults) -> None:
    match node:
        case tree.OutputItem(name=tree.Ident(id="t"), value=None):
            faults.add("E0116", "`t` is the time, and an output has a name of its own", node.span,
                       hint="write `output y = t`, with a name in place of y")
        case tree.Ident(id="t"):
            faults.add("E0116", "`t` is the time and cannot be given another meaning", node.span)
        case tree.Repeat(index="t"):
            faults.add("E0116", "`t` is the time and cannot be given another meaning", node.span)
        case tree.Kind():
            _check_kind(node, faults)
        case tree.Call():
            _check_arguments(node, faults)
            _check_texts(node, faults)
        case tree.Model() | tree.Cell():
            _check_order(node.sizes, faults)
        case tree.Function():
            _check_order(node.arguments, faults)
        case tree.Attribute(base=tree.Number()):
            faults.add("E0107", "a number has no parts", node.span, hint="a fraction is written `0.5`")
        case tree.Text():
            faults.add("E0122", "a string is no value; it stands only after `use`", node.span)


def _check_kind(kind: tree.Kind, faults: Faults) -> None:
    sized = kind.kind in ("class", "labels")
    if kind.kind not in KINDS:
        faults.add("E0117", f"`{kind.kind}` is no kind of input", kind.span,
                   hint="an input is a vector `[n]`, `class(n)`, `flag` or `labels(n)`")
    elif sized and not kind.dims:
        faults.add("E0117", f"`{kind.kind}` needs the number of its labels", kind.span, hint=f"write `{kind.kind}(n)`")
    elif kind.kind == "flag" and kind.dims:
        faults.add("E0117", "`flag` has no size: it is 0 or 1", kind.span)


def _check_arguments(call: tree.Call, faults: Faults) -> None:
    seen: dict[str, tree.Argument] = {}
    for argument in call.arguments:
        if argument.name is None and seen:
            last = list(seen.values())[-1]
            faults.add("E0118", "an argument without a name cannot follow one with a name", argument.span,
                       [Note(last.span, f"`{last.name} = ` names an argument; to compare write `==`")])
            return
        if argument.name in seen:
            faults.add("E0118", f"the argument `{argument.name}` is given twice", argument.span,
                       [Note(seen[argument.name].span, "here it was given first")])
        if argument.name is not None:
            seen[argument.name] = argument


def _check_texts(call: tree.Call, faults: Faults) -> None:
    """`einsum("ij,j->i", W, x)`, `dropout(x, 0.5, per = "sequence")`"""
    for argument in call.arguments:
        if isinstance(argument.value, tree.Text):
            hint = f'a word stands without quotes: {argument.name} = {argument.value.value}' if argument.name else None
            if call.function == tree.Name("einsum", span=call.function.span):
                hint = "a matrix product is W @ x, a sum over an index sum(i in 0..n : ...)"
            faults.add("E0122", "a string is no value; it stands only after `use`", argument.value.span, hint=hint)


def _check_order(formals: tuple[tree.Formal, ...], faults: Faults) -> None:
    for before, after in zip(formals, formals[1:]):
        if before.default is not None and after.default is None:
            faults.add("E0118", f"`{after.name.id}` needs a default, for `{before.name.id}` before it has one",
                       after.span)


# ------------------------------------------------------------------------------------------------ walking the tree

def _parts(node) -> Iterator:
    """The nodes just below, in the order of the text."""
    if isinstance(node, tree.OutputItem) and node.value is None:         # its name gives no meaning, but reads one
        return
    if isinstance(node, tree.Argument) and isinstance(node.value, tree.Text):            # said of the call
        return
    for field in fields(node):
        part = getattr(node, field.name)
        for item in part if isinstance(part, tuple) else (part,):
            if type(item).__module__ == tree.__name__:
                yield item


def _nodes(root) -> Iterator:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(list(_parts(node)))


def _too_deep(item, faults: Faults) -> bool:
    waiting = [(item, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > DEEPEST:
            faults.add("E0121", f"this expression has more than {DEEPEST} levels", node.span,
                       hint="give a part of it a name: `a = ...`")
            return True
        parts = tree.operands(node) if isinstance(node, tree.Binary) else _parts(node)
        waiting += ((part, depth + 1) for part in parts)
    return False
