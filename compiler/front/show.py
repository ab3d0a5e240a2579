"""Syntax tree -> its one text: parse(show(tree)) == tree. Brackets appear where the grammar needs them, nowhere else.

Comments are not in the tree and so are lost. Columns of `=` and `:` are not aligned.
"""

from rnnc.front import tree

# How tightly an operator binds, loosest first, as in the grammar; what may stand unbracketed on its left and right.
TIGHT = {"or": 1, "and": 2, "not": 3, "compare": 4, "+": 5, "*": 6, "@": 7, "sign": 8, "^": 9, "value": 10}
LEVEL = {"or": "or", "and": "and", "+": "+", "-": "+", "*": "*", "/": "*", "//": "*", "@": "@", "^": "^"}


def show(file: tree.File) -> str:
    """One blank line between definitions, but none between neighbours of one line."""
    text, before = "", None
    for item in file.items:
        block = isinstance(item, tree.Model | tree.Cell)
        if before is not None:
            text += "\n" if block or before else ""
        text += show_item(item) + "\n"
        before = block
    return text


def show_item(item: tree.Use | tree.Const | tree.Model | tree.Cell | tree.Function) -> str:
    match item:
        case tree.Use(path):
            return f'use "{path}"'
        case tree.Const():
            return show_statement(item)
        case tree.Model(name, sizes, body):
            return f"model {name.id}{_formals(sizes) if sizes else ''} {_block(body)}"
        case tree.Cell(name, sizes, signals, body):
            return f"cell {name.id}{_formals(sizes)}{_formals(signals)} {_block(body)}"
        case tree.Function(name, arguments, value):
            return f"fn {name.id}{_formals(arguments)} = {show_expression(value)}"


def show_statement(statement: tree.Statement) -> str:
    match statement:
        case tree.Input(names, kind, per_sequence, target):
            word = "target" if target else "input"
            return f"{word} {_names(names)}{_kind(kind)}{' per sequence' if per_sequence else ''}"
        case tree.Param(names, dims, initialiser, sparse, frozen):
            word = "frozen" if frozen else "param"
            share = f" sparse({show_expression(sparse)})" if sparse is not None else ""
            return f"{word} {_names(names)}{_shape(dims)}{_initialiser(initialiser)}{share}"
        case tree.Const(name, indices, dims, value):
            grid = f"[{_names(indices)} : {_list(dims)}]" if indices else ""
            return f"const {name.id}{grid} = {show_expression(value)}"
        case tree.Equation(targets, value):
            return f"{_names(targets)} = {show_expression(value)}"
        case tree.Layer(name, value):
            return f"layer {name.id} = {show_expression(value)}"
        case tree.Init(name, delay, value):
            at = f"[{show_expression(delay)}]" if delay is not None else ""
            return f"init {name.id}{at} = {show_expression(value)}"
        case tree.Output(items):
            return f"output {', '.join(_output(item) for item in items)}"
        case tree.Loss(value):
            return f"loss {show_expression(value)}"
        case tree.Metric(name, value):
            return f"metric {name.id} = {show_expression(value)}"
        case tree.Return(values):
            return f"return {_list(values)}"


def show_expression(expression: tree.Expr | tree.Steps) -> str:
    return _at_least(expression, 0)


def _at_least(expression, tightness: int) -> str:
    """Bracketed unless it binds at least so tightly."""
    own, text = _expression(expression)
    return text if TIGHT[own] >= tightness else f"({text})"


def _expression(expression) -> tuple[str, str]:
    """The level of the outermost operator, and the text."""
    match expression:
        case tree.Number(value):
            return "value", repr(value)
        case tree.Name(name):
            return "value", name
        case tree.Text(value):
            return "value", f'"{value}"'
        case tree.ListOf(items):
            return "value", f"[{_list(items)}]"
        case tree.Attribute(base, part):
            return "value", f"{_at_least(base, TIGHT['value'])}.{part}"
        case tree.Index(base, items):
            return "value", f"{_at_least(base, TIGHT['value'])}[{_list(items)}]"
        case tree.Range(low, high):
            return "value", f"{_optional(low)}:{_optional(high)}"
        case tree.Steps(low, high):
            return "value", f"{show_expression(low)}..{show_expression(high)}"
        case tree.Call(function, arguments):
            return "value", f"{_at_least(function, TIGHT['value'])}({', '.join(map(_argument, arguments))})"
        case tree.Repeat(op, index, over, body):
            return "value", f"{op}({index} in {show_expression(over)} : {show_expression(body)})"
        case tree.Unary("not", operand):
            return "not", f"not {_at_least(operand, TIGHT['not'])}"
        case tree.Unary(op, operand):
            return "sign", f"{op}{_at_least(operand, TIGHT['sign'])}"
        case tree.Binary():
            return _binary(expression)


def _binary(expression: tree.Binary) -> tuple[str, str]:
    level = LEVEL.get(expression.op, "compare")
    own = TIGHT[level]
    to_left, to_right = own, own + 1           # most group to the left
    if level == "compare":
        to_left = own + 1                      # does not group at all
    if level == "@":
        to_left, to_right = own + 1, own       # groups to the right
    if level == "^":
        to_left, to_right = TIGHT["value"], TIGHT["sign"]
    around = "" if level == "^" else " "
    first, links = tree.chain(expression)
    return level, _at_least(first, to_left) + "".join(
        f"{around}{link.op}{around}{_at_least(link.right, to_right)}" for link in links)


# ----------------------------------------------------------------------------------------------------- small parts

def _block(body) -> str:
    if not body:
        return "{\n}"
    return "{\n" + "".join(f"    {show_statement(statement)}\n" for statement in body) + "}"


def _formals(formals) -> str:
    return f"({', '.join(_formal(f) for f in formals)})"


def _formal(formal: tree.Formal) -> str:
    default = f" = {show_expression(formal.default)}" if formal.default is not None else ""
    return formal.name.id + default


def _names(names) -> str:
    return ", ".join(name.id for name in names)


def _list(items) -> str:
    return ", ".join(show_expression(item) for item in items)


def _optional(expression) -> str:
    return "" if expression is None else show_expression(expression)


def _argument(argument: tree.Argument) -> str:
    value = show_expression(argument.value)
    return value if argument.name is None else f"{argument.name} = {value}"


def _shape(dims) -> str:
    return f" : [{_list(dims)}]" if dims else ""


def _kind(kind: tree.Kind) -> str:
    if kind.kind == "real":
        return _shape(kind.dims)
    return f" : {kind.kind}" + (f"({_list(kind.dims)})" if kind.dims else "")


def _initialiser(initialiser: tree.Initialiser | None) -> str:
    if initialiser is None:
        return ""
    if initialiser.name == "value":
        return f" = {_list(initialiser.arguments)}"
    arguments = f"({_list(initialiser.arguments)})" if initialiser.arguments else ""
    return f" ~ {initialiser.name}{arguments}"


def _output(item: tree.OutputItem) -> str:
    return item.name.id if item.value is None else f"{item.name.id} = {show_expression(item.value)}"
