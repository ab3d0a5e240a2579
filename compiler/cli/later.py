"""Commands that are announced and not yet there: they say so, instead of being an unknown word."""

from rnnc.cli.console import Usage

COMING = {
    "import": "brings weights and standard networks from other frameworks",
}


def add(commands) -> None:
    for name, purpose in COMING.items():
        commands.add_parser(name, help=f"(in the next version) {purpose}", add_help=False)


def refuse(arguments: list[str]) -> None:
    """Before parsing: whatever flags follow, the answer is the same."""
    name = arguments[0] if arguments else None
    if name in COMING:
        raise Usage(f"`rnnc {name}` comes with the next version: it {COMING[name]}",
                    hint="`rnnc --help` lists what is there today")
