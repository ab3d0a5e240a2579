"""What a net remembers between calls: one flat block, the C's own layout, behind names."""

import threading
from collections.abc import Iterable

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import arrays
from rnnc.runtime.arrays import KINDS, aligned, size
from rnnc.runtime.module import Module
from rnnc.runtime.wanted import asked_each, is_whole, mapping
from rnnc.runtime.words import said, unknown


@asked_each
class State:
    """The last frames of every signal that is read with delay, and the frames since each stream's start.

    `state["h.0.c"]` is a view [frames, streams, ...], newest frame last. Writing into it, or assigning, changes what
    the next call sees, with one rule: in a stream that has just started, delayed reads see the program's `init`, not
    the state. Assigning (`state["h"] = array`) therefore makes every entry of such a stream count as given, as if
    enough frames had passed: entries that were not assigned are zero.
    """

    def __init__(self, module: Module, streams: int, fresh: bool = True):
        if not isinstance(module, Module):
            raise InputError("a state belongs to a net: net.state(streams) makes one")
        self._module, self._entries = module, {e["name"]: i for i, e in enumerate(module.manifest["state"])}
        self.streams = streams
        self._memory = aligned(module.function("state_size")(streams), np.uint8)
        self._pointer = module.ffi.from_buffer(self._memory)
        self._busy = threading.Lock()
        self._like = {}                        # "run", "step" -> what the last such call looked like
        if fresh:
            self.reset()

    def _hold(self) -> threading.Lock:
        """For `with`, while a call uses this state. Refused while another does: looked at, not tried, since Ctrl-C
        between a lock's `acquire` and `try` leaves it locked for good, and between `with` and its block it cannot come;
        two threads that look at once go one after the other."""
        if self._busy.locked():
            raise InputError("state: another thread is using it")
        return self._busy

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    @property
    def since(self) -> np.ndarray:
        """Frames since the start of each stream's sequence, a view [streams]; 0: the next frame starts one."""
        offset = self._module.function("state_since")(self.streams)
        return self._memory[offset:offset + 8 * self.streams].view(np.int64)

    @property
    def age(self) -> np.ndarray | None:
        """All frames that each stream has run since it was fresh, by which random numbers go: a view [streams]. None
        for a net without random operators."""
        if not self._module.manifest.get("random"):
            return None
        offset = self._module.function("state_since")(self.streams) + 8 * self.streams
        return self._memory[offset:offset + 8 * self.streams].view(np.int64)

    def __getitem__(self, name: str) -> np.ndarray:
        index = self._entries.get(name) if isinstance(name, str) else None
        if index is None:
            raise unknown("signal of the state", name, self._entries)
        entry = self._module.manifest["state"][index]
        shape = tuple(entry["shape"])
        dtype = KINDS[entry.get("kind", "real")] or np.dtype(self._module.manifest["dtype"])
        offset = self._module.function("state_entry")(self.streams, index)
        row = self._module.function("state_row")(index) // dtype.itemsize         # padded: numbers per frame and stream
        depth, streams = entry["depth"], self.streams
        block = self._memory[offset:offset + depth * streams * row * dtype.itemsize].view(dtype)
        return block.reshape(depth, streams, row)[:, :, :size(shape)].reshape(depth, streams, *shape)

    def __setitem__(self, name: str, value) -> None:
        view = self[name]
        array = arrays.as_array(value, f"state[{name!r}]")
        if array.dtype.kind not in ("iub" if view.dtype.kind == "i" else "fiub"):
            raise InputError(f"state[{name!r}]: got {array.dtype}, wanted {view.dtype}")
        if array.shape != view.shape:
            raise InputError(f"state[{name!r}]: got shape {list(array.shape)}, wanted {list(view.shape)} "
                             "(frames, streams, units)")
        view[...] = array
        since, deepest = self.since, max(e["depth"] for e in self._module.manifest["state"])
        np.maximum(since, deepest, out=since)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name in self._entries

    def __iter__(self):
        return iter(self._entries)

    def keys(self):
        return self._entries.keys()

    def reset(self, streams: Iterable[int] | int | None = None) -> None:
        """Makes all streams, or the given ones, fresh."""
        if streams is None:
            self._module.function("reset")(self._pointer, self.streams)
            return
        if not is_whole(streams) and not isinstance(streams, Iterable):
            raise InputError(f"streams: {said(streams)}, wanted the number of a stream, or several")
        chosen = [streams] if is_whole(streams) else list(streams)
        for stream in chosen:
            self._check(stream)
        for stream in chosen:
            self._module.function("reset_stream")(self._pointer, self.streams, int(stream))

    def copy(self) -> "State":
        other = State(self._module, self.streams, fresh=False)
        other._memory[...] = self._memory
        return other

    def assign(self, other: "State") -> None:
        """Becomes equal to another state of as many streams."""
        refuse_foreign(other, self._module)
        if other.streams != self.streams or other._memory.size != self._memory.size:
            raise InputError(f"a state of {other.streams} streams cannot be assigned to one of {self.streams}")
        self._memory[...] = other._memory

    def copy_stream(self, stream: int, other: "State", from_stream: int) -> None:
        """This state's `stream` becomes the other's `from_stream`."""
        refuse_foreign(other, self._module)
        self._check(stream)
        other._check(from_stream)
        self._module.function("copy_stream")(self._pointer, stream, other._pointer, from_stream)

    def _check(self, stream) -> None:
        if not is_whole(stream) or not 0 <= stream < self.streams:
            raise InputError(f"stream: {said(stream)}, wanted one of 0..{self.streams - 1}")

    def __copy__(self) -> "State":
        return self.copy()

    def __deepcopy__(self, memo) -> "State":
        return self.copy()

    def __reduce_ex__(self, protocol):
        raise InputError("a state cannot be pickled: state.to_arrays() gives it as arrays, state.from_arrays(...) "
                         "takes them")

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Copies of everything, by name, independent of the layout: for checkpoints."""
        return {name: view.copy() for name, view in self._views().items()}

    def from_arrays(self, found: dict[str, np.ndarray]) -> None:
        """The other way; a refusal leaves the state as it was."""
        found = mapping("arrays", found, "name to array")
        places = self._views()
        for name, place in places.items():
            given = np.asarray(found.get(name))
            if given.shape != place.shape or given.dtype != place.dtype:
                got = f"{given.dtype}{list(given.shape)}" if name in found else "nothing"
                raise InputError(f"arrays[{name!r}]: got {got}, wanted {place.dtype}{list(place.shape)}: "
                                 f"this is no state of {self.streams} streams of this net")
        for name, place in places.items():
            place[...] = found[name]

    def _views(self) -> dict[str, np.ndarray]:
        counts = {"": self.since} if self.age is None else {"": self.since, ".age": self.age}
        return {**{name: self[name] for name in self}, **counts}

    def __repr__(self) -> str:
        return f"<state of {self.streams} streams: {', '.join(self._entries) or 'nothing to remember'}>"


def refuse_foreign(state, module: Module) -> None:
    """Refuses what is no state, or one that does not lie in memory as those of `module` do."""
    if not isinstance(state, State):
        raise InputError(f"state: {said(state)}; net.state(streams) makes one")
    if state._module is module:
        return
    found, wanted = state._module.manifest, module.manifest
    if found["dtype"] != wanted["dtype"]:
        raise InputError(f"state: it is one of {found['dtype']}, and this net computes in {wanted['dtype']}; "
                         "make one with net.state(streams) of this net")
    if found["state"] != wanted["state"] or state._module.function("state_size")(1) != module.function("state_size")(1):
        raise InputError("state: it belongs to another net")
