"""Training: windows, checkpoints, resuming bit for bit from any moment, Ctrl-C, histories."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import rnnc
from rnnc.errors import InputError, NumberError
from rnnc.runtime.checkpoint import FILE, Checkpoint, load_parameters
from rnnc.runtime.score import evaluate

sys.path.insert(0, str(Path(__file__).parent))
from handmade.tiny import inputs, tiny  # noqa: E402


class Recording(rnnc.data.Streams):
    """The tiny net's signals; its input per sequence is the same in every window."""

    def window(self, first, last):
        return {**super().window(first, last), "b": np.full((self.streams, 3), 0.1)}


def recording(frames=50, streams=3, window=8, seed=0):
    batch = inputs(frames, streams, seed)
    batch.pop("b")
    return Recording(batch, window)


def lists(count=10, seed=0):
    made = [inputs(2 + i % 5, 1, seed + i) for i in range(count)]
    return rnnc.data.sequences({k: [m[k][:, 0] for m in made] for k in "xkmy"}
                               | {"b": np.concatenate([m["b"] for m in made])}, batch=4)


def numbers(history):
    """What has to be the same however often training was stopped."""
    return [{k: v for k, v in row.items() if "second" not in k} for row in history], history.curve


def test_history_and_validation():
    net, seen = tiny(), []
    data, held = recording(), recording(seed=1)
    history = rnnc.fit(net, data, rnnc.Adam(net, 0.02), epochs=3, validate=held, callback=seen.append)
    assert len(history) == 3 and history["loss"][2] < history["loss"][0] and seen == history.rows
    assert history["validation loss"][-1] == evaluate(net, held)["loss"]
    with pytest.raises(InputError, match="no column of the history is called 'validation'; did you mean 'validation l"):
        history["validation"]
    assert history.rows[0]["frames"] == 150 and history.rows[0]["updates"] == 7 and len(history.curve) == 21
    assert "validation accuracy" in str(history) and "validation loss" in history.columns()


def test_the_default_is_truncation_with_the_state_carried_on():
    one, two = tiny(), tiny()
    data = recording()
    rnnc.fit(one, data, rnnc.SGD(one, 0.1), epochs=2)
    opt = rnnc.SGD(two, 0.1)
    for _ in range(2):
        state = two.state(3)
        for i in range(len(data)):
            two.backprop(state=state, **data.batch(0, i))
            opt.step()
    assert (one.theta == two.theta).all()


def test_window_and_step():
    """Against the definition: the state at the window's start is kept, the front of the window has weight 0."""
    one, two = tiny(), tiny()
    data = recording(frames=23)
    rnnc.fit(one, data, rnnc.SGD(one, 0.1), epochs=1, window=8, step=3)
    opt = rnnc.SGD(two, 0.1)
    states = {0: two.state(3)}
    for new in range(0, 23, 3):
        first, last = max(0, new + 3 - 8), min(new + 3, 23)
        weight = np.zeros((last - first, 3))
        weight[new - first:] = 1
        two.backprop(state=states[first].copy(), weight=weight, **data.window(first, last))
        following = max(0, new + 6 - 8)
        if following > first:
            states[following] = states[first].copy()
            two.evaluate(state=states[following], **data.window(first, following))
        opt.step()
    assert (one.theta == two.theta).all()


def test_whole_sequences_are_trained_from_a_fresh_start():
    net, data = tiny(), lists()
    history = rnnc.fit(net, data, rnnc.Adam(net, 0.02), epochs=4, validate=data)
    assert history["validation loss"][-1] < history["validation loss"][0] and history.rows[0]["frames"] == data.total
    with pytest.raises(InputError, match="whole sequences"):
        rnnc.fit(net, data, rnnc.Adam(net), window=3)


class Stop(Exception):
    pass


class StopAfter:
    """An optimiser that stops the run in the middle of nowhere, after some updates."""

    def __init__(self, opt, updates):
        self.opt, self.left, self.net = opt, updates, opt.net
        self.__class__.__name__ = type(opt).__name__

    def __getattr__(self, name):
        return getattr(self.opt, name)

    def step(self):
        if self.left == 0:
            raise Stop
        self.left -= 1
        self.opt.step()


@pytest.mark.parametrize("make,options", [(recording, {}), (recording, {"window": 10, "step": 4}), (lists, {})],
                         ids=["streams", "windows", "sequences"])
def test_resuming_is_bit_for_bit(tmp_path, make, options):
    def run(folder, stops):
        for stop in [*stops, 10**9]:
            net = tiny(seed=3)                 # a new process would begin like this
            opt = rnnc.Adam(net, lambda step: 0.02 / step, clip_norm=0.5)
            try:
                history = rnnc.fit(net, make(), StopAfter(opt, stop), epochs=3, validate=make(), checkpoint=folder,
                                   every=0, **options)
            except Stop:
                continue
            return net, history
    whole, first = run(tmp_path / "a", [])
    pieces, second = run(tmp_path / "b", [0, 1, 2, 3, 1, 5])
    assert (whole.theta == pieces.theta).all() and numbers(first) == numbers(second)
    best = tiny()
    best.load(tmp_path / "a" / "best.safetensors")
    again = tiny()
    load_parameters(again, tmp_path / "b")
    assert (again.theta == pieces.theta).all()


def test_a_finished_run_has_nothing_to_do_and_more_epochs_go_on(tmp_path):
    net, data = tiny(), recording()
    history = rnnc.fit(net, data, rnnc.SGD(net, 0.1), epochs=2, checkpoint=tmp_path)
    theta = net.theta.copy()
    other = tiny(seed=5)
    again = rnnc.fit(other, data, rnnc.SGD(other, 0.1), epochs=2, checkpoint=tmp_path)
    assert (other.theta == theta).all() and again.rows == history.rows
    more = rnnc.fit(other, data, rnnc.SGD(other, 0.1), epochs=3, checkpoint=tmp_path)
    assert len(more) == 3 and more.rows[:2] == history.rows
    fresh = rnnc.fit(other, data, rnnc.SGD(other, 0.1), epochs=1, checkpoint=tmp_path, resume=False)
    assert len(fresh) == 1


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    net = tiny()
    rnnc.fit(net, recording(), rnnc.SGD(net, 0.1), checkpoint=tmp_path, notes={"why": "a test"})
    found = Checkpoint.read(tmp_path)
    assert found.record["notes"] == {"why": "a test"} and set(found.parameters) == set(net.parameters)
    for opt, data, word in [(rnnc.Adam(net), recording(), "optimiser"), (rnnc.SGD(net), recording(seed=4), "data")]:
        with pytest.raises(InputError, match=f"another {word}; resume=False"):
            rnnc.fit(net, data, opt, checkpoint=tmp_path)
    other = tiny("float32")
    with pytest.raises(InputError, match="another number type"):
        rnnc.fit(other, recording(), rnnc.SGD(other), checkpoint=tmp_path)
    (tmp_path / FILE).write_bytes(b"torn")
    with pytest.raises(InputError, match="not a safetensors file"):
        rnnc.fit(net, recording(), rnnc.SGD(net), checkpoint=tmp_path)


def test_the_weights_of_a_checkpoint_are_loaded_like_others(tmp_path):
    net, other = tiny(), tiny(seed=5)
    rnnc.fit(net, recording(), rnnc.SGD(net, 0.1), checkpoint=tmp_path)
    other.load(tmp_path / FILE)
    assert (other.theta == net.theta).all()
    net.save(tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="rename: .*w.safetensors holds no 'a'"):      # though W is there
        other.load(tmp_path / "w.safetensors", rename={"a": "W"})


def test_a_place_without_room_for_a_checkpoint_is_told_before_any_work(tmp_path):
    net = tiny()
    before = net.theta.copy()
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="^checkpoint: no file can be made in .*file: Not a directory$"):
        rnnc.fit(net, recording(), rnnc.SGD(net, 0.1), checkpoint=tmp_path / "file" / "run")
    assert (net.theta == before).all()
    with pytest.raises(InputError, match="^save: cannot write .*: Not a directory$"):     # File exists, it said
        net.save(tmp_path / "file" / "w.safetensors")


def test_a_loss_that_is_no_number_stops_before_it_spoils_the_weights(tmp_path):
    net = tiny()
    data = recording()
    data.signals["x"][20] = np.nan
    with pytest.raises(NumberError, match="the loss is nan in update 3; its data hold nan in x"):
        rnnc.fit(net, data, rnnc.SGD(net, 0.1), checkpoint=tmp_path)
    assert np.isfinite(net.theta).all()
    with pytest.raises(NumberError, match="the loss is inf in update 2; try a lower learning rate"):
        net = tiny()
        rnnc.fit(net, recording(), rnnc.SGD(net, 1e200), epochs=9)


@pytest.mark.parametrize("change,message", [
    ({"data": {"x": 1}}, "data: got {'x': 1}; rnnc.data makes it"), ({"step": 9}, None),
    ({"epochs": 0}, "epochs: got 0, wanted a whole number"), ({"window": 0}, "window: got 0, wanted a whole number"),
    ({"window": 4, "step": 5}, "step: 5 new frames do not fit in a window of 4"),
])
def test_refusals(change, message):
    net = tiny()
    options = {"data": recording(), "opt": rnnc.SGD(net), **change}
    if message is None:
        assert len(rnnc.fit(net, **options)) == 1
        return
    with pytest.raises(InputError, match=message):
        rnnc.fit(net, **options)
    with pytest.raises(InputError, match="another net"):
        rnnc.fit(tiny(), recording(), rnnc.SGD(net))


def test_one_unit_comes_with_or_without_its_axis():
    from rnnc.runtime.arrays import Signal
    from rnnc.runtime.score import _conform
    assert _conform(np.zeros((5, 2)), Signal((1,))).shape == (5, 2, 1)
    assert _conform(np.zeros((5, 2, 1)), Signal(())).shape == (5, 2)
    assert _conform([np.zeros(5)], Signal((1,)))[0].shape == (5, 1)


TRAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import rnnc
from handmade.tiny import tiny
from test_fit import recording
net = tiny()
print("begun", flush=True)
try:
    rnnc.fit(net, recording(2000, 3), rnnc.Adam(net, 1e-3), epochs=int(sys.argv[3]), checkpoint=sys.argv[2])
except KeyboardInterrupt:
    sys.exit(130)
"""


def trainer(folder, epochs):
    return subprocess.Popen([sys.executable, "-c", TRAIN, str(Path(__file__).parent), str(folder), str(epochs)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_ctrl_c_leaves_a_checkpoint_to_go_on_from(tmp_path):
    process = trainer(tmp_path, 10**6)
    process.stdout.readline()
    while not (tmp_path / FILE).exists():
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130, process.stderr.read()
    at = Checkpoint.read(tmp_path).record["position"]
    epochs = at["epoch"] + 1
    net, whole = tiny(), tiny()
    data = recording(2000, 3)
    rnnc.fit(net, data, rnnc.Adam(net, 1e-3), epochs=epochs, checkpoint=tmp_path)
    rnnc.fit(whole, data, rnnc.Adam(whole, 1e-3), epochs=epochs)
    assert (net.theta == whole.theta).all()


def test_a_killed_run_leaves_a_whole_checkpoint(tmp_path):
    process = trainer(tmp_path, 10**6)
    while not (tmp_path / FILE).exists():
        time.sleep(0.01)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert Checkpoint.read(tmp_path).record["position"]["updates"] > 0


def test_a_bar_when_asked_for(capsys):
    net = tiny()
    rnnc.fit(net, recording(), rnnc.SGD(net), progress=True)
    assert "frame" in capsys.readouterr().err
    rnnc.fit(net, recording(), rnnc.SGD(net))
    assert capsys.readouterr().err == ""
