"""Training: windows of data through backprop and an optimiser, stoppable and resumable at every update.

BPTT(window, step), Williams & Peng 1990: an update takes `step` new frames and looks back over `window`. The state at
the window's start is kept; the window's frames are computed again with today's weights, the first window - step of
them with weight 0. With window = step (the default: the data's `frames`) nothing is computed twice.
"""

import contextlib
import json
import signal
import threading
import time
from dataclasses import asdict, dataclass, field

import numpy as np

from rnnc.errors import InputError, NumberError
from rnnc.runtime import checkpoint as files
from rnnc.runtime.checkpoint import Checkpoint
from rnnc.runtime.net import Net
from rnnc.runtime.progress import Bar, History
from rnnc.runtime.score import conform, evaluate, unit_of
from rnnc.runtime.storage import takes_files
from rnnc.runtime.wanted import asked, mapping, number, path, truth, whole
from rnnc.runtime.words import said

CURVE = 100                                    # points of the curve per epoch


@dataclass
class Position:
    """How far a run is: all of it that is no array. Saved in checkpoints as it is."""

    epoch: int = 0
    index: int = 0                             # updates done in this epoch
    updates: int = 0
    frames: int = 0                            # counted ones, since the beginning
    epoch_loss: float = 0.0                    # sum of loss * frames, or sequences if the loss is a mean over these
    epoch_frames: int = 0
    point_loss: float = 0.0                    # the same since the last point of the curve
    point_frames: int = 0
    draws: int = 0                             # of random operators,
    seed: int | None = None                    # from which they are drawn
    best: float | None = None                  # lowest validation loss
    rows: list = field(default_factory=list)
    curve: list = field(default_factory=list)


def no_number(loss: float, update: int, batch: dict) -> NumberError:
    """Why a loss may be none, and what to do: the data of the update themselves, or what was learned of them."""
    what = f"the loss is {loss} in update {update}; "
    for name, values in batch.items():
        for value in values if isinstance(values, list) else [values]:
            value = np.asarray(value)
            if value.dtype.kind == "f" and not np.isfinite(value).all():
                found = value[~np.isfinite(value)][0]
                return NumberError(f"{what}its data hold {found} in {name}: mend them, or put a number there and give "
                                   "the frame weight 0", typed=", in an array `weight` beside it")
    where = "check_numbers=True when compiling, which tells where it began"
    return NumberError(what, f"try a lower learning rate or clip_norm, or {where}",
                       f"try a lower --lr or --clip-norm, or, in Python, {where}")


@asked
def fit(net, data, opt, epochs: int = 1, *, window: int | None = None, step: int | None = None, validate=None,
        checkpoint=None, resume: bool = True, progress: bool | None = None, every: float = 60.0,
        callback=None, notes: dict | None = None) -> History:
    """Trains `net` on `data` (rnnc.data) with `opt` until `epochs` epochs are done; returns the history.

    validate    data to score after every epoch
    checkpoint  a folder; written every `every` seconds and after every epoch, and on Ctrl-C
    resume      continue from the checkpoint if there is one
    callback    called with each epoch's row; notes: facts of yours, kept in the checkpoint
    """
    run = Run(net, data, opt, epochs, window, step, validate, checkpoint, notes)
    every = number("every", every, 0)
    if progress is not None:
        truth("progress", progress)
    if callback is not None and not callable(callback):
        raise InputError(f"callback: {said(callback)}, wanted a function of one row")
    if truth("resume", resume) and checkpoint is not None and files.exists(checkpoint):
        run.restore(Checkpoint.read(checkpoint))
    with Interrupts() as interrupts:
        return run.all(progress, every, callback, interrupts)


class Run:
    """One training run."""

    def __init__(self, net, data, opt, epochs, window, step, validate, checkpoint, notes):
        if not isinstance(net, Net):
            raise InputError(f"net: {said(net)}; rnnc.compile makes one")
        if not offers(opt, "step", "state_dict", "load_state_dict"):
            raise InputError(f"opt: {said(opt)}; an optimiser is wanted, such as rnnc.Adam(net)")
        if getattr(opt, "net", net) is not net:
            raise InputError("opt: it was made for another net")
        for name, given in (("data", data), ("validate", validate)):
            if given is None and name == "validate":
                continue
            if not offers(given, "batch", "carries", "total"):
                raise InputError(f"{name}: {said(given)}; rnnc.data makes it (text, arrays, sequences, ...): for "
                                 "arrays of your own rnnc.data.arrays({'x': x, 'y': y}, streams=..., frames=...)")
        self.net, self.data, self.opt, self.epochs = net, data, opt, whole("epochs", epochs, 1)
        self.validate, self.folder = validate, None if checkpoint is None else path("checkpoint", checkpoint)
        if self.folder is not None:            # told now, not at the first checkpoint
            try:
                takes_files(self.folder)
            except OSError as fault:
                raise InputError(f"checkpoint: no file can be made in {fault.filename}: {fault.strerror}") from None
        self.notes = mapping("notes", notes, "name to fact") if notes is not None else {}
        try:
            json.dumps(self.notes)
        except (TypeError, ValueError) as fault:
            raise InputError(f"notes: they are kept as JSON, which cannot hold them ({fault})") from None
        self.window, self.step = spans(window, step, data)
        self.per_epoch = -(-data.length // self.step) if data.carries else len(data)
        self.at = Position()
        self.state = None

    # -------------------------------------------------------------------------------------------- the loop

    def all(self, progress, every: float, callback, interrupts) -> History:
        bar = Bar(progress, self.data.total * self.epochs, self.at.frames, self.epochs)
        saved = began = time.monotonic()
        seen = self.at.frames
        try:
            while self.at.epoch < self.epochs:
                if self.at.index == 0 and self.data.carries:
                    self.state = self.net.state(self.data.streams)
                if self.at.index < self.per_epoch:
                    frames, loss = self.update()
                    bar.tell(frames, self.at.epoch, loss)
                if self.at.index >= self.per_epoch:
                    row = self.finish_epoch(time.monotonic() - began, self.at.frames - seen)
                    began, seen = time.monotonic(), self.at.frames
                    self.save()
                    saved = time.monotonic()
                    if callback is not None:
                        callback(row)
                if interrupts.pending:
                    self.save()
                    raise KeyboardInterrupt
                if time.monotonic() - saved > every:
                    self.save()
                    saved = time.monotonic()
        finally:
            bar.close()
        return History(self.at.rows, self.at.curve)

    def update(self) -> tuple[int, float]:
        """One step of the optimiser: frames counted, loss."""
        at, net = self.at, self.net
        if self.data.carries:
            batch, frames, loss = self.window_update(at.index * self.step)
        else:
            batch = conform(self.data.batch(at.epoch, at.index), net)
            frames = sum(self.data.lengths[i] for i in self.data.chosen(at.epoch, at.index))
            loss = net.backprop(**batch)
        if not np.isfinite(loss):
            raise no_number(loss, at.updates + 1, batch)
        self.opt.step()
        at.index, at.updates, at.draws, at.seed = at.index + 1, at.updates + 1, net.draws, net.seed
        counts = frames
        if not self.data.carries and unit_of("loss", net.manifest.get("per_sequence") or ()) == "sequences":
            counts = len(self.data.chosen(at.epoch, at.index - 1))
        at.frames += frames
        at.epoch_frames, at.point_frames = at.epoch_frames + counts, at.point_frames + counts
        at.epoch_loss += loss * counts
        at.point_loss += loss * counts
        if at.index % max(1, self.per_epoch // CURVE) == 0:
            at.curve.append([at.updates, at.frames, at.point_loss / at.point_frames])
            at.point_loss, at.point_frames = 0.0, 0
        return frames, loss

    def window_update(self, new: int) -> tuple[dict, int, float]:
        """The window that ends with the `step` frames from `new` on: its arrays, the frames counted, the loss."""
        data, net = self.data, self.net
        first, last = max(0, new + self.step - self.window), min(new + self.step, data.length)
        counted = (last - new) * data.streams
        batch = conform(data.window(first, last), net)
        if first == new and self.window == self.step:
            return batch, counted, net.backprop(state=self.state, **batch)
        weight = np.ones((last - first, data.streams), net.dtype) * batch.pop("weight", 1)
        weight[:new - first] = 0
        loss = net.backprop(state=self.state.copy(), weight=weight, **batch)
        following = max(0, new + 2 * self.step - self.window)
        if following > first:                  # where the next window starts, still with the weights of this one
            net.evaluate(state=self.state, **conform(data.window(first, following), net))
        return batch, counted, loss

    def finish_epoch(self, seconds: float, frames: int) -> dict:
        at = self.at
        row = {"epoch": at.epoch + 1, "updates": at.updates, "frames": at.frames,
               "loss": at.epoch_loss / max(1, at.epoch_frames)}
        if self.validate is not None:
            scores = evaluate(self.net, self.validate)
            row |= {f"validation {name}": value for name, value in scores.items()
                    if name not in ("frames", "sequences")}
            if self.folder is not None and "loss" in scores and (at.best is None or scores["loss"] < at.best):
                at.best = scores["loss"]
                self.net.save(self.folder / "best.safetensors")
        row |= {"seconds": seconds, "frames per second": frames / seconds if seconds > 0 else 0.0}
        at.rows.append(row)
        at.epoch, at.index, at.epoch_loss, at.epoch_frames = at.epoch + 1, 0, 0.0, 0
        at.point_loss, at.point_frames = 0.0, 0
        self.state = None
        return row

    # -------------------------------------------------------------------------------------------- checkpoints

    def identity(self) -> dict:
        """What has to agree for a run to go on."""
        return {"graph": self.net.manifest.get("program_hash"), "dtype": str(self.net.dtype), "data": self.data.digest,
                "optimiser": type(self.opt).__name__, "window": self.window, "step": self.step}

    def save(self) -> None:
        if self.folder is None:
            return
        vectors, numbers = self.opt.state_dict()
        record = {"identity": self.identity(), "position": asdict(self.at), "optimiser": numbers, "notes": self.notes,
                  "vocabulary": getattr(self.data, "vocabulary", None), "version": self.net.manifest.get("version")}
        state = None if self.state is None else self.state.to_arrays()
        Checkpoint(dict(self.net.parameters), vectors, state, record).write(self.folder)

    def restore(self, found: Checkpoint) -> None:
        mine, theirs = self.identity(), found.record["identity"]
        words = {"graph": "network", "dtype": "number type", "data": "data", "optimiser": "optimiser"}
        wrong = [words.get(key, key) for key in mine if mine[key] != theirs.get(key)]
        if wrong:
            raise InputError(f"checkpoint: {self.folder} holds a run with another {', '.join(wrong)}",
                             "; resume=False begins anew there", "; --checkpoint names another folder")
        self.opt.load_state_dict(found.optimiser, found.record["optimiser"])
        self.net.parameters = found.parameters
        self.at = Position(**found.record["position"])
        self.net.draws = self.at.draws
        self.net.seed = self.net.seed if self.at.seed is None else self.at.seed
        if found.state is not None and self.data.carries:
            self.state = self.net.state(self.data.streams)
            self.state.from_arrays(found.state)


def offers(thing, *parts: str) -> bool:
    """Whether it can be used as training does; a class of its own will do."""
    return not isinstance(thing, type) and all(hasattr(thing, part) for part in parts)


def spans(window: int | None, step: int | None, data) -> tuple[int | None, int | None]:
    """Window and step in frames, from what was given and the data's own; whole sequences have neither."""
    window, step = (None if n is None else whole(name, n, 1) for name, n in (("window", window), ("step", step)))
    if not data.carries:
        if window is not None or step is not None:
            raise InputError("window, step: whole sequences are trained at once; these are for continuous streams")
        return None, None
    window = window or step or data.frames
    step = step or window
    if step > window:
        raise InputError(f"step: {step} new frames do not fit in a window of {window}")
    return window, step


class Interrupts:
    """Ctrl-C is noted and waits for the end of the update; a second one does not wait."""

    def __enter__(self) -> "Interrupts":
        self.pending, self.before = False, None
        if threading.current_thread() is threading.main_thread():
            with contextlib.suppress(ValueError):
                self.before = signal.signal(signal.SIGINT, self.note)
        return self

    def note(self, number, frame) -> None:
        if self.pending:
            raise KeyboardInterrupt
        self.pending = True

    def __exit__(self, *fault) -> None:
        if self.before is not None:
            signal.signal(signal.SIGINT, self.before)
