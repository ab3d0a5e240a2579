"""Series of numbers: systems to be followed, and to be foretold."""

from importlib.resources import files

import numpy as np
from tasks import AHEAD, DAY, machines, missed, naive, narma_10, next_frames

import rnnc
from results.harness import Found, compiled, drawn, experiment, halved, spread, train

# ---------------------------------------------------------------------------------------------------- NARMA-10

RESERVOIRS = {50: 0.389, 100: 0.307, 200: 0.241}


def ridge(seen: np.ndarray, y: np.ndarray, learned: slice, tried: slice, penalty: float = 1e-8) -> float:
    """Normalised root error of the best line through what was seen."""
    seen = np.column_stack([seen, np.ones(len(seen))])
    a, b = seen[learned], y[learned]
    w = np.linalg.solve(a.T @ a + penalty * np.eye(a.shape[1]), a.T @ b)
    return float(np.sqrt(((seen[tried] @ w - y[tried]) ** 2).mean() / y[tried].var()))


def as_good_as_known(found: Found) -> tuple[str, bool]:
    means = {n: found[f"{n} units"].mean() for n in RESERVOIRS}
    return "; ".join(f"{n} units {m:.3f}" for n, m in means.items()), \
        all(m < 1.05 * RESERVOIRS[n] for n, m in means.items())


@experiment(known="normalised root error .389, .307, .241 for 50, 100, 200 units", seeds=20, judge=as_good_as_known)
def narma_reservoirs(seed):
    """NARMA-10, echo state network, a ridge regression on 4,000 frames after 200, tried on 2,000 (mean)"""
    text, found = (files("rnnc.samples") / "reservoir.rnn").read_text(), {}
    u, y = narma_10(np.random.default_rng(seed), 6200)
    for units in RESERVOIRS:
        h = compiled(text, seed, units=units, dtype="float64").run(u=u, probe="h")["h"]
        found[f"{units} units"] = ridge(h, y, slice(200, 4200), slice(4200, 6200))
    return found


FOLLOWER = """
model follower(hidden = 32, kind = 0) {
    input  u
    target y
    h = [lstm(hidden), gru(hidden)][kind](concat(4 * u - 1, 4 * u[t-9] - 1))
    z = dense(1)(h)[0]
    output z
    loss   where(t < 50, 0, mse(z, 10 * (y - 0.4)))
}
"""


def below(limit: float):
    def judge(found: Found) -> tuple[str, bool]:
        return "; ".join(f"{k} {v.mean():.3f}" for k, v in found.items()), all(v.mean() < limit for v in found.values())
    return judge


@experiment(known="normalised root error below .26, what the line with the product u[t] u[t-9] reaches", seeds=3,
            judge=below(0.26))
def narma_trained(seed):
    """NARMA-10, trained LSTM and GRU of 32 units that also see u[t-9], 4,000 frames, Adam, 3,000 updates"""
    u, y = narma_10(np.random.default_rng(seed), 6200)
    found = {}
    for kind, name in enumerate(["LSTM", "GRU"]):
        net = compiled(FOLLOWER, seed, kind=kind)
        opt = rnnc.Adam(net, lambda step: 1e-2 * max(0.01, 1 - step / 3000), clip_norm=1.0)
        for update in range(3000):
            first = np.random.default_rng([seed, update]).integers(0, 4000, 8)
            net.backprop(**{k: np.stack([v[i:i + 200] for i in first], axis=1) for k, v in (("u", u), ("y", y))})
            opt.step()
        z = net.run(u=u)["z"][4200:] / 10 + 0.4
        found[name] = float(np.sqrt(((z - y[4200:]) ** 2).mean() / y[4200:].var()))
    return found


# ------------------------------------------------------------------------------------------------ Mackey-Glass

# dx/dt = 0.2 x(t - 17) / (1 + x(t - 17)^10) - 0.1 x, ten steps of Euler per frame: the program makes its own series.
GLASS = """
model glass {
    input  first per sequence
    x = x[t-1] + 0.1 * (0.2 * x[t-170] / (1 + x[t-170]^10) - 0.1 * x[t-1])
    init x = first
    output x
}
"""


def mackey_glass(seed: int, series: int = 8, frames: int = 2000) -> np.ndarray:
    """[frames, series], after a warm-up of 100 frames, as tanh(x - 1) without the mean of all: without a mean of its
    own, each series would be of a system of its own, which costs a network three to thirty times the error."""
    net = rnnc.compile(GLASS, dtype="float64", gradient=None, threads=1)
    first = 1.2 + 0.2 * (np.random.default_rng(seed).random(series) - 0.5)
    x = net.run(first=first, state=net.state(streams=series), frames=10 * (frames + 100))["x"]
    x = np.tanh(x[1000::10] - 1)
    return x - x.mean()


# Of the known result neither the reservoir nor the ridge is written down. Radius, leak, bias and the 200 frames left
# out are those that its source names for NARMA-10; the scale of the input (of 0.5, 1, 2) and the ridge (of 1e-6, 1e-8,
# 1e-10, 1e-12) were picked on the series and reservoirs of seeds 100 to 104, which are not among those reported. With
# the scale of NARMA-10, 0.5, it would be 0.0062 and 0.00027 there.
FORETELLER = """
model foreteller(units = 100) {
    input u
    h = echo_state(units, radius = 0.9, leak = 1, scale = 1, bias = 0.1)(u)
    output h
}
"""
FRAMES_AHEAD, LEFT_OUT, RIDGE = 15, 200, 1e-10


def errors_as_known(found: Found) -> tuple[str, bool]:
    """Linear and last value within 5 %, which says that the task is the same; reservoirs as good or better: within the
    known deviation, and what rounds to the known digit."""
    mean = {k: v.mean() for k, v in found.items()}
    same = abs(mean["last value"] / 1.62 - 1) < 0.05 and abs(mean["linear, 32 frames"] / 0.471 - 1) < 0.05
    good = mean["100 units"] < 0.0069 + 0.0006 and mean["300 units"] < 0.00025
    return "; ".join(f"{k} {v:.{2 if v < 0.1 else 3}g}" for k, v in mean.items()), same and good


@experiment(known="root error: last value 1.62, linear in 32 frames .471, echo state 100 units .0069 ± .0006, 300 "
                  ".0002", seeds=5, judge=errors_as_known)
def mackey_glass_ahead(seed):
    """Mackey-Glass (delay 17), 15 frames ahead, echo state network, ridge regression on four series of 2,000 frames,
    tried on four others"""
    x = mackey_glass(seed)
    y = x[FRAMES_AHEAD:]
    flat = lambda a: np.concatenate(list(a.swapaxes(0, 1)[:, LEFT_OUT:len(y)]))
    wanted, half = flat(y), 4 * (len(y) - LEFT_OUT)
    learned, tried = slice(0, half), slice(half, None)
    last = flat(x)
    found = {"last value": float(np.sqrt(((last - wanted)[tried] ** 2).mean() / wanted[tried].var()))}
    lags = np.stack([np.roll(x, k, axis=0) for k in range(32)], axis=-1)
    found["linear, 32 frames"] = ridge(flat(lags), wanted, learned, tried)
    for units in (100, 300):
        h = compiled(FORETELLER, seed, units=units, dtype="float64", gradient=None).run(u=x)["h"]
        found[f"{units} units"] = ridge(flat(h), wanted, learned, tried, RIDGE)
    return found


# ---------------------------------------------------------------------------------------------------- workload

def share_of_naive(found: Found) -> tuple[str, bool]:
    parts = [f"{name} {spread(found[name], '.2f')}" for name in ("network", "linear", "best possible")]
    return ", ".join(parts) + " of it", (found["network"] <= 0.7).all()


def lagged(load: np.ndarray) -> np.ndarray:
    """Of each frame the last eight, and those a day and a week before the next ones."""
    last = np.stack([np.roll(load, lag, 0) for lag in range(8)], axis=-1)
    return np.concatenate([last, next_frames(load, DAY), next_frames(load, 7 * DAY), np.ones((*load.shape, 1))], -1)


@experiment(known="at most 0.7 of the squared error of the best of the last value, the mean, a day and a week ago",
            seeds=5, judge=share_of_naive)
def workload(seed):
    """Load of made-up machines (days, weeks, bursts that fade, noise), the next two hours in half hours, LSTM of 32
    units, Adam, 400 updates of 16 machines and two weeks, tried on four weeks of 64 others; beside it a regression on
    the same weeks from the last eight frames and the same hours of a day and a week ago, and who knows how they were
    made"""
    net = compiled((files("rnnc.samples") / "workload.rnn").read_text(), seed)
    train(net, rnnc.Adam(net, halved(1e-2, 100), clip_norm=1.0),
          drawn(lambda chance: {"load": machines(chance, 14 * DAY, 16)[0]}, seed, 400))
    others = machines(np.random.default_rng([seed, 10**7]), 14 * DAY, 400)[0]
    known = slice(7 * DAY, len(others) - AHEAD)
    seen, wanted = lagged(others)[known], next_frames(others)[known]
    line = np.linalg.lstsq(seen.reshape(-1, seen.shape[-1]), wanted.reshape(-1, AHEAD))[0]
    load, best = machines(np.random.default_rng([seed, 10**6]), 28 * DAY, 64)
    told = {"network": net.run(load=load)["foretold"], "linear": lagged(load) @ line, "best possible": best}
    return {name: missed(load, foretold) / min(naive(load).values()) for name, foretold in told.items()}
