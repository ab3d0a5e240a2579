"""Parameters: one flat vector, trainable part first, and a mapping from paths to pieces of it."""

import threading
from collections.abc import Iterator, MutableMapping

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.arrays import as_array, real, size, zeros
from rnnc.runtime.initial import initial
from rnnc.runtime.sparse import Sparse, stored
from rnnc.runtime.wanted import asked_each, mapping
from rnnc.runtime.words import unknown


class Weights:
    """The numbers of a net, shared with its variants. `version` counts the changes, so that each knows when its packed
    copy is stale."""

    def __init__(self, manifest: dict, seed: int):
        self.params = {p["name"]: p for p in manifest["params"]}
        self.trainable = manifest["trainable"]
        self.total = manifest["total"]
        self.dtype = np.dtype(manifest["dtype"])
        self.theta = zeros(self.total, self.dtype)
        self.gradient = zeros(self.total, self.dtype)
        self.version = 0
        self.lock = threading.Lock()           # one training call at a time: they share the gradient
        for name, p in self.params.items():
            self.piece(self.theta, name)[...] = initial(tuple(p["init"]), tuple(p["shape"]), seed, name, p)

    def piece(self, vector: np.ndarray, name: str) -> np.ndarray:
        """One parameter's part of a flat vector, in its shape."""
        p = self.params.get(name) if isinstance(name, str) else None
        if p is None:
            raise unknown("parameter", name, self.params)
        shape = tuple(p["shape"])
        found = vector[p["offset"]:p["offset"] + size(shape)].reshape(shape)
        if p.get("pattern") is not None:
            found = found.view(Sparse)
            found._entry = p
        return found

    def touch(self) -> None:
        self.version += 1

    def __reduce_ex__(self, protocol):
        raise InputError("parameters cannot be pickled or copied where they are: dict(net.parameters) holds them as "
                         "arrays, net.save(path) keeps them")

    def fitting(self, name: str, value) -> np.ndarray:
        """`value` as it would be stored under `name`, or a refusal."""
        what = f"parameters[{name!r}]"
        piece = self.piece(self.theta, name)
        if isinstance(piece, Sparse):
            value = stored(piece._entry, as_array(value, what), what)
        return self.like(piece, value, what)

    def assign(self, vector: np.ndarray, value, what: str) -> None:
        """A whole flat vector at once, copied; also what `net.theta *= 2` ends with."""
        vector[...] = self.like(vector, value, what)

    def like(self, piece: np.ndarray, value, what: str) -> np.ndarray:
        """`value` with the number type of a net, if it has the shape of `piece`."""
        array = real(value, what, self.dtype)
        if array.shape != piece.shape:
            raise InputError(f"{what}: got shape {list(array.shape)}, wanted {list(piece.shape)}")
        return array


@asked_each
class Parameters(MutableMapping):
    """Path -> array. Reading gives a read-only view; assigning copies and marks packed weights stale."""

    def __init__(self, weights: Weights):
        self._weights = weights

    def __getitem__(self, name: str) -> np.ndarray:
        view = self._weights.piece(self._weights.theta, name)
        view.flags.writeable = False
        return view

    def __setitem__(self, name: str, value) -> None:
        array = self._weights.fitting(name, value)
        self._weights.piece(self._weights.theta, name)[...] = array
        self._weights.touch()

    def __delitem__(self, name: str) -> None:
        raise InputError("a net's parameters cannot be deleted")

    def get(self, name: str, default=None):
        return self[name] if name in self else default

    def update(self, values=None, /, **named) -> None:
        """All of them, or none if one does not fit."""
        wanted = {**mapping("parameters", {} if values is None else values, "path to array"), **named}
        fitting = {name: self._weights.fitting(name, value) for name, value in wanted.items()}
        for name, array in fitting.items():
            self[name] = array

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights.params)

    def __len__(self) -> int:
        return len(self._weights.params)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._weights.params

    def __repr__(self) -> str:
        whole = lambda p: f" of {p['whole']}" if p.get("pattern") is not None else ""
        rows = [f"  {name}: {list(p['shape'])}{whole(p)}{'' if p['trainable'] else ' frozen'}"
                for name, p in self._weights.params.items()]
        return "\n".join(["parameters", *rows])


class Gradients(Parameters):
    """Path -> its part of the gradient, a writable view. Frozen parameters have none."""

    def __getitem__(self, name: str) -> np.ndarray:
        piece = self._weights.piece(self._weights.gradient, name)
        if not self._weights.params[name]["trainable"]:
            raise InputError(f"{name} is frozen: it has no gradient")
        return piece

    def __setitem__(self, name: str, value) -> None:
        piece = self[name]
        piece[...] = self._weights.like(piece, value, f"gradients[{name!r}]")

    def __iter__(self) -> Iterator[str]:
        return (name for name, p in self._weights.params.items() if p["trainable"])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) and self._weights.params[name]["trainable"]

    def __repr__(self) -> str:
        return "\n".join(["gradients", *(f"  {name}: {list(self._weights.params[name]['shape'])}" for name in self)])
