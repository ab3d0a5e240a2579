"""An example program in C for a built model, made from its manifest alone: it fills, runs, learns a little, prints.

The first values of the parameters follow the program's declarations in range, not number by number.
"""

import math

C_TYPES = {"class": "int32_t", "labels": "int32_t", "int": "int32_t", "flag": "uint8_t"}
SHOWN = 8                                      # numbers of an output's last frame that are printed


def example(manifest: dict, name: str, build_lines: list[str], weights: str) -> str:
    """The text of main.c. `weights`: "random" first values, read from a "file", or "embedded" in the program."""
    real = {"float32": "float", "float64": "double"}[manifest["dtype"]]
    frames, streams = 16, 4
    training = "backprop" in manifest["functions"] and weights != "embedded"
    wanted = [i for i in manifest["inputs"] if training or not i["target"]]
    from rnnc.target.render import render
    return render(
        "example.c.j2", name=name, prefix=name, header=f"{name}.h", real=real, build_lines=build_lines, weights=weights,
        frames=frames, streams=streams, threads=1, training=training, updates=5, rate="0.05",
        trainable=manifest["trainable"],
        sequences=any(s.get("per") == "sequence" for s in wanted + manifest["outputs"]),
        parameters=[parameter(p) for p in manifest["params"]],
        inputs=[incoming(i, real) for i in wanted],
        outputs=[outgoing(o, real) for o in manifest["outputs"]])


def parameter(entry: dict) -> dict:
    """One row of the table of first values: a range, and what is added on the diagonal."""
    shape = entry["shape"]
    rows, columns = (math.prod(shape[:-1]), shape[-1]) if shape else (1, 1)
    low, high, diagonal = span(entry["init"], shape)
    number = lambda value: repr(float(value))
    return {"name": entry["name"], "offset": entry["offset"], "rows": rows, "columns": columns,
            "low": number(low), "high": number(high), "diagonal": number(diagonal)}


def span(init: list, shape: list) -> tuple[float, float, float]:
    """Lowest and highest first value of a parameter, and the gain of an identity."""
    inputs = shape[-1] if shape else 1
    outputs = shape[-2] if len(shape) > 1 else inputs
    symmetric = lambda bound: (-bound, bound, 0.0)
    match init:
        case ["value", value]:
            return value, value, 0.0
        case ["uniform", low, high]:
            return low, high, 0.0
        case ["normal", mean, deviation]:      # a uniform one of the same mean and variance
            return mean - deviation * math.sqrt(3), mean + deviation * math.sqrt(3), 0.0
        case ["identity", *gain]:
            return 0.0, 0.0, gain[0] if gain else 1.0
        case ["he", *_]:
            return symmetric(math.sqrt(6 / inputs))
        case ["lecun", *_]:
            return symmetric(math.sqrt(3 / inputs))
        case _:                                # glorot; orthogonal matrices have about this variance when square
            return symmetric(math.sqrt(6 / (inputs + outputs)))


def count(entry: dict) -> tuple[str, int]:
    """Numbers of an array as C, and of one row of it. Without starts there is one sequence in each stream."""
    size = math.prod(entry["shape"])
    rows = "STREAMS" if entry.get("per") == "sequence" else "FRAMES * STREAMS"
    return rows + (f" * {size}" if size != 1 else ""), size


def incoming(entry: dict, real: str) -> dict:
    """An array of the example, and the expression that fills its element i with something sensible."""
    kind = entry["kind"]
    match kind:
        case "class" | "labels":
            value = f"(int32_t)(random_number() * {entry['classes']})"
        case "flag":
            value = "random_number() < 0.5"
        case _:
            value = f"({real})(2 * random_number() - 1)"
    return {"name": entry["field"], "variable": f"{entry['field']}_values", "type": C_TYPES.get(kind, real),
            "count": count(entry)[0], "value": value, "lists": kind == "labels"}


def outgoing(entry: dict, real: str) -> dict:
    numbers, size = count(entry)
    per_frame = entry.get("per") != "sequence"
    whole = entry["kind"] == "int"
    return {"name": entry["field"], "label": f"{entry['name']}, {'last frame' if per_frame else 'first sequence'}",
            "variable": f"{entry['field']}_result", "type": C_TYPES.get(entry["kind"], real), "count": numbers,
            "first": f"(size_t){size} * ((FRAMES - 1) * STREAMS) + i" if per_frame else "i",
            "shown": min(size, SHOWN), "more": " ..." if size > SHOWN else "", "format": "%d" if whole else "%.6g"}
