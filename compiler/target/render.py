"""The jinja environment: views in, C text out. A name that a template does not know is an error."""

import textwrap
from functools import lru_cache
from importlib.resources import files

from jinja2 import Environment, FileSystemLoader, StrictUndefined


@lru_cache(maxsize=1)
def environment() -> Environment:
    made = Environment(loader=FileSystemLoader(str(files("rnnc.templates"))), undefined=StrictUndefined,
                       trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True)
    made.filters["wrapped"] = wrapped
    return made


def wrapped(items: list[str], indent: int = 4, width: int = 96) -> str:
    """A list of C, with line ends between its items only."""
    whole = ", ".join(item.replace(" ", "\0") for item in items)
    return textwrap.fill(whole, width, subsequent_indent=" " * indent, break_long_words=False,
                         break_on_hyphens=False).replace("\0", " ")


def render(template: str, **views) -> str:
    return environment().get_template(template).render(**views)
