"""Samples learn: after some updates each is well below what the best answer without a network costs, on data that it
has not seen."""

import math
from importlib.resources import as_file, files

import numpy as np
import pytest
import tasks
from results.speech import LONGEST, endless, speech

import rnnc

CONSTANT = 10.7                                # what probabilities cost that are the same in all frames of speech
IN_STREAMS = 0.232                             # the same for a frame of 64 out of streams of speech
TEXT = {"hierarchical": {"blanks": 1}, "fixed_point": {}, "sparse_gru": {"hidden": 64}, "memory_read": {},
        "gated_memory": {}, "router": {}}
LINEAR = "sru qrnn min_gru min_lstm lru mamba rwkv retnet gla delta_net mlstm slstm".split()
FAR = {"narx": 8, "mist": 8, "dilated": 8, "skip": 10, "clockwork": 3, "phased": 1, "lagged": 20}   # frames back
CASES = {name: (name, tasks.text(**{"hidden": 32, **sizes}), 0.7) for name, sizes in TEXT.items()}
CASES |= {
    "hierarchical_of_letters": ("hierarchical", tasks.text(hidden=32, blanks=1, variant=1), 0.7),
    "two_bits": ("fixed_point", tasks.text(hidden=32, bits=2), 0.7),
    **{name: ("linear_layers", tasks.text(hidden=16, kind=kind), 0.7) for kind, name in enumerate(LINEAR)},
    **{name: ("long_delays", tasks.recall(lag, kind=kind, hidden=32), 0.7)
       for kind, (name, lag) in enumerate(FAR.items())},
    **{name: ("continuous", tasks.waves(4, kind=kind), 0.3) for kind, name in
       enumerate(["leaky", "ctrnn", "ltc", "cfc"])},
    "legendre": ("legendre", tasks.waves(15), 0.5),
    "echo_state": ("reservoir", tasks.narma(units=50), 0.5),
    "spiking": ("spiking", tasks.liveliest(), 0.7),
    "inference": ("inference", tasks.inverse(), 0.7),
    "concealment": ("concealment", tasks.losses(), 0.5),
    "crf_tagger": ("crf_tagger", tasks.tags(), 0.7),
    **{name: ("listener", tasks.gestures(trivial, kind=kind), 0.5) for kind, (name, trivial) in
       enumerate([("looking", math.log(4)), ("largest", math.log(4)), ("svm", 3.0)])},
    "writer": ("writer", tasks.opposite(), 0.7),
    "turbo": ("turbo", tasks.code(), 0.7),
    "trajectory": ("trajectory", tasks.course(0), 0.3),
    "duffing": ("trajectory", tasks.course(1), 0.3),
    "workload": ("workload", tasks.workload(), 0.7),
    "keywords": ("keywords", tasks.Task(lambda seed: speech(np.random.default_rng(seed), 8), CONSTANT, {}), 0.5),
    "online_ctc": ("online_ctc", tasks.Task(lambda seed: endless(np.random.default_rng(seed), 64), IN_STREAMS,
                                            {"longest": LONGEST}), 0.5),
}
UPDATES = {"echo_state": 200, "two_bits": 200, "ctrnn": 200, "phased": 300, "clockwork": 300, "narx": 300,
           "online_ctc": 200}
RATES = {"narx": 0.003}
AT_ONCE = {"hierarchical", "two_bits", "sparse_gru", "min_gru", "dilated", "ltc", "legendre", "spiking", "inference",
           "concealment", "crf_tagger", "looking", "writer", "keywords", "workload", "online_ctc"}   # without --slow


def of(name: str, **more):
    sample, task, _ = CASES[name]
    with as_file(files("rnnc.samples") / f"{sample}.rnn") as path:
        return rnnc.compile(path, **task.sizes, **more)


def evaluated(net, batch: dict) -> float:
    return net.evaluate(**batch, **begin(net, batch))["loss"]


def begin(net, batch: dict) -> dict:
    """A state, where no array tells the number of streams."""
    return {"state": net.state(streams=len(batch["truth"]))} if "frames" in batch else {}


@pytest.mark.parametrize("name", [n if n in AT_ONCE else pytest.param(n, marks=pytest.mark.slow) for n in CASES])
def test_sample_learns(name):
    net, (_, task, share) = of(name), CASES[name]
    opt = rnnc.Adam(net, RATES.get(name, 0.01), clip_norm=1.0)
    first = evaluated(net, task.batch(10_000))
    for update in range(UPDATES.get(name, 120)):
        batch = task.batch(update)
        net.backprop(**batch, **begin(net, batch))
        opt.step()
    held_out = np.mean([evaluated(net, task.batch(20_000 + i)) for i in range(3)])
    assert held_out < share * task.trivial and held_out < first, (first, held_out, task.trivial)


NEW = ["crf_tagger", "looking", "largest", "svm", "writer", "turbo", "trajectory", "duffing", "keywords", "lagged",
       "workload", "online_ctc"]


@pytest.mark.parametrize("name", [n if n in AT_ONCE else pytest.param(n, marks=pytest.mark.slow) for n in NEW])
def test_gradient_of_a_sample(name):
    """Along a random direction, against a central difference."""
    net, batch = of(name, dtype="float64", threads=1), CASES[name][1].batch(3)
    net.backprop(**batch)
    gradient, theta = np.array(net.gradient[:net.trainable]), np.array(net.theta)
    way = np.random.default_rng(1).normal(size=net.trainable)
    sides = []
    for step in (1e-6, -1e-6):
        net.theta[:net.trainable] = theta[:net.trainable] + step * way
        net.touch()
        sides.append(evaluated(net, batch))
    assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(gradient @ way, rel=1e-5, abs=1e-7)


@pytest.mark.slow
@pytest.mark.parametrize("units,known", [(50, 0.389), (100, 0.307), (200, 0.241)])
def test_reservoirs_on_narma_10(units, known):
    """Normalised root error on 2,000 frames after 4,000, by ridge regression, the mean of 20 reservoirs and inputs:
    within 5 % of the known one, or below it."""
    errors = []
    for seed in range(20):
        with as_file(files("rnnc.samples") / "reservoir.rnn") as path:
            net = rnnc.compile(path, units=units, seed=seed, dtype="float64")
        u, y = tasks.narma_10(np.random.default_rng(seed), 6200)
        found = net.run(u=u, probe="h")
        np.testing.assert_allclose(found["y"], y, rtol=1e-9)
        seen = np.column_stack([found["h"], np.ones(6200)])
        old, new = slice(200, 4200), slice(4200, 6200)
        w = np.linalg.solve(seen[old].T @ seen[old] + 1e-8 * np.eye(units + 1), seen[old].T @ y[old])
        errors.append(np.sqrt(((seen[new] @ w - y[new]) ** 2).mean() / y[new].var()))
    assert np.mean(errors) < 1.05 * known
