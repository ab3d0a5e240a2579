"""A call like the one before it: shapes and types that were accepted once on a state are recognised, and only pointers
are handed to C.

Nothing is refused here. Whatever is not as it was (or labels out of range, or memory that overlaps) goes the long way
of `call.py`, which accepts it or says what is wrong. Small arrays that come again are recognised themselves,
and then nothing is looked at: their shapes and types must not be changed in place. One frame of LSTM 32 from Python,
`out=` given: 2.4 microseconds with the same arrays, 3.7 where the input is another one; the C takes 0.6 of it (EPYC). A
call without a state has one of its thread; a run does not even touch it.
"""

from functools import partial
from math import prod
from threading import get_ident
from time import perf_counter

from numpy import empty, ndarray

from rnnc.errors import InputError
from rnnc.runtime.arrays import apart
from rnnc.runtime.call import kept
from rnnc.runtime.trial import chosen, trial_of

forked: list[bool] = []                        # in a forked child OpenMP's threads are gone: one thread there

READABLE, WRITABLE = 0x101, 0x501              # of ndarray.flags.num: contiguous and aligned; and writable
WATCHED = 2e-5                                 # seconds of a call on several threads that is timed still
SMALL = 1 << 14                                # numbers in all arrays of a call that may be kept until the next one
OWNER = 0x004                                  # the memory is the array's own: another owner has other memory


class Likeness:
    """What one call looked like, and the C structs that the next one like it fills in: both belong to a state, and are
    touched only by who holds it."""

    __slots__ = ("net", "function", "counts", "asked", "inputs", "outputs", "into", "out", "from_buffer", "wanted",
                 "threads", "plain", "arrays", "results", "held", "pointers", "owned", "state", "thread", "call",
                 "trial", "random", "watched")

    def __init__(self, net, what: str, call, way, used, fresh: bool):
        """`used`: the state; `fresh`: none was handed over, and a run takes none."""
        border, stateless = net._border, fresh and what == "run"
        self.net, self.function = net, net._functions["run_fresh" if stateless else what]
        self.state = () if stateless else (used._pointer,)
        self.counts = (call.streams,) if what == "step" else (call.frames, call.streams)
        self.asked = ("run" if what == "step" else what, call.frames, call.streams)
        shown = [border.ports[name] for name in call.arrays]
        self.inputs = tuple((p.name, p.field, p.dtype, call.arrays[p.name].shape, p.pointer, call.arrays[p.name].size,
                             2 if p.signal.kind == "flag" else p.signal.classes) for p in shown)
        self.outputs = tuple((p.name, p.field, p.dtype, call.shape(p.signal), p.pointer)
                             for p in border.outputs.values() if what != "backprop")
        self.into = border.ffi.new(border.struct)
        self.out = border.ffi.NULL if what == "backprop" else border.ffi.new(border.out)
        self.from_buffer = border.ffi.from_buffer
        self.plain = not any(entry[-1] for entry in self.inputs) and SMALL >= sum(
            entry[-2] for entry in self.inputs) + sum(prod(entry[3]) for entry in self.outputs)
        self.wanted = net._wanted
        self.arrays = self.results = self.held = self.pointers = self.owned = self.thread = self.call = None
        self.threads, tuning = way
        if tuning:
            self.into.tuning = tuning
        self.random = bool(net.manifest.get("random"))
        self.trial = trial_of(net, what, call.frames, call.streams) if what != "step" else None
        # Frames, if the clock is to see calls come late: of several threads, and not too short for two looks at it.
        late = self.trial is not None and self.threads != 1 and self.trial.usual * call.frames > WATCHED
        self.watched = call.frames if late else 0

    def point(self, inputs: dict, out: dict | None, held: list, used) -> dict | None:
        """The outputs by name, once both structs point at this call's arrays; None if it is another kind of call.
        `held` keeps the arrays in place; `used`: the state."""
        if len(inputs) != len(self.inputs) or out is not None and (type(out) is not dict
                                                                   or len(out) != len(self.outputs)):
            return None
        from_buffer, into, common, brought = self.from_buffer, self.into, OWNER, None
        self.arrays, plain = None, self.plain
        for name, field, dtype, shape, ctype, size, bound in self.inputs:
            array = brought = inputs.get(name)
            if type(array) is not ndarray or array.shape != shape:
                return None
            flags = array.flags.num
            if array.dtype is not dtype or flags & READABLE != READABLE:
                array, plain = converted(self.net._border, name, array), False
                if array is None:
                    return None
            elif bound and not within(array, size, bound):
                return None
            common &= flags
            pointer = from_buffer(ctype, array)
            setattr(into, field, pointer)
            held.append(pointer)
        if same(out, self.results):            # they are pointed at already
            made = dict(out)
            held += self.pointers
        else:
            made = self.point_out(out, held)
            if made is None:
                return None
        if out and (len(inputs) > 1 or len(made) > 1 or not common & self.owned or brought is made[self.outputs[0][0]]):
            apart(made, [*inputs.items(), *kept(self.net, used)])
        if out and plain:
            self.arrays, self.results, self.held = inputs, dict(made), held
        return made

    def point_out(self, out: dict | None, held: list) -> dict | None:
        """The same of the outputs alone."""
        made, from_buffer, into, owned, first = {}, self.from_buffer, self.out, OWNER, len(held)
        self.results = None
        for name, field, dtype, shape, ctype in self.outputs:
            if out is None:
                array = empty(shape, dtype)
            else:
                array = out.get(name)
                if type(array) is not ndarray or array.dtype is not dtype or array.shape != shape:
                    return None
                flags = array.flags.num
                if flags & WRITABLE != WRITABLE:
                    return None
                owned &= flags
            pointer = from_buffer(ctype, array)
            setattr(into, field, pointer)
            held.append(pointer)
            made[name] = array
        self.pointers, self.owned = held[first:], owned
        return made

    def repeated(self, inputs: dict, out: dict | None) -> bool:
        """Whether both structs point at these very arrays already."""
        return same(inputs, self.arrays) and same(out, self.results)


def same(arrays: dict | None, those: dict | None) -> bool:
    """Whether the arrays are those very ones, by name."""
    if arrays is None or those is None or len(arrays) != len(those):
        return False
    for name, array in those.items():
        if arrays.get(name) is not array:
            return False
    return True


def within(array, size: int, bound: int) -> bool:
    """Whether all labels are in 0 .. bound - 1; below zero is very large, seen without a sign."""
    if size == 1:
        return 0 <= array.item() < bound
    return bool(array.view(f"u{array.itemsize}").max() < bound)


def converted(border, name: str, array):
    """What comes in another type or order, as call.py brings it to C; None: it refuses, and says why. 1,024 flags as
    float32: 6 microseconds, 45 the long way (Xeon)."""
    try:
        return border.convert(border.ports[name], array)
    except InputError:
        return None


def remember(net, what: str, state, call, starts) -> None:
    """`call` was accepted: the next one may be like it. `state`: that it ran on; None: one of its thread. Where no
    array tells how many frames there are, each call has to."""
    told = what == "step" or call.arrays
    if told and starts is None and call.weight is None and call.frames and not (net.check_numbers or net._border.lists):
        way = chosen(net, what, call.frames, call.streams)
        if way is not None:
            used = net._local.state if state is None else state
            used._like[what] = Likeness(net, what, call, way, used, state is None)


def taken(net, what: str, used) -> Likeness | None:
    """What the last such call on this state looked like. None if there was none, if the state is in use, or if the ways
    of running are to be timed again."""
    like = used._like.get(what) if used is not None else None
    if like is None or like.net is not net or like.wanted != net._wanted or net.check_numbers:
        return None
    if like.trial is not None and like.trial.calls + 1 >= like.trial.again:    # the long way counts the last one
        used._like.pop(what, None)
        return None
    return None if used._busy.locked() else like


def ready(net, like: Likeness):
    """The call of C, once there are packed weights, room and all else that it wants: it counts, and draws its lot of
    random numbers."""
    if like.trial is not None:
        like.trial.calls += 1
    if like.random:
        like.into.seed, like.into.draw = net.seed, net.draws
    if net._packed_version != net._weights.version:
        net._pack()
    if forked and like.threads != 1:
        like.threads, like.thread = 1, None
    if like.thread != get_ident():             # each thread works in memory of its own
        like.thread = get_ident()
        like.call = partial(like.function, net._packed, *like.state, like.into, like.out, *like.counts,
                            net._workspace(like.asked), like.threads)
    return like.call


def on_fresh(net):
    """A run on a state that nobody keeps, for a module of another maker, whose C knows none."""
    def run(packed, inputs, outputs, frames: int, streams: int, *more) -> int:
        return net._functions["run"](packed, net._fresh(streams)._pointer, inputs, outputs, frames, streams, *more)
    return run


def again(net, what: str, state, inputs: dict, out: dict | None) -> dict | None:
    """The outputs of a call like the last one on this state (None: on none); None if it is not like it, and then
    nothing has happened."""
    used = getattr(net._local, "state", None) if state is None else state
    like = taken(net, what, used)
    if like is None:
        return None
    with used._busy:                           # as State._hold
        if like.repeated(inputs, out):
            made = dict(out)
        else:
            held: list = []
            made = like.point(inputs, out, held, used)
            if made is None:
                return None
        call = ready(net, like)
        begin = perf_counter() if like.watched else 0
        code = call()
        if begin:
            like.trial.watch((perf_counter() - begin) / like.watched)
        if code:
            net.module.check(code, what)
        return made


def trained_again(net, state, inputs: dict) -> float | None:
    """The loss of a training call like the last one, likewise."""
    used = getattr(net._local, "state", None) if state is None else state
    like = taken(net, "backprop", used) if net.memory_limit is None else None
    if like is None:
        return None
    with used._busy:
        held: list = []
        if like.point(inputs, None, held, used) is None:
            return None
        call, loss = ready(net, like), net.module.ffi.new(net._loss)
        if state is None:
            used.reset()
        with net._weights.lock:
            begin = perf_counter() if like.watched else 0
            code = call(net._vector(net.gradient), loss)
            if begin:
                like.trial.watch((perf_counter() - begin) / like.watched)
        if code:
            net.module.check(code, "backprop")
        net.draws += 1
        return loss[0]
