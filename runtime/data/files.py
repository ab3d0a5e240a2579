"""Arrays, tables and sound, from memory and from files, by the names of the signals they feed."""

import csv as tables
import os
import re
import wave
import zipfile
import zlib
from math import prod

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.arrays import flags
from rnnc.runtime.data.batches import Sequences, Streams, cut, fraction, parted, shared_length
from rnnc.runtime.wanted import asked, mapping, names
from rnnc.runtime.wanted import path as as_path
from rnnc.runtime.words import listed, unknown


class Filed(dict):
    """Signals by name, and the file that they come from, or a dict of one for each."""

    def __init__(self, signals: dict, source):
        super().__init__(signals)
        self.source = source


@asked
def arrays(signals: dict, streams: int = 1, frames: int = 64, *, starts=None, held_out: float = 0.0) -> Streams:
    """One recording, arrays [N, ...] by signal, cut into streams. `starts` [N] marks where sequences begin in it; a
    signal that has as many values as there are sequences (one more than starts after the first frame), or a list of
    lists of labels, has one for each of these."""
    source = getattr(signals, "source", None)
    signals = {name: value if isinstance(value, (list, tuple)) else _array(name, value)
               for name, value in mapping("signals", signals, "signal to array").items()}
    if not signals:
        raise InputError("no signals")
    begins = None if starts is None else flags(_array("starts", starts), "starts")
    if begins is not None and begins.ndim != 1:
        raise InputError(f"starts: got shape {list(begins.shape)}, wanted one 0 or 1 per frame")
    length = max(len(value) for value in signals.values())
    if not length:
        raise InputError("signals: they have no frames")
    if begins is not None and len(begins) != length:
        raise InputError(f"starts: got {len(begins)} flags, wanted one 0 or 1 for each of {length} frames")
    number = np.zeros(length, np.int64) if begins is None else np.cumsum(np.concatenate([[0], begins[1:]]))
    count = int(number[-1]) + 1
    lists = lambda value: isinstance(value, (list, tuple)) and not np.isscalar(value[0])
    each = {name: _lists(name, value) if lists(value) else _array(name, value)
            for name, value in signals.items() if len(value) == count != length}
    given = {name: _array(name, value) for name, value in signals.items() if name not in each}
    if begins is not None:
        given[BEGINS] = begins
    if each:
        given[NUMBER] = number
    length = shared_length(given, source)
    split = parted(length, int(length * fraction(held_out)), held_out, "frames")
    held = None
    if held_out:
        rest = {name: a[split:] for name, a in given.items()}
        held = _streams(rest, max(1, min(streams, (length - split) // frames)), frames, None, each)
    train = {name: a[:split] for name, a in given.items()} if held_out else given
    return _streams(train, streams, frames, held, each)


BEGINS, NUMBER = "starts of sequences", "number of the sequence"      # no signal is called so


def _streams(signals: dict[str, np.ndarray], streams: int, frames: int, held, per_sequence: dict) -> Streams:
    parts = cut(signals, streams)
    starts, number = parts.pop(BEGINS, None), parts.pop(NUMBER, None)
    return Streams(parts, frames, starts, held, per_sequence, number)


def _lists(name: str, value) -> list[np.ndarray]:
    """Lists of labels; an empty one has no kind of number of its own."""
    made = [_array(f"{name}[{i}]", v) for i, v in enumerate(value)]
    return [a if a.size else a.astype(np.int32) for a in made]


@asked
def sequences(signals: dict, batch: int = 16, *, shuffle: bool = True, seed: int = 0,
              held_out: float = 0.0) -> Sequences:
    """Lists of arrays [T, ...] by signal; a signal with one value per sequence is an array, or a list of lists of
    labels, which may have any lengths. The last ones are held out."""
    signals = mapping("signals", signals, "signal to a list of arrays")
    given = {name: _lists(name, value) if isinstance(value, (list, tuple)) else _array(name, value)
             for name, value in signals.items()}
    if not given:
        raise InputError("no signals")
    count = len(next(iter(given.values())))
    split = parted(count, round(count * fraction(held_out)), held_out, "sequences")
    held = None
    if held_out:
        held = Sequences({n: v[split:] for n, v in given.items()}, batch, False)
        given = {n: v[:split] for n, v in given.items()}
    return Sequences(given, batch, shuffle, seed, held)


@asked
def npz(path, streams: int = 1, frames: int = 64, *, batch: int = 16, shuffle: bool = True, seed: int = 0,
        held_out: float = 0.0) -> Streams | Sequences:
    """One array per signal. With an array `lengths` in it they hold sequences of these lengths end to end (or one value
    for each); without, one recording; `starts` marks where sequences begin in it. Lists of labels stand end to end,
    with an array `NAME_lengths` of the number of labels in each."""
    try:
        found = unpacked(as_path("path", path))
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror or fault}") from None
    except DAMAGE as fault:
        raise InputError(f"{path}: not a .npz of plain arrays ({_reason(fault)})") from None
    if not found:
        raise InputError(f"{path}: it holds no arrays")
    for name, value in found.items():
        _array(f"{path}: {name}", value)
    lengths, starts = found.pop("lengths", None), found.pop("starts", None)
    found |= {name: _split(path, name, found[name], found.pop(f"{name}_lengths"))
              for name in list(found) if f"{name}_lengths" in found}
    if lengths is None:
        return arrays(Filed(found, path), streams, frames, starts=starts, held_out=held_out)
    return sequences(_apart(path, found, lengths), batch, shuffle=shuffle, seed=seed, held_out=held_out)


# What NumPy raises for a file that is no .npz, or of which something is gone.
DAMAGE = (ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error, NotImplementedError)


def unpacked(path) -> dict[str, np.ndarray]:
    """Every array of a .npz."""
    file = np.load(path, allow_pickle=False)
    if isinstance(file, np.ndarray):
        raise ValueError("it is a single array, a .npy")
    with file:
        return {name: file[name] for name in file.files}


def names_in(source) -> list[str]:
    """The signals of a .npz, or of a file for each, before anything is read; none where these do not tell."""
    if isinstance(source, dict):
        return list(source)
    try:
        with zipfile.ZipFile(source) as file:
            found = [name.removesuffix(".npy") for name in file.namelist()]
    except (OSError, *DAMAGE):                 # a table; or what is wrong is told where it is read
        return []
    lists = [f"{name}_lengths" for name in found]
    return [name for name in found if name not in ("lengths", "starts", *lists)]


def _reason(fault: Exception) -> str:
    """What NumPy says, without its advice to load such a file all the same, which would run what is in it."""
    if "allow_pickle" not in str(fault):
        return str(fault)
    return "it holds Python objects" if str(fault).startswith("Object arrays") else "it is a file of another kind"


def _split(path, name: str, array: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Lists that stand end to end."""
    counts = lengths.ndim == 1 and lengths.dtype.kind in "iu" and lengths.min(initial=0) >= 0
    if not counts or lengths.sum() != len(array):
        raise InputError(f"{path}: `{name}_lengths` has to be a list of whole numbers that add up to {len(array)}")
    return np.split(array, np.cumsum(lengths)[:-1])


def _apart(path, signals: dict[str, np.ndarray], lengths: np.ndarray) -> dict:
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or not len(lengths) or lengths.min() < 1:
        raise InputError(f"{path}: `lengths` has to be a list of positive whole numbers")
    ends, total = np.cumsum(lengths), int(lengths.sum())
    made = {}
    for name, array in signals.items():
        if isinstance(array, list) or len(array) == len(lengths) != total:
            made[name] = array
        elif len(array) == total:
            made[name] = np.split(array, ends[:-1])
        else:
            raise InputError(f"{path}: {name} has {len(array)} frames; `lengths` add up to {total}")
    return made


@asked
def csv(path, streams: int = 1, frames: int = 64, *, batch: int = 16, shuffle: bool = True, seed: int = 0,
        held_out: float = 0.0, per_sequence=()) -> Streams | Sequences:
    """A table with names in its first line: `x` is a scalar signal, `x[0]`, `x[1]`, ... are the units of a vector,
    `x[0][0]`, `x[0][1]`, ... those of a matrix. A column `sequence` numbers the sequences; without it the table is one
    recording. Signals named in `per_sequence` have one value for each sequence, in all of its rows, or in the first
    while the others are empty."""
    found, each, begins = _table(path, names("per_sequence", per_sequence, "signal"))
    if begins is None:
        return arrays(found | each, streams, frames, held_out=held_out)
    return sequences({n: np.split(a, begins[1:]) for n, a in found.items()} | each, batch, shuffle=shuffle, seed=seed,
                     held_out=held_out)


UNIT = re.compile(r"(.+?)((?:\[[0-9]+])+)")    # a column for one of the units of a vector or matrix
SEQUENCE = "sequence"                          # the column that numbers the sequences
EXACT = 2.0**53                                # whole numbers below are told from their neighbours


def _table(path, per_sequence: list[str]) -> tuple[dict, dict, np.ndarray | None]:
    """Signals by frame; those of whole sequences; the first rows of the sequences, None for one recording."""
    try:
        with open(as_path("path", path), newline="", encoding="utf-8-sig") as file:
            rows = tables.reader(file)
            header = [name.strip() for name in next(rows, [])]
            lines = [(rows.line_num, row) for row in rows if row]
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror or fault}") from None
    except (UnicodeDecodeError, tables.Error) as fault:
        raise InputError(f"{path}: not a table ({fault})") from None
    if not header or not lines:
        raise InputError(f"{path}: a table has names in its first line and numbers below")
    for number, row in lines:
        if len(row) != len(header):
            raise InputError(f"{path}:{number}: {len(row)} cells, but the first line names {len(header)}")
    groups = _columns(path, header)
    for name in per_sequence:
        if name == SEQUENCE or name not in groups:
            raise InputError(f"{path}: {unknown('column', name, [n for n in groups if n != SEQUENCE])}")
    whole = [column for name in per_sequence for column in groups[name].ravel()]
    empty = {column: np.array([not row[column].strip() for _, row in lines]) for column in whole}
    for _, row in lines:
        for column in whole:
            row[column] = row[column].strip() or "nan"
    try:
        values = np.array([row for _, row in lines], dtype=np.float64)
    except ValueError:
        number, name, cell = next((n, name, c) for n, row in lines for name, c in zip(header, row) if not _number(c))
        raise InputError(f"{path}:{number}: column {name}: {cell!r} is not a number") from None
    sequence = values[:, groups.pop(SEQUENCE).flat[0]] if SEQUENCE in groups else None
    begins = np.concatenate([[0], [] if sequence is None else np.flatnonzero(np.diff(sequence)) + 1]).astype(np.int64)
    for column in whole:
        _once(f"column {header[column]}", path, lines, values[:, column], empty[column], begins)
    framed, each = {}, {}
    for name, columns in groups.items():
        into, rows = (each, values[begins]) if name in per_sequence else (framed, values)
        into[name] = rows[:, columns] if columns.ndim else _whole(rows[:, columns])
    return framed, each, None if sequence is None else begins


def _columns(path, header: list[str]) -> dict[str, np.ndarray]:
    """The columns of each signal, in its shape."""
    groups: dict[str, dict[tuple[int, ...], int]] = {}
    for column, name in enumerate(header):
        if not name:                           # most often what follows a comma at the end of the line
            raise InputError(f"{path}:1: column {column + 1} of {len(header)} has no name")
        found = UNIT.fullmatch(name)
        base, unit = (found[1], tuple(map(int, found[2][1:-1].split("][")))) if found else (name, ())
        if unit in groups.setdefault(base, {}):
            raise InputError(f"{path}: two columns are called {name}")
        groups[base][unit] = column
    made = {}
    for base, units in groups.items():
        last = max(units)
        shape = tuple(i + 1 for i in last)
        if prod(shape) != len(units) or sorted(units) != list(np.ndindex(shape)):
            first = "[0]" * max(1, len(last))
            raise InputError(f"{path}: the columns of {base} are not {base}{first}, {base}{first[:-2]}1], ...")
        made[base] = np.array([units[unit] for unit in sorted(units)]).reshape(shape)
    return made


def _once(name: str, path, lines, values: np.ndarray, empty: np.ndarray, begins: np.ndarray) -> None:
    """Refuses a column whose sequences have no value in their first row, or another one further down."""
    for first, end in zip(begins, [*begins[1:], len(values)]):
        number = lines[first][0]
        if empty[first]:
            raise InputError(f"{path}:{number}: {name}: empty, where the sequence begins; one value per sequence "
                             "stands in its first row")
        mine = values[first:end]
        other = ~empty[first:end] & (mine != mine[0]) & ~(np.isnan(mine) & np.isnan(mine[0]))
        if other.any():
            at = first + int(np.argmax(other))
            raise InputError(f"{path}:{lines[at][0]}: {name}: {values[at]:g}, but the sequence, which begins in line "
                             f"{number}, has {mine[0]:g}: one value per sequence is wanted")


def _whole(column: np.ndarray) -> np.ndarray:
    """As integers, if they are."""
    exact = np.all((column == np.floor(column)) & (abs(column) < EXACT))     # an infinity is its own floor
    return column.astype(np.int64) if exact else column


def _number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


@asked
def wav(paths: dict, streams: int = 1, frames: int = 512, *, held_out: float = 0.0) -> Streams:
    """Sound by signal, `{"x": "dry.wav", "y": "wet.wav"}`: numbers in -1..1, [N, channels]. All end with the
    shortest; rates have to agree."""
    found, rates = {}, {}
    for name, path in mapping("paths", paths, "signal to path").items():
        found[name], rates[name] = read_wav(path)
    if len(set(rates.values())) > 1:
        raise InputError(f"the sounds differ in rate: {rates}")
    if not found:
        raise InputError("no signals")
    shortest = min(len(a) for a in found.values())
    return arrays({n: a[:shortest] for n, a in found.items()}, streams, frames, held_out=held_out)


def read_wav(path) -> tuple[np.ndarray, int]:
    """Samples [N, channels] as float32 in -1..1, and the rate."""
    try:
        with wave.open(os.fspath(as_path("path", path)), "rb") as file:
            channels, width, rate = file.getnchannels(), file.getsampwidth(), file.getframerate()
            raw = file.readframes(file.getnframes())
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror or fault}") from None
    except (wave.Error, EOFError) as fault:
        raise InputError(f"{path}: not a PCM .wav file ({str(fault) or 'it ends in its header'})") from None
    if width > 4:
        raise InputError(f"{path}: samples of {8 * width} bits; 8, 16, 24 and 32 are read")
    raw = raw[:len(raw) - len(raw) % (channels * width)]         # a recording broken off within a frame
    match width:
        case 1:
            samples = (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / 128
        case 3:
            bytes_ = np.frombuffer(raw, np.uint8).reshape(-1, 3).astype(np.int32)
            value = bytes_[:, 0] | bytes_[:, 1] << 8 | bytes_[:, 2] << 16
            samples = ((value ^ 0x800000) - 0x800000).astype(np.float32) / 2**23
        case _:
            samples = np.frombuffer(raw, f"<i{width}").astype(np.float32) / 2 ** (8 * width - 1)
    return samples.reshape(-1, channels), rate


READERS = {".npz": npz, ".csv": csv}


@asked
def load(source, **options) -> Streams | Sequences:
    """A file by its ending: .npz, .csv. Or a dict from signal to file, each .npy or .wav."""
    if isinstance(source, dict):
        source = {name: as_path(name, p) for name, p in mapping("source", source, "signal to path").items()}
        endings = {p.suffix.lower() for p in source.values()}
        if endings == {".wav"}:
            return wav(source, **options)
        if endings <= {".npy", ".wav"}:
            found = {n: read_wav(p)[0] if p.suffix.lower() == ".wav" else _npy(p) for n, p in source.items()}
            return arrays(Filed(found, source), **options)
        raise InputError(f"signals come from .wav or .npy files, not {listed(sorted(endings - {'.wav', '.npy'}))}")
    reader = READERS.get(as_path("source", source).suffix.lower())
    if reader is None:
        raise InputError(f"{source}: data comes from .npz or .csv", " (text: rnnc.data.text; sound: rnnc.data.wav)",
                         " (--text takes a text, --set one .npy or .wav for each signal)")
    return reader(source, **options)


def _npy(path) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except OSError as fault:
        raise InputError(f"{path}: {fault.strerror or fault}") from None
    except (ValueError, EOFError) as fault:
        raise InputError(f"{path}: not a .npy of plain numbers ({_reason(fault)})") from None
    return _array(str(path), found)


def _array(name: str, value) -> np.ndarray:
    try:
        array = np.asarray(value)
    except (ValueError, TypeError):
        raise InputError(f"{name}: this is not an array; several sequences are rnnc.data.sequences") from None
    if array.ndim == 0 or array.dtype.kind not in "fiub":
        raise InputError(f"{name}: an array of numbers with an axis of frames is wanted")
    return array
