"""What a user may ask of `rnnc.compile`: each argument checked before anything is read or compiled."""

import os
from difflib import get_close_matches
from numbers import Real
from pathlib import Path

from rnnc.errors import InputError
from rnnc.runtime.wanted import is_whole, mapping, number, one_of, truth
from rnnc.runtime.words import said, unknown

DTYPES = ("float32", "float64")
GRADIENTS = (None, "parameters", "all")
WEIGHTS = ("float32", "bfloat16", "int8")      # how the matrices of products may be stored


def options(*, dtype, target, threads, gradient, weights, memory_limit, check_numbers, seed, cache) -> dict:
    """The same arguments in plain Python types, or a refusal."""
    name = getattr(dtype, "__name__", None) or getattr(dtype, "name", None) or dtype
    if not one_of(name, DTYPES):
        raise InputError(f"dtype: {said(dtype)}; it may be 'float32' or 'float64'")
    if not isinstance(target, str) or not is_target(target):
        raise InputError(f"target: {said(target)}; it is 'native' or the name of a processor, as in 'x86-64-v3'")
    if threads is not None and (not is_whole(threads) or threads < 1):
        raise InputError(f"threads: {said(threads)}; a number of threads, or None for the planner's choice")
    if not one_of(gradient, GRADIENTS):
        raise InputError(f"gradient: {said(gradient)}; it may be None, 'parameters' or 'all'")
    if not one_of(weights, WEIGHTS):
        raise InputError(f"weights: {said(weights)}; it may be 'float32', 'bfloat16' or 'int8'")
    if weights == "bfloat16" and name != "float32":
        raise InputError(f"weights: 'bfloat16' halves the numbers of dtype='float32'; dtype is {name!r}")
    if weights == "int8" and name != "float32":
        raise InputError(f"weights: 'int8' stands for quantised numbers of dtype='float32'; dtype is {name!r}")
    if memory_limit is not None and (not is_whole(memory_limit) or memory_limit < 1):
        raise InputError(f"memory_limit: {said(memory_limit)}; a number of bytes that a training call may work in, or "
                         "None for no limit")
    if not is_whole(seed) or not 0 <= seed < 2**63:
        raise InputError(f"seed: {said(seed)}; a whole number from 0, below 2^63")
    return {"dtype": name, "target": target, "threads": None if threads is None else int(threads),
            "gradient": gradient, "weights": weights, "seed": int(seed),
            "memory_limit": None if memory_limit is None else int(memory_limit),
            "check_numbers": truth("check_numbers", check_numbers), "cache": truth("cache", cache)}


def is_target(text: str) -> bool:
    """Whether it may be the name of a processor."""
    return bool(text) and all(c.isalnum() or c in "-_.+" for c in text)


def source(given) -> str:
    """A path that is there, or program text."""
    if isinstance(given, os.PathLike):
        given = os.fspath(given)
    if not isinstance(given, str) or not given:                    # the path "" would mean this folder
        raise InputError(f"source: {said(given)}; a path or program text is wanted")
    if "\n" in given:
        return given
    path = Path(given)
    if path.is_dir():
        raise InputError(f"source: {given} is a folder")
    if not path.exists():
        hint = "; program text has at least one newline" if "{" in given else ""
        raise InputError(f"source: no such file: {given}{hint}")
    try:
        path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as fault:
        raise InputError(f"source: {given} is not UTF-8 text (byte {fault.start})") from None
    except OSError as fault:
        raise InputError(f"source: {given}: {fault.strerror or fault}") from None
    return given


def model(given) -> str | None:
    if given is not None and not isinstance(given, str):
        raise InputError(f"model: {said(given)}; the name of a model is wanted")
    return given


def sizes(given, named: dict) -> dict:
    """Sizes by name as whole numbers, floats or lists of them. Whether the model has such sizes, the compiler says."""
    merged = {} if given is None else mapping("sizes", given, "name to size")
    for name, value in named.items():
        if name in merged:
            raise InputError(f"{name}: given twice, also in sizes=")
        merged[name] = value
    return {name: _size(name, value) for name, value in merged.items()}


def _size(name: str, value):
    if isinstance(value, (list, tuple)):
        return [_size(name, v) for v in value]
    if isinstance(value, bool) or type(value).__name__ in ("bool_", "bool"):
        raise InputError(f"{name}: {said(value)}; a size is a number or a list of numbers")
    if is_whole(value):
        return int(value)
    if isinstance(value, Real):
        return number(name, value)
    close = ("model", "dtype", "target", "threads", "gradient", "weights", "memory_limit", "check_numbers", "seed",
             "cache", "sizes")
    if isinstance(value, str) and get_close_matches(name, close):
        raise unknown("argument of compile", name, close)
    raise InputError(f"{name}: {said(value)}; a size is a number or a list of numbers")

