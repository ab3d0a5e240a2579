"""Net: a compiled program with its parameters. Every call checks all of its arguments first, then hands pointers to C,
which runs without the interpreter lock."""

import os
import threading

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime import ragged
from rnnc.runtime.again import again, forked, on_fresh, remember, trained_again
from rnnc.runtime.arrays import Signal, aligned, zeros
from rnnc.runtime.call import Border, Call, kept, spans
from rnnc.runtime.module import Module
from rnnc.runtime.parameters import Gradients, Parameters, Weights
from rnnc.runtime.probe import probed
from rnnc.runtime.segments import backwards
from rnnc.runtime.state import State, refuse_foreign
from rnnc.runtime.trial import PROGRAMS, Trial, between, capped, cores, tried
from rnnc.runtime.wanted import Whole, asked_each, truth, whole
from rnnc.runtime.words import Report, place

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: forked.append(True))


@asked_each
class Net:
    """Made by `rnnc.compile`. `variant(probe, training)` builds the same program with inner signals as further
    outputs, or with random operators at work in `run`."""

    seed = Whole()                             # of the random operators; parameters were drawn from it, too
    draws = Whole()                            # training calls so far: they number the draws of random operators

    def __init__(self, module: Module, *, seed: int = 0, threads: int | None = None, check_numbers: bool = False,
                 variant=None, graph=None, explain=None,
                 weights: Weights | None = None, memory_limit: int | None = None):
        if not isinstance(module, Module):
            raise InputError("rnnc.compile makes nets, rnnc.load those that were built before")
        self._probing = weights is not None    # a variant, which shows inner signals of its original
        self._training = False                 # a variant whose run draws at random
        self.module, self.manifest = module, module.manifest
        self.threads, self.check_numbers, self.seed = threads, check_numbers, seed
        self.memory_limit = memory_limit       # bytes, of a training call
        self._make_variant, self._make_graph, self._explain = variant, graph, explain
        self._weights = Weights(self.manifest, seed) if weights is None else weights
        self._border = Border(module)
        self._dtype = np.dtype(self.manifest["dtype"])
        self._packed = module.ffi.from_buffer(zeros(max(1, module.function("packed_size")()), np.uint8))
        self._packed_version, self._packer = -1, module.function("pack_threads")
        self._packing = threading.Lock()
        self._local = threading.local()        # workspace and fresh state of each thread
        self._functions = {name: module.function(name) for name in (*self.manifest["functions"], "step")}
        self._functions["run_fresh"] = module.function("run_fresh") or on_fresh(self)
        self._vectors, self._loss = f"{module.prefix}_weights *", module.ffi.typeof(f"{module.real} *")
        self._variants: dict[tuple[tuple[str, ...], bool], Net] = {}
        self._graph = None
        self._trials: dict[tuple, Trial | None] = {}
        self._last_trial: Trial | None = None
        self.draws = 0

    # -------------------------------------------------------------------------------------------- what it is

    @property
    def threads(self) -> int | None:
        return self._threads_asked

    @threads.setter
    def threads(self, count: int | None) -> None:
        self._threads_asked = count = None if count is None else whole("threads", count, 1)
        self._wanted = 0 if count is None else capped(count, silent=self._probing)

    @property
    def name(self) -> str:
        return self.manifest["name"]

    @property
    def dtype(self) -> np.dtype:
        return self._dtype

    @property
    def inputs(self) -> dict[str, Signal]:
        return {n: p.signal for n, p in self._border.ports.items() if not p.target}

    @property
    def targets(self) -> dict[str, Signal]:
        return {n: p.signal for n, p in self._border.ports.items() if p.target}

    @property
    def outputs(self) -> dict[str, Signal]:
        return {n: p.signal for n, p in self._border.outputs.items()}

    @property
    def parameters(self) -> Parameters:
        return Parameters(self._weights)

    @parameters.setter
    def parameters(self, values) -> None:
        """All of `values`, a mapping by path, or none if one does not fit."""
        self.parameters.update(values)

    @property
    def gradients(self) -> Gradients:
        return Gradients(self._weights)

    @property
    def theta(self) -> np.ndarray:
        """All parameters, trainable ones first; call `touch()` after writing into it. Assignment copies and touches."""
        return self._weights.theta

    @theta.setter
    def theta(self, value) -> None:
        self._weights.assign(self._weights.theta, value, "theta")
        self._weights.touch()

    @property
    def gradient(self) -> np.ndarray:
        """As long as theta; the part of frozen parameters stays zero."""
        return self._weights.gradient

    @gradient.setter
    def gradient(self, value) -> None:
        self._weights.assign(self._weights.gradient, value, "gradient")

    @property
    def trainable(self) -> int:
        """How many numbers at the front of theta are learned."""
        return self._weights.trainable

    @property
    def graph(self):
        if self._graph is None and self._make_graph is not None:
            self._graph = self._make_graph()
        return self._graph

    def explain(self, streams: int = 16, frames: int = 64, threads: int | None = None) -> "Report":
        """The plan in words: which loop runs how and why, what it costs, what threads would bring. `print` it."""
        streams, frames = whole("streams", streams, 1), whole("frames", frames, 1)
        threads = whole("threads", threads, 1) if threads is not None else self._threads_asked or cores()
        if self._explain is None:
            raise InputError("explain: this net was loaded from its module, without its program; "
                             "`rnnc explain FILE` tells the same")
        return Report(self._explain(frames, streams, threads))

    def touch(self) -> None:
        """Says that theta was written to."""
        self._weights.touch()

    def __repr__(self) -> str:
        ports = lambda signals: ", ".join(f"{n}: {s}" for n, s in signals.items()) or "nothing"
        text = f"<rnnc.Net {self.name}: {ports(self.inputs)} -> {ports(self.outputs)}"
        return f"{text}; {self._weights.total:,} parameters, {self._dtype}>"

    # -------------------------------------------------------------------------------------------- calls

    def state(self, streams: int = 1) -> State:
        """A fresh state."""
        if whole("streams", streams, 1) >= 2**31:
            raise InputError(f"streams: {streams} are more than there can be")
        return State(self.module, int(streams))

    def run(self, *unnamed, state: State | None = None, starts=None, out: dict | None = None, probe=None,
            **inputs) -> dict:
        """All frames; returns the outputs by name. `state` advances in place; without one the call starts afresh.
        `probe` names inner signals to return as well; with `training=True` random operators act, with the numbers that
        the next training call will draw (the forward run of a `vjp` is such a one)."""
        if not unnamed and probe is None and starts is None and (state is None or type(state) is State):
            made = again(self, "run", state, inputs, out)
            if made is not None:
                return made
        if unnamed:
            raise self._by_name("run")
        training = truth("training", inputs.pop("training", False)) if "training" not in self._border.ports else False
        if probe is not None or training and self.manifest.get("random") and not self._training:
            variant = probed(self, () if probe is None else probe, inputs, training or self._training)
            return variant.run(state=state, starts=starts, out=out, **inputs)
        if ragged.is_ragged(self._border, inputs):
            self._no_state(state, out)
            packed = ragged.pack(self._border, "run", inputs, starts)
            found = self.run(starts=packed.starts, **packed.values)
            return {name: packed.unpack(array, self._border.outputs[name].signal.per) for name, array in found.items()}
        call = self._call(inputs, state, "run", starts=starts, lot=(self.seed, self.draws))
        made, struct = self._border.results(call, out, kept(self, state))
        self._watched("run", call, state, starts, lambda _: self._run(call, state, struct), lambda: made)
        remember(self, "run", state, call, starts)
        return made

    def step(self, state: State = None, *unnamed, starts=None, out: dict | None = None, **inputs) -> dict:
        """One frame: arrays [B, ...], or [...] with one stream."""
        if starts is None and type(state) is State:
            made = again(self, "step", state, inputs, out)
            if made is not None:
                return made
        if unnamed:
            raise self._by_name("step")
        if not isinstance(state, State):
            raise InputError("state: step wants a state to advance; net.state(streams) makes one")
        ahead = self.manifest.get("lookahead")
        if ahead:
            raise InputError(f"step: {self.name} looks ahead: {ahead['signal']} is read before its frame has come"
                             f"{place(ahead.get('line'))}; use run on whole sequences")
        call = self._call(inputs, state, "step", starts=starts, step=True)
        made, struct = self._border.results(call, out, kept(self, state))

        def compute(s: State) -> None:
            work = self._workspace(("run", 1, call.streams))
            self._check(self._function("step")(self._pack(), s._pointer, call.struct, struct, call.streams, work,
                                               self._threads()), "step")
        self._watched("step", call, state, starts, compute, lambda: made)
        remember(self, "step", state, call, starts)
        return made

    def evaluate(self, *unnamed, state: State | None = None, starts=None, weight=None, **inputs) -> dict:
        """Loss and metrics, and `frames`: how many counted (their weight is not 0); where some of them are means over
        sequences, `sequences` as well."""
        if unnamed:
            raise self._by_name("evaluate")
        if ragged.is_ragged(self._border, inputs):
            self._no_state(state)
            packed = ragged.pack(self._border, "evaluate", inputs, starts, weight)
            return self.evaluate(starts=packed.starts, weight=packed.weight, **packed.values)
        names = self.manifest["scores"]
        function = self._function("evaluate")
        call = self._call(inputs, state, "evaluate", starts=starts, weight=weight, targets=True)
        scores = np.zeros(max(1, len(names)), self._dtype)
        pointer = self.module.ffi.from_buffer(f"{self.module.real}[]", scores)

        def compute(s: State) -> None:
            work, packed = self._workspace(("evaluate", call.frames, call.streams)), self._pack()
            self._check(tried(self, "evaluate", call, lambda threads: function(
                packed, s._pointer, call.struct, call.frames, call.streams, work, threads, pointer)), "evaluate")
        counted = {"frames": call.frames * call.streams if call.weight is None else int(np.count_nonzero(call.weight))}
        if self.manifest.get("per_sequence"):
            counted["sequences"] = int(np.count_nonzero(spans(call, starts)[1]))
        return self._watched("evaluate", call, state, starts, compute,
                             lambda: {**dict(zip(names, scores.tolist())), **counted})

    def backprop(self, *unnamed, state: State | None = None, starts=None, weight=None, accumulate: bool = False,
                 **inputs) -> float:
        """The loss; `gradient` is overwritten, or added to. `state` advances."""
        if unnamed:
            raise self._by_name("backprop")
        if starts is None and weight is None and accumulate is False and (state is None or type(state) is State):
            value = trained_again(self, state, inputs)
            if value is not None:
                return value
        if ragged.is_ragged(self._border, inputs):
            self._no_state(state)
            packed = ragged.pack(self._border, "backprop", inputs, starts, weight)
            return self.backprop(starts=packed.starts, weight=packed.weight, accumulate=accumulate, **packed.values)
        function = self._function("backprop")
        call = self._call(inputs, state, "backprop", starts=starts, weight=weight, targets=True,
                          accumulate=truth("accumulate", accumulate), lot=(self.seed, self.draws))
        loss = self.module.ffi.new(self._loss)
        if call.frames == 0 and not accumulate:
            self._weights.gradient.fill(0)

        def compute(s: State) -> None:
            with self._weights.lock:
                self._check(backwards(self, function, call, s, loss), "backprop")
        value = self._watched("backprop", call, state, starts, compute, lambda: float(loss[0]))
        self.draws += 1
        if accumulate is False and self.memory_limit is None:
            remember(self, "backprop", state, call, starts)
        return value

    def vjp(self, cotangents: dict = None, *unnamed, state: State | None = None, starts=None, accumulate: bool = False,
            **inputs) -> dict:
        """Gradient of sum(cotangent * output), plus the same for the outgoing state under "state": parameters' in
        `gradient`, real inputs' by name and the incoming state's ("state") in the result. `state` does not advance."""
        from rnnc.runtime.reverse import vjp
        if unnamed:
            raise self._by_name("vjp")
        return vjp(self, cotangents, state, starts, accumulate, inputs)

    # -------------------------------------------------------------------------------------------- files

    def save(self, path) -> None:
        """Parameters by name, with the graph's hash and rnnc's version (safetensors)."""
        from rnnc.runtime.storage import save
        save(self, path)

    def load(self, path, strict: bool = True, rename: dict | None = None) -> None:
        """Parameters by name. `rename`: name in the file -> name here. Not strict: what both sides have."""
        from rnnc.runtime.storage import load
        load(self, path, truth("strict", strict), rename)

    def __reduce_ex__(self, protocol):
        raise InputError("a net cannot be pickled or copied: net.save(path) keeps its parameters, and rnnc.compile "
                         "makes it again in a moment, from the cache")

    # -------------------------------------------------------------------------------------------- inside

    def _by_name(self, what: str) -> InputError:
        first = {"step": "state, ", "vjp": "cotangents, "}.get(what, "")
        wanted = ", ".join(f"{n}={n}" for n in self._border.ports)
        return InputError(f"{what}: signals come by name: net.{what}({first}{wanted})")

    def _function(self, name: str):
        found = self._functions.get(name) if name in self.manifest["functions"] or name == "step" else None
        if found is None:
            hints = {"backprop": "it was compiled with gradient=None, or has no loss",
                     "evaluate": "it has neither loss nor metric", "vjp": 'compile it with gradient="all"'}
            raise InputError(f"{self.name} has no {name}: {hints.get(name, 'it was compiled without')}")
        return found

    def _call(self, inputs: dict, state: State | None, what: str = "run", **more) -> Call:
        if "frames" in inputs and "frames" not in self._border.ports:
            more["frames"] = inputs.pop("frames")
        if state is not None:
            refuse_foreign(state, self.module)
        if self._probing:
            more["fill"] = True
        return self._border.gather(inputs, what, streams=None if state is None else state.streams, **more)

    def _run(self, call: Call, state: State | None, struct) -> None:
        work, packed = self._workspace(("run", call.frames, call.streams)), self._pack()
        name, given = ("run_fresh", ()) if state is None else ("run", (state._pointer,))
        self._check(tried(self, "run", call, lambda threads: self._functions[name](
            packed, *given, call.struct, struct, call.frames, call.streams, work, threads)), "run")

    def _watched(self, what: str, call: Call, state: State | None, starts, compute, answer):
        """Runs `compute` on the state, which nobody else may be using; looks at the numbers if asked to."""
        used = self._fresh(call.streams) if state is None else state
        with used._hold():
            if call.frames == 0:
                return answer()
            before = used.copy() if self.check_numbers else None
            if before is not None:
                from rnnc.runtime.finite import check_inputs
                check_inputs(self, call)
            compute(used)
            if before is not None:
                from rnnc.runtime.finite import check_results
                check_results(self, what, call, before, used, starts, answer())
            return answer()

    def _check(self, code: int, what: str) -> None:
        if code:
            self.module.check(code, what)

    def _no_state(self, state, out=None) -> None:
        if state is not None:
            raise InputError("state: a list of sequences starts each of them afresh; it cannot continue a state")
        if out is not None:
            raise InputError("out: results of a list of sequences are lists of fresh arrays")

    def _fresh(self, streams: int) -> State:
        state = getattr(self._local, "state", None)
        if state is None or state.streams != streams:
            state = self._local.state = State(self.module, streams)
        else:
            state.reset()
        return state

    def _bytes(self, program: str, frames: int, streams: int, segment: int | None = None) -> int:
        """What a call works in; `segment`: of backprop in segments of so many frames."""
        if segment is not None:
            return self.module.function("segments_workspace_size")(frames, streams, segment)
        return self.module.function("workspace_size_of")(PROGRAMS.index(program), frames, streams)

    def _workspace(self, asked: tuple):
        """Memory for one call (the arguments of `_bytes`), kept by each thread and grown on demand."""
        local = self._local
        if getattr(local, "asked", None) == asked:
            return local.work
        size = self._bytes(*asked)
        if getattr(local, "size", -1) < size:
            local.work = local.asked = None    # let go of the old one first; there may be no new one
            local.size = -1
            local.work, local.size = self.module.ffi.from_buffer(aligned(max(size, 64), np.uint8)), size
        local.asked = asked
        return local.work

    def _vector(self, vector: np.ndarray):
        """A flat vector as the C's P_weights."""
        return self.module.ffi.cast(self._vectors, self.module.ffi.from_buffer(vector))

    def _pack(self):
        """Packed weights, brought up to date."""
        if self._packed_version != self._weights.version:
            with self._packing:
                version = self._weights.version
                if self._packed_version != version:
                    self._check(self._packer(self._vector(self.theta), self._packed, between(self),
                                             self.module.ffi.NULL), "pack")
                    self._packed_version = version
        return self._packed

    def _threads(self) -> int:
        """0 leaves the choice to the planner in C."""
        return 1 if forked else self._wanted
