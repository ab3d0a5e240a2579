"""A built module, loaded: its C functions and its manifest, which are all that Python knows of a model."""

import importlib.util
import json
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from rnnc.errors import RnncError
from rnnc.runtime.wanted import path as as_path

FORMAT = 1                                     # of the manifest
# A library stays once it is loaded, as extension modules do: with its last net OpenMP's library would be closed under
# the feet of threads that wait in it.
NOW, STAY = getattr(os, "RTLD_NOW", 0), getattr(os, "RTLD_NODELETE", 0)
C_REAL = {"float32": "float", "float64": "double"}
C_KIND = {"class": "int32_t", "labels": "int32_t", "int": "int32_t", "flag": "uint8_t"}


@dataclass(frozen=True, eq=False)
class Module:
    """The C of one model."""

    ffi: object
    lib: object
    manifest: dict
    path: Path
    openmp: bool = True

    @property
    def prefix(self) -> str:
        return self.manifest.get("prefix", self.manifest["name"])

    def function(self, name: str):
        """`run` -> the C function charlm_run; None if this module was built without it."""
        return getattr(self.lib, f"{self.prefix}_{name}", None)

    def type(self, name: str):
        return self.ffi.typeof(f"{self.prefix}_{name}")

    @cached_property
    def real(self) -> str:
        return C_REAL[self.manifest["dtype"]]

    def check(self, code: int, what: str) -> None:
        if code:
            explain = self.function("error")
            text = self.ffi.string(explain(code)).decode() if explain else f"code {code}"
            raise RnncError(f"{self.manifest['name']}: {what} failed: {text}")


def load(path: str | os.PathLike) -> Module:
    """The module in a folder that the compiler built."""
    path = as_path("path", path)
    try:
        record = json.loads((path / "build.json").read_text(encoding="utf-8"))
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        mode, name, library = record["mode"], record["module"], path / record["library"]
    except (OSError, ValueError, KeyError) as fault:
        raise RnncError(f"{path} holds no built module: {fault}") from None
    if manifest.get("format") != FORMAT:
        raise RnncError(f"{path} was built by another version of rnnc ({manifest.get('version', 'unknown')}): "
                        "compile the program again")
    try:
        if mode == "api":
            extension = _python_module(name, library)
            ffi, lib = extension.ffi, extension.lib
        else:
            ffi = _python_module(f"{name}_ffi", path / f"{name}_ffi.py").ffi
            lib = ffi.dlopen(str(library), NOW | STAY)
    except (ImportError, OSError) as fault:
        raise RnncError(f"{library} cannot be loaded: {fault}") from None
    return Module(ffi, _Library(lib) if mode == "abi" else lib, manifest, path, record.get("openmp", True))


def _python_module(name: str, path: Path):
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Library:
    """An ABI library whose declared but missing functions are absent, as they are in API mode."""

    def __init__(self, lib):
        self._lib = lib

    def __getattr__(self, name: str):
        value = getattr(self._lib, name)       # AttributeError where the symbol is not there
        setattr(self, name, value)
        return value
