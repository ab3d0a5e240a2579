"""Parameters as PyTorch names and lays them out -> parameters of a program.

PyTorch keeps the gates of a layer below one another in one matrix and has two biases for each; here every gate has its
own matrix and one bias, but for the candidate of gru_after, whose second bias lies inside the reset. The rows of an
embedding there are its columns here. In a state dict, `encoder.weight_ih_l0` belongs to the module `encoder`. The
modules of an ONNX file are placed in a program in the same way.
"""

import re
from dataclasses import dataclass

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.words import listed

GATES = {4: "ifgo", 3: "rzh", 1: ("",)}        # rows of weight_ih per unit: LSTM, GRU, simple
PART = re.compile(r"(?:(.+)\.)?(weight_ih|weight_hh|bias_ih|bias_hh)_l(\d+)(_reverse)?")
NAMES = {"weight": ("W", "g"), "bias": ("b",)}               # of dense and embed; of layer_norm
KIND = {"ih": ("W", "b"), "hh": ("U", "b")}


@dataclass(frozen=True)
class Modules:
    """Recurrent modules, as (layer, backwards) -> the parameters of a cell; and all other arrays by name."""

    layers: dict[str, dict[tuple[int, bool], dict[str, np.ndarray]]]
    rest: dict[str, np.ndarray]


def of_pytorch(arrays: dict[str, np.ndarray]) -> Modules:
    """What a state dict holds."""
    layers, rest = _layers(arrays)
    return Modules({module: {key: _layer(_source(module, key), parts[key]) for key in sorted(parts)}
                    for module, parts in layers.items()}, rest)


def placed(modules: Modules, places: dict[str, list[str]], shapes: dict[str, tuple[int, ...]],
           labels: set[str]) -> dict[str, np.ndarray]:
    """Every parameter of a program by its path. `places`: module, or full name, there -> paths here (of a module of
    several layers: one for all, or one for each layer and direction). `shapes`: what the program has; `labels`: which
    of these are multiplied by labels, so that other frameworks have them as the rows of an embedding."""
    layers, rest = modules.layers, modules.rest
    unknown = [name for name in places if name not in layers and name not in rest
               and not any(key.startswith(f"{name}.") for key in rest)]
    if unknown:
        raise InputError(f"no module or array is called {listed(unknown)}; there is {listed([*layers, *rest])}")
    found: dict[str, tuple[str, np.ndarray]] = {}
    for module, parts in layers.items():
        for path, key in zip(_paths(module, parts, places), sorted(parts)):
            for name, array in parts[key].items():
                found[f"{path}.{name}" if path else name] = (_source(module, key), array)
    for name, array in rest.items():
        path = _path(name, places, shapes)
        found[path] = (name, array.T if path in labels and array.ndim == 2 else array)
    _all_there({path: source for path, (source, _) in found.items()}, shapes)
    for path, shape in shapes.items():
        source, array = found[path]
        if array.shape != shape:
            raise InputError(f"{source}: shape {list(array.shape)} for {path}, which has {list(shape)}")
    return {path: array for path, (_, array) in found.items()}


def _source(module: str, key: tuple[int, bool]) -> str:
    return f"{module or 'the state dict'}, layer {key[0]}{' backwards' if key[1] else ''}"


def _layers(arrays: dict) -> tuple[dict, dict]:
    """Recurrent modules, as (layer, direction) -> part -> array; and everything else by name."""
    layers: dict[str, dict[tuple[int, bool], dict[str, np.ndarray]]] = {}
    rest = {}
    for name, array in arrays.items():
        part = PART.fullmatch(name)
        if part is None:
            rest[name] = array
            continue
        module, kind, number, back = part.groups()
        layers.setdefault(module or "", {}).setdefault((int(number), bool(back)), {})[kind] = array
    return layers, rest


def _paths(module: str, parts: dict, places: dict[str, list[str]]) -> list[str]:
    """Where the layers of a module go, in order: first layer, its backward direction, second layer, ..."""
    given = places.get(module, [module])
    if len(given) == 1 and len(parts) > 1:
        if any(back for _, back in parts):
            raise InputError(f"{module} runs in both directions; --map {module}=PATH,PATH,... names a path for each of "
                             f"its {len(parts)} layers and directions, as in h.lstm,h.lstm_2")
        return [f"{given[0]}.{i}" for i in range(len(parts))]
    if len(given) != len(parts):
        raise InputError(f"{module} has {len(parts)} layers, but --map names {len(given)} paths")
    return given


def _layer(source: str, parts: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The parameters of one layer by their names here."""
    missing = [kind for kind in ("weight_ih", "weight_hh")
               if kind not in parts or parts[kind].ndim != 2 or not parts[kind].size]
    if missing:
        raise InputError(f"{source}: {listed(missing)} is missing, or no matrix")
    units = parts["weight_hh"].shape[1]
    gates = GATES.get(len(parts["weight_ih"]) // units)
    if gates is None or any(len(array) != len(gates) * units for array in parts.values()):
        raise InputError(f"{source}: these are no weights of an LSTM, a GRU or a simple network of {units} units "
                         "(projections have no counterpart)")
    made: dict[str, np.ndarray] = {}
    for kind, array in parts.items():
        for gate, rows in zip(gates, np.split(array, len(gates))):
            matrix, bias = KIND[kind[-2:]]
            if array.ndim == 2:
                made[matrix + gate] = rows
            elif len(gates) == 3 and gate == "h" and kind == "bias_hh":
                made["bu"] = rows
            else:
                made[bias + gate] = made[bias + gate] + rows if bias + gate in made else rows
    if "bias_ih" not in parts:                                  # bias=False there; here every layer has one
        zero = np.zeros(units, parts["weight_hh"].dtype)
        made |= {f"b{gate}": zero for gate in gates} | ({"bu": zero} if len(gates) == 3 else {})
    return made


def _path(name: str, places: dict[str, list[str]], shapes: dict) -> str:
    """Where an array that is no part of a recurrent layer goes."""
    if name in places:
        return places[name][0]
    module, _, last = name.rpartition(".")
    path = places.get(module, [module])[0]
    endings = [f"{path}.{ending}" if path else ending for ending in (*NAMES.get(last, ()), last)]
    return next((ending for ending in endings if ending in shapes), endings[-1])


def _all_there(found: dict[str, str], shapes: dict) -> None:
    missing = [path for path in shapes if path not in found]
    strange = [source for path, source in found.items() if path not in shapes]
    if missing or strange:
        parts = [f"nothing is there for {listed(missing)}"] if missing else []
        parts += [f"the program has no place for {listed(strange)}"] if strange else []
        raise InputError("; ".join(parts) + "\n  hint: --map THERE=HERE says where a module, or an array, belongs")
