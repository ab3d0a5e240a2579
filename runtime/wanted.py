"""What a caller may hand over, checked by name before anything is touched: numbers, paths, mappings, and the names of
the arguments themselves."""

import functools
import inspect
import math
import operator
import os
from pathlib import Path

from rnnc.errors import InputError
from rnnc.runtime.words import listed, said, shown, unknown


def is_whole(value) -> bool:
    """An integer of any make; True and False are none."""
    if isinstance(value, bool):
        return False
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def whole(name: str, value, least: int = 0) -> int:
    if not is_whole(value) or value < least:
        raise InputError(f"{name}: {said(value)}, wanted a whole number of at least {least}")
    return int(value)


class Whole:
    """An attribute that takes whole numbers from 0 to 2^63 - 1, of any make, and is a plain int."""

    def __set_name__(self, owner, name: str) -> None:
        self.name = name

    def __get__(self, owner, kind=None):
        return self if owner is None else vars(owner)[self.name]

    def __set__(self, owner, value) -> None:
        if is_whole(value) and value >= 2**63:
            raise InputError(f"{self.name}: {said(value)}; a whole number from 0, below 2^63")
        vars(owner)[self.name] = whole(self.name, value)


def number(name: str, value, least: float | None = None, above: bool = False) -> float:
    """A finite number, at least `least`, or above it."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name}: {said(value)}, wanted a number") from None
    if not math.isfinite(found) or (least is not None and (found < least or above and found == least)):
        wanted = "" if least is None else f" {'above' if above else 'of at least'} {least}"
        raise InputError(f"{name}: {said(value)}, wanted a finite number{wanted}")
    return found


def truth(name: str, value) -> bool:
    if one_of(value, (True, False)):
        return bool(value)
    raise InputError(f"{name}: {said(value)}, wanted True or False")


def one_of(value, choices: tuple) -> bool:
    """Whether a plain value is one of these; an array, which equals in many places or none, is not."""
    try:
        return bool(value in choices)
    except (TypeError, ValueError):
        return False


def path(name: str, value) -> Path:
    """A place in the file system; nothing is looked for there."""
    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes) or "\0" in os.fspath(value):
        raise InputError(f"{name}: {said(value)}, wanted a path")
    if not os.fspath(value):
        raise InputError(f"{name}: the path is empty")
    return Path(value)


def names(name: str, value, of: str) -> list[str]:
    """Each of them once; one may come alone."""
    if not isinstance(value, (str, list, tuple)) or not all(isinstance(one, str) for one in value):
        raise InputError(f"{name}: {said(value)}, wanted the name of a {of}, or a list of them")
    return list(dict.fromkeys([value] if isinstance(value, str) else value))


def mapping(name: str, value, of: str) -> dict:
    """A dict with strings as keys; `of` tells what it holds, as in "signal to array"."""
    if not hasattr(value, "keys") or not hasattr(value, "__getitem__") or isinstance(value, type):
        raise InputError(f"{name}: {said(value)}, wanted a dict from {of}")
    found = dict(value)
    for key in found:
        if not isinstance(key, str):
            raise InputError(f"{name}: the key {shown(key)} is no name; wanted a dict from {of}")
    return found


def asked(function):
    """The arguments of a call that are missing, too many or misspelt are refused in the words of the call. They are
    looked at where the call has failed, which then has done nothing: one that is well formed waits for no look."""
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args, **named):
        try:
            return function(*args, **named)
        except TypeError:
            try:
                signature.bind(*args, **named)
            except TypeError:
                raise _misfit(function, signature, args, named) from None
            raise
    return checked


def asked_each(kind):
    """The same of the public methods of a class, but for those whose keywords are names of the caller's own."""
    for name, method in list(vars(kind).items()):
        if inspect.isfunction(method) and not name.startswith("_") and not inspect.getfullargspec(method).varkw:
            setattr(kind, name, asked(method))
    return kind


def _misfit(function, signature, args: tuple, named: dict) -> InputError:
    parameters = [p for p in signature.parameters.values() if p.name != "self"]
    called, given = function.__name__, args
    if "self" in signature.parameters and args:                # a method: a constructor is called by its class
        called = type(args[0]).__name__ if called == "__init__" else called
        given = args[1:]
    names = [p.name for p in parameters]
    bare = [p.name for p in parameters if p.kind == p.POSITIONAL_OR_KEYWORD]
    for name in named:
        if name not in names:
            return unknown(f"argument of {called}", ALIASES.get(name, name), names, said_as=name)
    if len(given) > len(bare):
        others = listed(f"{n}=..." for n in names[len(bare):])
        only = f"only {listed(bare)} may come so" if bare else "none may come so"
        return InputError(f"{called}: {len(given)} argument{'s' * (len(given) > 1)} without a name; {only}"
                          f"{f', others by name, {others}' if others else ''}")
    twice = [n for n in bare[:len(given)] if n in named]
    if twice:
        return InputError(f"{called}: {twice[0]} is given twice")
    missing = [p.name for p in parameters[len(given):] if p.default is p.empty and p.name not in named]
    return InputError(f"{called}: missing: {listed(missing)}")


# What other libraries call these arguments.
ALIASES = {"lr": "learning_rate", "max_norm": "clip_norm", "batch_size": "batch", "batch_first": "streams"}
