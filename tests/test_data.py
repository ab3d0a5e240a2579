"""Data: text, arrays, tables, sound; cutting into streams, holding out, order by seed."""

import sys
import wave
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError

sys.path.insert(0, str(Path(__file__).parent))
TEXT = "the quick brown fox jumps over the lazy dog.\n" * 8


def test_text_streams_are_contiguous_and_targets_one_character_on(tmp_path):
    path = tmp_path / "t.txt"
    path.write_text(TEXT)
    data = rnnc.data.text(path, streams=4, frames=16)
    length = (len(TEXT) - 1) // 4
    assert data.vocabulary == "".join(sorted(set(TEXT))) and data.length == length and data.streams == 4
    for s in range(4):
        part = TEXT[s * length:(s + 1) * length + 1]
        assert data.decode(data.signals["x"][:, s]) == part[:-1] and data.decode(data.signals["y"][:, s]) == part[1:]
    batches = [data.batch(0, i) for i in range(len(data))]
    assert (np.concatenate([b["x"] for b in batches]) == data.signals["x"]).all()
    assert batches[0]["x"].shape == (16, 4) and batches[0]["x"].flags.c_contiguous and batches[0]["x"].dtype == np.int32
    assert rnnc.data.text(TEXT, streams=4, frames=16).digest == data.digest
    assert rnnc.data.text(TEXT, streams=2, frames=16).digest != data.digest


def test_held_out_text_is_the_end_and_shares_the_vocabulary():
    data = rnnc.data.text(TEXT, streams=2, frames=8, held_out=0.25)
    assert data.held.vocabulary == data.vocabulary and data.held.streams == 2
    seen = data.decode(data.signals["x"].T) + data.decode(data.held.signals["x"].T)
    assert TEXT.startswith(data.decode(data.signals["x"][:, 0])) and len(seen) <= len(TEXT)
    assert TEXT[270:].startswith(data.held.decode(data.held.signals["x"][:, 0]))


def test_vocabulary_given():
    data = rnnc.data.text("ab\nba\n", streams=1, frames=2, vocabulary="\nba")
    assert data.encode("ab\n").tolist() == [2, 1, 0]
    for text, message in [("abc\n", r"'c' \(U\+0063\) is not in the vocabulary"), ("é\n\n", "U\\+00E9")]:
        with pytest.raises(InputError, match=message):
            rnnc.data.text(text, streams=1, vocabulary="\nba")
    with pytest.raises(InputError, match="no character comes twice"):
        rnnc.data.text("a\n", streams=1, vocabulary="aa")


def test_arrays_are_cut_in_streams():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10)
    starts = np.zeros(10)
    starts[[0, 7]] = 1
    data = rnnc.data.arrays({"x": x, "y": y}, streams=3, frames=2, starts=starts)
    assert data.length == 3 and data.signals["y"].tolist() == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert data.window(1, 3)["starts"].tolist() == [[0, 0, 1], [0, 0, 0]] and data.window(0, 2)["x"].shape == (2, 3, 2)
    assert len(data) == 2 and data.batch(0, 1)["y"].tolist() == [[2, 5, 8]]
    halves = rnnc.data.arrays({"y": y}, frames=2, held_out=0.3)
    assert halves.signals["y"][:, 0].tolist() == list(range(7))
    assert halves.held.signals["y"][:, 0].tolist() == [7, 8, 9]


def test_sequences_come_in_an_order_of_seed_and_epoch():
    make = lambda **more: rnnc.data.sequences({"y": [np.full(n + 1, n) for n in range(10)], "b": np.arange(10)}, 4,
                                              **more)
    data = make(seed=1)
    assert not data.carries and len(data) == 3 and data.total == 55
    seen = [n for i in range(3) for n in data.batch(0, i)["b"]]
    assert sorted(seen) == list(range(10)) and seen != list(range(10))
    assert [int(s[0]) for s in data.batch(0, 1)["y"]] == data.batch(0, 1)["b"].tolist()
    assert (make(seed=1).batch(3, 1)["b"] == data.batch(3, 1)["b"]).all()
    assert [n for i in range(3) for n in data.batch(1, i)["b"]] != seen
    assert make(shuffle=False).batch(5, 0)["b"].tolist() == [0, 1, 2, 3]
    split = make(held_out=0.2)
    assert split.count == 8 and split.held.count == 2 and not split.held.shuffle


def test_npz(tmp_path):
    path = tmp_path / "d.npz"
    np.savez(path, x=np.arange(12.0).reshape(6, 2), y=np.arange(6))
    data = rnnc.data.load(path, streams=2, frames=3)
    assert data.signals["x"].shape == (3, 2, 2) and data.frames == 3
    np.savez(path, x=np.arange(6.0), b=np.arange(2), lengths=np.array([4, 2]))
    data = rnnc.data.npz(path, batch=2, shuffle=False)
    assert [len(s) for s in data.batch(0, 0)["x"]] == [4, 2] and data.batch(0, 0)["b"].tolist() == [0, 1]
    np.savez(path, x=np.arange(6.0), lengths=np.array([4, 3]))
    with pytest.raises(InputError, match="x has 6 frames; `lengths` add up to 7"):
        rnnc.data.npz(path)
    path.write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a .npz"):
        rnnc.data.npz(path)
    with pytest.raises(InputError, match="No such file"):
        rnnc.data.npz(tmp_path / "none.npz")


def test_csv(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("x[0], x[1], y\n1, 2.5, 0\n3, 4, 1\n\n5, 6, 2\n")
    data = rnnc.data.load(path, frames=2)
    assert data.signals["x"][:, 0].tolist() == [[1, 2.5], [3, 4], [5, 6]] and data.signals["y"].dtype.kind == "i"
    path.write_text("M[1][0],M[0][0],M[0][1],M[1][1]\n3,1,2,4\n")
    assert rnnc.data.csv(path).signals["M"].tolist() == [[[[1, 2], [3, 4]]]]
    path.write_text("sequence,y\n0,1\n0,2\n1,3\n")
    data = rnnc.data.csv(path, batch=2, shuffle=False)
    assert [s.tolist() for s in data.batch(0, 0)["y"]] == [[1, 2], [3]]
    for text, message in [("x,y\n1,2\n3\n", ":3: 1 cells"), ("x,y,\n1,2,\n", ":1: column 3 of 3 has no name"),
                          ("x\n1\nabc\n", ":3: column x: 'abc' is not a number"),
                          ("x\n", "names in its first line"), ("x[0],x[2]\n1,2\n", r"columns of x are not x\[0\]"),
                          ("x[0][0],x[1][1]\n1,2\n", r"are not x\[0\]\[0\], x\[0\]\[1\], ..."),
                          ("x,x[0]\n1,2\n", r"columns of x are not"), ("x[0],x[0][1]\n1,2\n", r"columns of x are not"),
                          ("x[0],x[9999999999]\n1,2\n", r"columns of x are not"),
                          ("x,y,x\n1,2,3\n", "two columns are called x"), ("x[0],x[0]\n1,2\n", r"called x\[0\]")]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            rnnc.data.csv(path)


def test_values_per_sequence_in_a_table(tmp_path):
    """In all rows of a sequence, or in its first one."""
    path = tmp_path / "d.csv"
    for y in ("110022", "1 0 2 ", "1 002 "):
        path.write_text("sequence,x,y,a[0],a[1]\n" + "".join(
            f"{7 + n // 2},{n},{c.strip()},{n // 2},{'' if n % 2 else 0.5}\n" for n, c in enumerate(y)))
        data = rnnc.data.csv(path, batch=3, shuffle=False, per_sequence=["y", "a"])
        found = data.batch(0, 0)
        assert [v.tolist() for v in found["x"]] == [[0, 1], [2, 3], [4, 5]]
        assert found["y"].tolist() == [1, 0, 2] and found["y"].dtype.kind == "i"
        assert found["a"].tolist() == [[0, 0.5], [1, 0.5], [2, 0.5]]
    path.write_text("x,y\n1,3\n2,\n3,3\n4,\n")                     # one recording is one sequence
    data = rnnc.data.csv(path, frames=2, per_sequence="y")
    assert [data.batch(0, i)["y"].tolist() for i in range(2)] == [[3], [3]]
    for text, message in [
            ("sequence,y\n0,1\n0,2\n", "d.csv:3: column y: 2, but the sequence, which begins in line 2, has 1"),
            ("sequence,y[0],y[1]\n0,1,2\n1,3,4\n\n1,3,5\n", r"d.csv:5: column y\[1\]: 5, but .* in line 3, has 4"),
            ("sequence,y\n0,1\n1, \n1,2\n", "d.csv:3: column y: empty, where the sequence begins"),
            ("sequence,y\n0,1\n0,z\n", "d.csv:3: column y: 'z' is not a number"),
            ("sequence,x,y\n0,1,1\n0,,1\n", "d.csv:3: column x: '' is not a number"),
            ("sequence,x\n0,1\n", "d.csv: no column is called 'y'; there is x")]:
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            rnnc.data.csv(path, per_sequence=["y"])
    with pytest.raises(InputError, match="per_sequence: got 3, wanted the name of a signal, or a list of them"):
        rnnc.data.csv(path, per_sequence=3)


def test_numbers_of_a_table_that_no_integer_holds(tmp_path):
    path = tmp_path / "d.csv"
    path.write_text("x,y,z[²]\n1,1,1\ninf,1e300,2\n")
    found = rnnc.data.csv(path).signals
    assert found["x"].ravel().tolist() == [1, np.inf] and found["y"].ravel().tolist() == [1, 1e300]
    assert list(found) == ["x", "y", "z[²]"]


def test_files_of_another_kind_and_signals_that_differ_name_the_file(tmp_path, monkeypatch):
    """Without NumPy's advice to load Python objects, which would run what is in them."""
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("")
    for name in ("t.npz", "t.npy"):
        Path(name).write_text("some text\n")
    np.savez("o.npz", x=np.array([{}], object))
    np.savez("e.npz", x=np.zeros((9, 3)), y=np.zeros(8))
    np.save("x.npy", np.zeros(9))
    np.save("y.npy", np.zeros(8))
    load, differ = rnnc.data.load, "signals differ in frames: "
    advice = "; each has one value for every frame of the recording: cut them to one length, or leave out what is no "
    for act, said in [
            (lambda: rnnc.data.text("empty.txt"), "empty.txt: the file is empty"),
            (lambda: load("t.npz"), "t.npz: not a .npz of plain arrays (it is a file of another kind)"),
            (lambda: load({"x": "t.npy"}), "t.npy: not a .npy of plain numbers (it is a file of another kind)"),
            (lambda: load("o.npz"), "o.npz: not a .npz of plain arrays (it holds Python objects)"),
            (lambda: load("e.npz"), f"e.npz: {differ}{{'x': 9, 'y': 8}}{advice}signal"),
            (lambda: load({"x": "x.npy", "y": "y.npy"}),
             f"{differ}{{'x (x.npy)': 9, 'y (y.npy)': 8}}{advice}signal"),
            (lambda: load({"x": "x.npy"}, batch=2),
             "no argument of arrays is called 'batch'; there is signals, streams, frames, starts, held_out"),
            (lambda: rnnc.data.text("a\n", streams=1).decode([99]), "labels: 99 is not in 0..1")]:
        with pytest.raises(InputError) as caught:
            act()
        assert str(caught.value) == said


def test_damaged_arrays(tmp_path):
    path = tmp_path / "d.npz"
    np.savez_compressed(path, x=np.arange(1000.0))
    whole = path.read_bytes()
    for damaged in (whole[:300], whole[:-40], whole[:200] + b"\x77" * 40 + whole[240:]):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="d.npz: not a .npz of plain arrays"):
            rnnc.data.npz(path)
    np.save(tmp_path / "single.npy", np.zeros(3))
    (tmp_path / "single.npy").rename(path)
    with pytest.raises(InputError, match="a single array, a .npy"):
        rnnc.data.npz(path)


def test_a_sound_broken_off_within_a_frame_and_one_of_wide_samples(tmp_path):
    path = tmp_path / "s.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\1\0\2\0" * 10)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    assert rnnc.data.wav({"x": path}).signals["x"].shape == (8, 1, 2)
    path.write_bytes(whole[:34] + b"\x28\0" + whole[36:])
    with pytest.raises(InputError, match="samples of 40 bits"):
        rnnc.data.wav({"x": path})


@pytest.mark.parametrize("width,scale", [(1, 128), (2, 2**15), (3, 2**23), (4, 2**31)])
def test_wav(tmp_path, width, scale):
    values = np.array([0, 1, -1, scale - 1, -scale])
    raw = (values + 128).astype(np.uint8).tobytes() if width == 1 else b"".join(
        int(v).to_bytes(width, "little", signed=True) for v in values)
    for name in ("dry.wav", "wet.wav"):
        with wave.open(str(tmp_path / name), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(width)
            file.setframerate(8000)
            file.writeframes(raw)
    data = rnnc.data.load({"x": tmp_path / "dry.wav", "y": tmp_path / "wet.wav"}, frames=2)
    assert data.signals["x"].shape == (5, 1, 1) and np.allclose(data.signals["x"].ravel(), values / scale)
    for start, reason in ((b"RIFFxxxx", ""), (b"RIFF", " .it ends in its header.")):
        (tmp_path / "bad.wav").write_bytes(start)
        with pytest.raises(InputError, match=f"not a PCM .wav file{reason}"):
            rnnc.data.wav({"x": tmp_path / "bad.wav"})


@pytest.mark.parametrize("act,message", [
    (lambda: rnnc.data.text("a\n", streams=0), "streams: got 0, wanted a whole number of at least 1"),
    (lambda: rnnc.data.text("a\n", streams=3), "too short for 3 streams"),
    (lambda: rnnc.data.text("\n", streams=1), "a text of 1 character is too short: each character is followed by one"),
    (lambda: rnnc.data.text("/none"), "/none: No such file.*at least one newline"),
    (lambda: rnnc.data.text(3), "text: got 3, wanted a path"),
    (lambda: rnnc.data.text(TEXT, held_out=1), "held_out: 1 is not between 0 and 1"),
    (lambda: rnnc.data.arrays({"x": np.zeros(3), "y": np.zeros(4)}), "differ in frames"),
    (lambda: rnnc.data.arrays({"x": np.zeros(40), "y": np.zeros(39)}, held_out=0.1), "'x': 40, 'y': 39"),
    (lambda: rnnc.data.arrays({"x": np.zeros(3)}, streams=4), "3 frames are too few for 4 streams"),
    (lambda: rnnc.data.arrays({"x": np.zeros(3)}, held_out=0.1), "held_out: 0.1 of 3 frames is too little to score"),
    (lambda: rnnc.data.arrays({"x": np.zeros(3)}, starts=[0, 5, 9]), "starts: flags are 0 or 1; 5 stands at"),
    (lambda: rnnc.data.arrays({"x": np.zeros(3)}, starts=[1, 0]), r"^starts: got 2 flags, wanted one .* of 3 frames$"),
    (lambda: rnnc.data.arrays({}), "no signals"),
    (lambda: rnnc.data.arrays({"x": ["a"]}), "x: an array of numbers"),
    (lambda: rnnc.data.sequences({"x": [[1.5, 2], [3]], "y": [[1.5], [2]]}), "y: sequence 0 has 1 frames"),
    (lambda: rnnc.data.sequences({"x": np.zeros((3, 2))}), "lists of arrays"),
    (lambda: rnnc.data.sequences({"x": [np.zeros(2)] * 2}, held_out=0.1), "0.1 of 2 sequences is too little to score"),
    (lambda: rnnc.data.sequences({"x": [np.zeros(2)] * 2}, held_out=0.9), "0.9 of 2 sequences leaves none to learn"),
    (lambda: rnnc.data.sequences({"x": [np.zeros(2), np.zeros(0)]}), "x: sequence 1 has no frames"),
    (lambda: rnnc.data.load("x.bin"), "data comes from .npz or .csv"),
    (lambda: rnnc.data.load({"x": "a.mp3"}), "not .mp3"),
])
def test_refusals(act, message):
    with pytest.raises(InputError, match=message):
        act()


def test_an_npz_without_arrays_is_named(tmp_path):
    np.savez(tmp_path / "e.npz")
    with pytest.raises(InputError, match="e.npz: it holds no arrays"):
        rnnc.data.npz(tmp_path / "e.npz")
