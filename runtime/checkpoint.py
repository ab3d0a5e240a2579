"""A training run on disk: one file, replaced whole, so that a run stopped at any moment continues from a moment that
really was.

    FOLDER/checkpoint.safetensors     arrays, and a JSON text in the metadata
        parameter/h.0.Wi              parameters by path
        optimiser/m, ...              the optimiser's vectors
        state/h, state/               streams' states by signal; frames since their starts
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.storage import CHECKPOINT, FILE, PARAMETER, plain, read, write_whole
from rnnc.runtime.wanted import path as as_path

FORMAT = "1"


@dataclass
class Checkpoint:
    """What a run is at one moment. `record` is everything that is not an array."""

    parameters: dict[str, np.ndarray]
    optimiser: dict[str, np.ndarray] = field(default_factory=dict)
    state: dict[str, np.ndarray] | None = None
    record: dict = field(default_factory=dict)

    def write(self, folder: str | os.PathLike) -> Path:
        from safetensors.numpy import save as encode
        groups = {PARAMETER: self.parameters, "optimiser": self.optimiser, "state": self.state or {}}
        arrays = {f"{group}/{name}": plain(a) for group, found in groups.items()
                  for name, a in found.items()}
        metadata = {"format": CHECKPOINT, "checkpoint": FORMAT, "record": json.dumps(self.record)}
        path = Path(folder) / FILE
        try:
            write_whole(path, encode(arrays, metadata))
        except OSError as fault:
            raise InputError(f"checkpoint: cannot write {path}: {fault.strerror or fault}") from None
        return path

    @staticmethod
    def read(folder: str | os.PathLike) -> "Checkpoint":
        path = Path(folder) / FILE
        arrays, metadata = read(path)
        if metadata.get("checkpoint") != FORMAT:
            raise InputError(f"{path} is not a checkpoint of this version of rnnc")
        groups: dict[str, dict[str, np.ndarray]] = {PARAMETER: {}, "optimiser": {}, "state": {}}
        for key, array in arrays.items():
            group, _, name = key.partition("/")
            groups[group][name] = array
        return Checkpoint(groups[PARAMETER], groups["optimiser"], groups["state"] or None,
                          json.loads(metadata["record"]))


def exists(folder: str | os.PathLike) -> bool:
    return (as_path("checkpoint", folder) / FILE).is_file()


def load_parameters(net, folder: str | os.PathLike) -> None:
    """The parameters of a checkpoint into a net of the same names and shapes, whatever else it was compiled with."""
    found = Checkpoint.read(folder).parameters
    missing = [n for n in net.parameters if n not in found]
    strange = [n for n in found if n not in net.parameters]
    if missing or strange:
        raise InputError(f"{folder} holds another network: {', '.join(missing + strange)} on one side only")
    net.parameters = found
