"""C against the oracle: one program, one call, every result; and what must be the same bit for bit.

The error of each number may be 50 times the first-order running bound that the oracle keeps beside it. A draw of data
that stands on a kink (a comparison, relu, max … nearer to its switching point than its bound) is drawn again.
"""

from dataclasses import dataclass, field

import numpy as np

from rnnc import pipeline
from rnnc.graph import oracle
from rnnc.graph.gradient import gradient, vjp
from rnnc.graph.nodes import FRAME, INT, SEQUENCE, Graph
from rnnc.graph.scores import scores
from rnnc.graph.sequences import sequences
from rnnc.graph.values import at_rest
from rnnc.runtime.module import load
from rnnc.runtime.net import Net
from rnnc.target.build import build

FACTOR = 50
EPS = {"float32": 2.0 ** -24, "float64": 2.0 ** -53}


@dataclass
class Data:
    frames: int
    streams: int
    inputs: dict
    targets: dict
    params: dict
    starts: np.ndarray | None
    weight: np.ndarray | None
    cotangents: dict = field(default_factory=dict)


def net_of(graph: Graph, dtype: str = "float32", gradient: str | None = "parameters", **more) -> Net:
    """The built net of an elaborated graph."""
    options = pipeline.Options(dtype=dtype, gradient=gradient, **more)
    emitted = pipeline.emit_graph(graph, options)
    return Net(load(build(emitted.c, emitted.cdef, emitted.header, emitted.manifest, options)))


def draw_data(graph: Graph, seed: int, dtype: str = "float32", frames: int | None = None,
              streams: int | None = None) -> Data:
    """Inputs, parameters, starts and weights of a call, exact in float32."""
    r = np.random.default_rng(seed)
    frames = frames or int(r.integers(1, 14))
    streams = streams or int(r.choice([1, 1, 2, 3, 7, 17]))
    real = lambda *shape, scale=1.0: (r.standard_normal(shape) * scale).astype(np.float32).astype(dtype)
    values, targets, params = {}, {}, {}

    def draw(info, *lead):
        if info.kind == "labels":
            most = (lengths + 1) // 2          # so many labels can be spelled, be they all alike
            array = [r.integers(0, info.classes, r.integers(0, min(3, n) + 1)) for n in most]
        elif info.kind == "class":
            array = r.integers(0, info.classes, lead)
        elif info.kind == "flag":
            array = r.integers(0, 2, lead).astype(np.uint8)
        else:
            array = real(*lead, *info.shape, scale=0.7)
        (targets if info.target else values)[info.name] = array

    for info in graph.inputs:
        if info.per == FRAME:
            draw(info, frames, streams)
    for p in graph.params:
        fan = p.shape[-1] if len(p.shape) > 1 else 4
        params[p.name] = real(*p.shape, scale=1.0 / np.sqrt(max(fan, 1)))
    starts = (r.random((frames, streams)) < 0.2).astype(np.uint8) if r.random() < 0.6 else None
    weight = r.choice([0.0, 0.5, 1.0, 2.0], (frames, streams)).astype(dtype) if r.random() < 0.3 else None
    lengths = sequences(np.zeros((frames, streams)) if starts is None else starts, None).frames
    for info in graph.inputs:
        if info.per == SEQUENCE:
            draw(info, len(lengths))
    cotangents = {}
    for name, n in graph.outputs.items():
        if graph[n].kind != INT:
            lead = (len(lengths),) if graph[n].domain == SEQUENCE else (frames, streams)
            cotangents[name] = real(*lead, *graph[n].shape)
    return Data(frames, streams, values, targets, params, starts, weight, cotangents)


def set_params(net: Net, data: Data) -> None:
    for name, value in data.params.items():
        net.parameters[name] = value


def call(graph: Graph, data: Data, dtype: str, state=None, **more) -> oracle.Result:
    inputs = {**data.inputs, **data.targets}
    wanted = {i.name for i in graph.inputs}
    return oracle.run(graph, {k: v for k, v in inputs.items() if k in wanted}, data.params, state, data.starts,
                      data.weight, bounds=True, eps=EPS[dtype], frames=data.frames, streams=data.streams, **more)


def close(what: str, found, result: np.ndarray, bound: np.ndarray, dtype: str) -> float:
    """Asserts |found - result| <= FACTOR * bound; the largest ratio."""
    found, result = np.asarray(found, np.float64), np.asarray(result, np.float64)
    assert found.shape == result.shape, f"{what}: shape {found.shape}, not {result.shape}"
    allowed = np.asarray(bound, np.float64) + np.finfo(np.float32 if dtype == "float32" else np.float64).tiny
    error = np.abs(found - result)
    wrong = ~(error <= FACTOR * allowed)
    if wrong.any():
        at = np.unravel_index(np.argmax(np.where(np.isnan(error), np.inf, error / allowed)), error.shape)
        raise AssertionError(f"{what}{list(at)}: {found[at]!r} instead of {result[at]!r}, error {error[at]:.3g}, "
                             f"{error[at] / allowed[at]:.3g} times its bound {allowed[at]:.3g}")
    return float((error / allowed).max()) if error.size else 0.0


def judges(graph: Graph, weights: str = "float32") -> dict[str, Graph]:
    """For each function of a net the graph that says what it computes. With matrices stored otherwise
    than as float32 it is the planned one, as there it stands which products see which stored numbers."""
    if weights != "float32":
        return {name: pipeline.planned_and_checked(program, name, weights).graph
                for name, program in pipeline.programs(pipeline.forward(graph), "all").items()}
    made = {"run": at_rest(graph)}
    if graph.losses or graph.metrics:
        made["evaluate"] = scores(at_rest(graph))
    if graph.losses:
        made["backprop"] = gradient(graph)
    if graph.outputs:
        made["vjp"] = vjp(graph)
    return made


def compare(graph: Graph, dtype: str, seed: int, frames: int | None = None, streams: int | None = None,
            weights: str = "float32") -> dict:
    """Everything a net of `graph` computes against the oracle. Returns what was checked and the largest ratio; raises
    AssertionError at the first number that is off."""
    net = net_of(graph, dtype, "all", weights=weights)
    for attempt in range(20):
        data = draw_data(graph, 1000 * seed + attempt, dtype, frames, streams)
        set_params(net, data)
        answers = {}
        for name, g in judges(graph, weights).items():
            more = {"cotangents": data.cotangents} if name == "vjp" else {}
            answers[name] = call(g, data, dtype, **more)
        outcome = against(net, graph, data, answers, dtype)
        if outcome is not None:
            return {**outcome, "attempts": attempt + 1, "net": net, "data": data, "answers": answers}
    return {"attempts": 20, "ratio": None, "net": net, "data": data, "answers": answers}


def against(net: Net, graph: Graph, data: Data, answers: dict, dtype: str) -> dict | None:
    """None if the data stand on a kink."""
    found: list[tuple[str, object, object, object]] = []
    wanted = answers["run"]
    fresh = lambda: {"state": net.state(streams=data.streams)}
    state = net.state(streams=data.streams)
    out = net.run(**data.inputs, state=state, starts=data.starts, **frames_of(data)) if graph.outputs else {}
    for name in graph.outputs:
        found.append((f"output {name}", out[name], wanted.outputs[name], wanted.bounds.outputs[name]))
    if "evaluate" in answers:
        score = net.evaluate(**data.inputs, **data.targets, **fresh(), starts=data.starts, weight=data.weight,
                             **frames_of(data, data.targets, data.weight))
        for name, value in answers["evaluate"].scores.items():
            found.append((f"score {name}", score[name], value, answers["evaluate"].bounds.scores[name]))
    if "backprop" in answers:
        state = net.state(streams=data.streams)
        net.draws = 0                          # as in the oracle
        loss = net.backprop(**data.inputs, **data.targets, state=state, starts=data.starts, weight=data.weight,
                            **frames_of(data, data.targets, data.weight))
        once = net.gradient.copy()
        net.draws = 0                          # the same numbers once more
        net.backprop(**data.inputs, **data.targets, state=net.state(streams=data.streams), starts=data.starts,
                     weight=data.weight, accumulate=True, **frames_of(data, data.targets, data.weight))
        assert np.array_equal(net.gradient, 2 * once, equal_nan=True), "a gradient added to itself is not twice it"
        net.gradient[...] = once
        result = answers["backprop"]
        found.append(("loss", loss, result.scores["loss"], result.bounds.scores["loss"]))
        for name, value in result.gradients.items():
            found.append((f"gradient of {name}", np.array(net.gradients[name]), value, result.bounds.gradients[name]))
        for name, value in result.state.signals.items():
            found.append((f"state {name}", np.array(state[name]), value, np.abs(value) * 0 + np.inf))
    if "vjp" in answers and data.cotangents:
        result = answers["vjp"]
        net.draws = 0
        back = net.vjp(data.cotangents, **data.inputs, **fresh(), starts=data.starts, **frames_of(data))
        for name, value in result.gradients.items():
            found.append((f"vjp gradient of {name}", np.array(net.gradients[name]), value,
                          result.bounds.gradients[name]))
        for name, value in result.input_gradients.items():
            found.append((f"vjp {name}", back[name], value, result.bounds.input_gradients[name]))
    if any(result.kinks for result in answers.values()):
        return None
    return {"ratio": max([close(what, a, b, c, dtype) for what, a, b, c in found if what.split()[0] != "state"],
                         default=0.0), "checked": [what for what, *_ in found]}


def frames_of(data: Data, *more) -> dict:
    """The number of frames, unless an array tells it: inputs, starts, or one of `more`."""
    told = data.inputs or data.starts is not None or any(m is not None and len(m) for m in more)
    return {} if told else {"frames": data.frames}


def in_segments(monkeypatch, chunks: int) -> None:
    """Every training call with a limit of memory goes in segments of so many chunks."""
    monkeypatch.setattr("rnnc.runtime.segments.segment", lambda net, limit, frames, streams: limit and (
        chunks * net.module.function("segment_frames")(streams)))


PLANS = ("chosen", "together", "streams", "crews", "pairs")      # as the header numbers them


def force(net: Net, plan: str) -> None:
    """Has the planner in the C choose so, where it can."""
    border = net._border
    border.tuning = border.ffi.new(f"{border.prefix}_tuning *", {"plan": PLANS.index(plan)})


def same_bits(net: Net, data: Data, threads=(1, 2, 3, 7), like: Net | None = None) -> None:
    """Every function at every number of threads, whatever the planner might choose, leaves the same bits; those of
    `like` at one thread, if that is given. (Needs RNNC_TEST_THREADS in the environment.)"""
    first = None if like is None else bits_of(like, data, 1, "chosen")
    for count, plan in [(n, p) for n in threads for p in (PLANS if n > 1 else PLANS[:1])]:
        bits = bits_of(net, data, count, plan)
        if first is None:
            first = bits
        assert bits == first, f"{count} threads, {plan}, give other bits than {'the other' if like else threads[0]}"
    net.threads = None
    force(net, "chosen")


def bits_of(net: Net, data: Data, count: int, plan: str) -> list[bytes]:
    """What every function leaves."""
    net.threads, net.draws = count, 0
    force(net, plan)
    bits = []
    if net.outputs:
        state = net.state(streams=data.streams)
        out = net.run(**data.inputs, state=state, starts=data.starts, **frames_of(data))
        bits += [np.ascontiguousarray(out[name]).tobytes() for name in sorted(out)]
    if "backprop" in net.manifest["functions"]:
        state = net.state(streams=data.streams)
        loss = net.backprop(**data.inputs, **data.targets, starts=data.starts, weight=data.weight, state=state,
                            **frames_of(data, data.targets, data.weight))
        bits += [np.float64(loss).tobytes(), net.gradient.tobytes()]
        bits += [np.ascontiguousarray(state[s["name"]]).tobytes() for s in net.manifest["state"]]
    return bits


def cut_equals_whole(net: Net, graph: Graph, data: Data, dtype: str, cut: int, wanted: oracle.Result) -> None:
    """Two calls of one state give what one call gives, to rounding (no look-ahead)."""
    if not net.outputs or data.frames < 2:
        return
    state = net.state(streams=data.streams)
    part = lambda a, b: {k: v[a:b] if k in per_frame else v[of_part(data, a, b)] for k, v in data.inputs.items()}
    per_frame = {i.name for i in graph.inputs if i.per == FRAME}
    starts = lambda a, b: None if data.starts is None else data.starts[a:b]
    count = lambda n: {"frames": n} if frames_of(data) else {}
    one = net.run(**part(0, cut), starts=starts(0, cut), state=state, **count(cut))
    two = net.run(**part(cut, None), starts=starts(cut, None), state=state, **count(data.frames - cut))
    for name, n in graph.outputs.items():
        if graph[n].domain == SEQUENCE:        # of a sequence that goes on there are two parts
            close(f"cut output {name}", two[name], wanted.outputs[name][of_part(data, cut, None)],
                  wanted.bounds.outputs[name][of_part(data, cut, None)], dtype)
            continue
        close(f"cut output {name}", np.concatenate([one[name], two[name]]), wanted.outputs[name],
              wanted.bounds.outputs[name], dtype)


def of_part(data: Data, low: int, high: int | None) -> np.ndarray:
    """The sequences of which frames low to high have a part, in the order of a call on these frames."""
    starts = np.zeros((data.frames, data.streams)) if data.starts is None else data.starts
    number = sequences(starts, None).number[low:high]
    begins = starts[low:high].astype(bool)
    begins[:1] = True
    return number.T[begins.T]


def continued(net: Net, graph: Graph, dtype: str, seed: int, frames: int = 5, streams: int = 3) -> bool:
    """A call that goes on from a state, with a cotangent for the state it leaves: run, backprop and vjp against the
    oracle. False if every draw of data stood on a kink."""
    for attempt in range(10):
        first = draw_data(graph, 2000 * seed + 2 * attempt, dtype, 1 + seed % 7, streams)
        data = draw_data(graph, 2000 * seed + 2 * attempt + 1, dtype, frames, streams)
        data.params = first.params
        set_params(net, data)
        given = call(scores(at_rest(graph)), first, dtype).state
        given.signals = {n: v if v.dtype.kind in "iu" else v.astype(dtype).astype(np.float64)
                         for n, v in given.signals.items()}
        if continued_from(net, graph, data, given, dtype, seed):
            return True
    return False


def continued_from(net: Net, graph: Graph, data: Data, given: oracle.State, dtype: str, seed: int) -> bool:
    r = np.random.default_rng(seed)

    def before():
        state = net.state(streams=data.streams)
        for name, value in given.signals.items():
            state[name][...] = value
        state.since[...] = given.since
        if state.age is not None:
            state.age[...] = given.age
        net.draws = 0
        return state

    seeds = {graph[n].name: r.standard_normal((k, data.streams, *graph[n].shape)).astype(dtype)
             for n, k in graph.state.items() if graph[n].kind != INT}
    found = []                                 # what, C, oracle, bound: the oracle sees kinks only in what was asked
    judged = judges(graph, net.manifest["weights"])
    if graph.outputs:
        result = call(judged["run"], data, dtype, given)
        out = net.run(**data.inputs, state=before(), starts=data.starts, **frames_of(data))
        found += [(result, "output", name, out[name], result.outputs, result.bounds.outputs) for name in graph.outputs]
    if graph.losses:
        result, state = call(judged["backprop"], data, dtype, given), before()
        net.backprop(**data.inputs, **data.targets, state=state, starts=data.starts, weight=data.weight,
                     **frames_of(data, data.targets, data.weight))
        found += [(result, "gradient", name, np.array(net.gradients[name]), result.gradients, result.bounds.gradients)
                  for name in result.gradients]
        for name, value in result.state.signals.items():
            some = np.abs(value).max(initial=1) * (1e-3 if dtype == "float32" else 1e-9)
            assert result.kinks or np.allclose(state[name], value, rtol=0, atol=some), f"state {name}"
        assert np.array_equal(state.since, result.state.since)
    if graph.outputs:
        result = call(judged["vjp"], data, dtype, given, cotangents=data.cotangents, state_cotangents=seeds)
        back = net.vjp({**data.cotangents, "state": seeds}, **data.inputs, state=before(), starts=data.starts,
                       **frames_of(data))
        found += [(result, "vjp", name, np.array(net.gradients[name]), result.gradients, result.bounds.gradients)
                  for name in result.gradients]
        found += [(result, "vjp", name, back[name], result.input_gradients, result.bounds.input_gradients)
                  for name in result.input_gradients]
        found += [(result, "vjp of the state", name, back["state"][name], result.state_gradients,
                   result.bounds.state_gradients) for name in result.state_gradients if name in seeds]
    pairs = [(f"{what} {name}", value, wanted[name], bound[name]) for _, what, name, value, wanted, bound in found]
    if any(result.kinks for result, *_ in found):
        return False
    for what, value, wanted, bound in pairs:
        close(what, value, wanted, bound + np.abs(wanted) * EPS[dtype], dtype)
    return True
