"""A whole network from a state dict alone, where that is unambiguous: one recurrent module, an embedding before it or
none, a linear layer behind it or none."""

import numpy as np

from rnnc.cli.bring.draft import Draft, whole
from rnnc.cli.bring.foreign import of_pytorch
from rnnc.cli.bring.products import PRODUCT
from rnnc.cli.bring.reading import Written
from rnnc.cli.bring.values import Inexpressible

CELLS = {"Wg": ("lstm", "LSTM"), "Wz": ("gru_after", "GRU"), "W": ("rnn", "RNN with tanh")}
INSTEAD = "write the network as a program and let `rnnc import STATE PROGRAM -o FILE` bring its weights"


def program(arrays: dict[str, np.ndarray], model: str, title: str) -> Written:
    """What PyTorch's modules compute one after another, without dropout."""
    modules = of_pytorch(arrays)
    if len(modules.layers) != 1:
        many = "no recurrent module" if not modules.layers else f"{len(modules.layers)} recurrent modules"
        raise Inexpressible(f"{many}: how modules hang together a state dict does not say; {INSTEAD}, or export the "
                            "model as ONNX")
    ((name, layers),) = modules.layers.items()
    cell, kind = next(found for gate, found in CELLS.items() if gate in layers[0, False])
    units = next(array.shape[1] for path, array in layers[0, False].items() if path.startswith("U"))
    both = (0, True) in layers
    width = next(array.shape[1] for path, array in layers[0, False].items() if path.startswith("W"))
    embedding, linear = _ends(modules.rest, width, units * (1 + both))

    draft, weights, lines = Draft(), {}, []
    x = draft.name("x")
    lines.append(f"input x : class({len(embedding[1])})" if embedding else f"input x : [{width}]")
    lines.append("")
    signal = x
    if embedding:
        signal = draft.name(embedding[0] or "embedding")
        lines.append(f"{signal} = embed({width})(x)")
        weights[f"{signal}.W"] = embedding[1].T
    for number in range(1 + max(n for n, _ in layers)):
        made = []
        for back in (False, True) if both else (False,):
            if (number, back) not in layers:
                raise Inexpressible(f"{name or 'the module'} lacks layer {number}{' backwards' if back else ''}")
            here = draft.name(f"{name or kind.split()[0].lower()}{'_back' * back}")
            layer = f"reversed({cell}({units}))" if back else f"{cell}({units})"
            lines.append(f"{here} = {layer}({signal})")
            weights |= {f"{here}.{path}": array for path, array in layers[number, back].items()}
            made.append(here)
        signal = f"concat({', '.join(made)})" if both else made[0]
    if linear:
        here = draft.name(linear[0] or "linear")
        lines.append(f"{here} = {'dense' if linear[2] is not None else 'product'}({len(linear[1])})({signal})")
        weights |= {f"{here}.W": linear[1]} | ({} if linear[2] is None else {f"{here}.b": linear[2]})
        signal = here
    lines += ["", f"output {signal}" if signal.isidentifier() else f"output {draft.name('y')} = {signal}"]
    parts = [PRODUCT] if linear and linear[2] is None else []
    said = f"{title}\nTaken to be nn.{kind}: a state dict has names and numbers only."
    return Written(whole(said, parts, model, lines), weights, (
        f"taken to be {'nn.Embedding, ' if embedding else ''}nn.{kind}{', nn.Linear' if linear else ''}, one after "
        "another and nothing between; a state dict does not say",))


def _ends(rest: dict[str, np.ndarray], inside: int, outside: int):
    """The embedding, as (name, rows), and the linear layer, as (name, matrix, bias), of what is no recurrent layer."""
    left, embedding, linear = dict(rest), None, None
    matrices = [key for key, array in rest.items() if key.rpartition(".")[2] == "weight" and array.ndim == 2]
    bias = lambda key: key.removesuffix("weight") + "bias"
    for key in sorted(matrices, key=lambda key: bias(key) not in rest):         # those with a bias are no embeddings
        either = bias(key) not in rest and rest[key].shape[1] == inside == outside
        if rest[key].shape[1] == outside and linear is None and not (either and "emb" in key.lower()):
            if either and embedding is None:
                break                          # nothing tells on which side it stands
            linear = key.rpartition(".")[0], left.pop(key), left.pop(bias(key), None)
        elif bias(key) not in rest and rest[key].shape[1] == inside and embedding is None:
            embedding = key.rpartition(".")[0], left.pop(key)
    if left:
        raise Inexpressible(f"what {', '.join(list(left)[:8])} is for a state dict does not say: it can be told for "
                            f"one recurrent module with an nn.Embedding before and an nn.Linear behind it; {INSTEAD}, "
                            "or export the model as ONNX")
    return embedding, linear
