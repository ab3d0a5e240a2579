"""A call like the one before it: shapes and types that were accepted once on a state are recognised, and only pointers
are handed to C.

Nothing is refused here. Whatever is not as it was (or labels out of range, or memory that overlaps) goes the long way
of `call.py`, which accepts it or says what is wrong. Small arrays that come again are recognised themselves,
and then nothing is looked at: their shapes and types must not be changed in place. One frame of LSTM 32 from Python,
`out=` given: 2.1 microseconds with the same arrays, 3.5 with others; the C takes 0.3 of it (EPYC). A call without a
state has one of its thread; a run does not even touch it.
"""

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
                 "threads", "plain", "arrays", "results", "held", "thread", "work", "trial", "random", "watched")

    def __init__(self, net, what: str, call, way, fresh: bool):
        border = net._border
        self.net, self.function = net, net._functions["run_fresh" if what == "run" and fresh else what]
        self.counts = (call.streams,) if what == "step" else (call.frames, call.streams)
        self.asked = ("run" if what == "step" else what, call.frames, call.streams)
        shown = [border.ports[name] for name in call.arrays]
        self.inputs = tuple((p.name, p.field, p.dtype, call.arrays[p.name].shape, p.pointer, call.arrays[p.name].size,
                             2 if p.signal.kind == "flag" else p.signal.classes) for p in shown)
        self.outputs = tuple((p.name, p.field, p.dtype, call.shape(p.signal), p.pointer)
                             for p in border.outputs.values() if what != "backprop")
        self.into, self.out = border.ffi.new(border.struct), border.ffi.new(border.out)
        self.from_buffer = border.ffi.from_buffer
        self.plain = not any(entry[-1] for entry in self.inputs) and SMALL >= sum(
            entry[-2] for entry in self.inputs) + sum(prod(entry[3]) for entry in self.outputs)
        self.wanted = net._wanted
        self.arrays = self.results = self.held = self.thread = self.work = None
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
        made, from_buffer, into, common, brought = {}, self.from_buffer, self.into, WRITABLE | OWNER, None
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
        into = self.out
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
                common &= flags
            pointer = from_buffer(ctype, array)
            setattr(into, field, pointer)
            held.append(pointer)
            made[name] = array
        if out and (len(inputs) > 1 or len(made) > 1 or array is brought or not common & OWNER):
            apart(made, [*inputs.items(), *kept(self.net, used)])
        if out and plain:
            self.arrays, self.results, self.held = inputs, dict(made), held
        return made

    def repeated(self, inputs: dict, out: dict | None) -> bool:
        """Whether both structs point at these very arrays already."""
        if self.arrays is None or out is None or len(inputs) != len(self.arrays) or len(out) != len(self.results):
            return False
        for name, array in self.arrays.items():
            if inputs.get(name) is not array:
                return False
        for name, array in self.results.items():
            if out.get(name) is not array:
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
            used._like[what] = Likeness(net, what, call, way, state is None)


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
    """Packed weights, once there is room and all else that a call wants: it counts, and draws its lot of random
    numbers."""
    if like.trial is not None:
        like.trial.calls += 1
    if like.random:
        like.into.seed, like.into.draw = net.seed % 2**64, net.draws % 2**64
    if like.thread != get_ident():             # each thread works in memory of its own
        like.thread, like.work = get_ident(), net._workspace(like.asked)
    return net._packed if net._packed_version == net._weights.version else net._pack()


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
        packed = ready(net, like)
        given = () if state is None else (used._pointer,)
        begin = perf_counter() if like.watched else 0
        code = like.function(packed, *given, like.into, like.out, *like.counts, like.work,
                             1 if forked else like.threads)
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
        packed, loss = ready(net, like), net.module.ffi.new(net._loss)
        if state is None:
            used.reset()
        with net._weights.lock:
            begin = perf_counter() if like.watched else 0
            code = like.function(packed, used._pointer, like.into, net.module.ffi.NULL, *like.counts, like.work,
                                 1 if forked else like.threads, net._vector(net.gradient), loss)
            if begin:
                like.trial.watch((perf_counter() - begin) / like.watched)
        if code:
            net.module.check(code, "backprop")
        net.draws += 1
        return loss[0]
