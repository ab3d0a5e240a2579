"""Schedules of small models for the tests of the planner."""

from rnnc import pipeline
from rnnc.errors import Source
from rnnc.plan.schedule import Schedule


def plan(text: str, program: str = "backprop", gradient: str = "parameters") -> Schedule:
    graph = pipeline.elaborated(Source("plan.rnn", text))
    return pipeline.planned_and_checked(pipeline.programs(pipeline.forward(graph), gradient)[program], program)


def layer(equations: str, inputs: str = "input x : [6]", size: str = "[n]") -> str:
    """A model of 20 units with a loss, whose last signal is h."""
    body = f"{inputs}\ntarget y : {size}\n{equations}\noutput h\nloss mse(h, y)"
    return f"model m(n = 20) {{\n{body}\n}}\n"


LSTM = layer("h = lstm(n)(x)")
GRU = layer("h = gru(n)(x)")
FOURTH = layer("param W : [n, 6]\n param U : [n, n]\n h = tanh(W @ x + U @ h[t-4])")
MIXED = layer("""param U : [n, n]
                 f = sigmoid(h[t-1])
                 h = f * h[t-1] + tanh(U @ h[t-4] + x)""", "input x : [n]")


def at(made: Schedule, kind, nth: int = 0) -> int:
    """The number of the nth stage of a kind."""
    return [i for i, stage in enumerate(made.stages) if isinstance(stage, kind)][nth]
