"""The arrays of ONNX's LSTM, GRU and RNN, one direction -> the parameters of the cell that computes the same.

ONNX keeps the gates below one another: input, output, forget, candidate in an LSTM; update, reset, candidate in a GRU;
and two biases for each gate, all of W before all of R. Peepholes are those of the input, output and forget gate.
"""

import numpy as np

from rnnc.cli.bring.values import Inexpressible

GATES = {"LSTM": "iofg", "GRU": "zrh", "RNN": ("",)}
PEEPHOLES = "iof"
DIRECTIONS = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
ACTIVATIONS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}


def directions(attributes: dict) -> tuple[bool, ...]:
    """Whether each direction of a node runs backwards."""
    direction = attributes.get("direction", "forward")
    if direction not in DIRECTIONS:
        raise Inexpressible(f"direction {direction!r} is not known")
    return DIRECTIONS[direction]


def parameters(op: str, arrays: list[np.ndarray | None], attributes: dict) -> list[dict[str, np.ndarray]]:
    """Parameters by name for each direction. `arrays`: W, R, B and P as the node has them."""
    W, R, B, P = arrays
    gates, count = GATES[op], len(directions(attributes))
    wanted = {"W": W is not None and W.ndim == 3, "R": R is not None and R.ndim == 3}
    n = R.shape[2] if wanted["R"] else 0
    rows = len(gates) * n
    right = all(wanted.values()) and n > 0 and W.shape[:2] == (count, rows) and R.shape == (count, rows, n) \
        and (B is None or B.shape == (count, 2 * rows)) and (P is None or P.shape == (count, 3 * n))
    if not right or attributes.get("hidden_size", n) != n:
        shapes = ", ".join(f"{name} {list(a.shape)}" for name, a in zip("WRBP", arrays) if a is not None)
        raise Inexpressible(f"{shapes} are no weights of {attributes.get('hidden_size', n)} units in {count} "
                            f"direction{'s' * (count > 1)}")
    made = []
    for d in range(count):
        biases = np.zeros(2 * rows, W.dtype) if B is None else B[d]
        found = {f"W{gate}": part for gate, part in zip(gates, np.split(W[d], len(gates)))}
        found |= {f"U{gate}": part for gate, part in zip(gates, np.split(R[d], len(gates)))}
        for gate, first, second in zip(gates, *np.split(biases.reshape(2 * len(gates), n), 2)):
            if op == "GRU" and gate == "h" and attributes.get("linear_before_reset", 0):
                found |= {"bh": first, "bu": second}
            else:
                found[f"b{gate}"] = first + second
        if P is not None:
            found |= {f"p{gate}": part for gate, part in zip(PEEPHOLES, np.split(P[d], 3))}
        made.append(found)
    return made
