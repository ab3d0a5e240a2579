"""One network in two libraries: a net's parameters into PyTorch's modules, PyTorch's gradients back under rnnc's paths.

rnnc keeps one parameter per gate, PyTorch stacks the gates of a layer; PyTorch has two biases per gate where rnnc has
one, except in the candidate of a GRU. The second bias is held at 0 where only the sum of both matters.
"""

import numpy as np
import torch

GATES = {torch.nn.LSTM: "ifgo", torch.nn.GRU: "rzh", torch.nn.RNN: [""]}


class Twin:
    """A recurrent module of PyTorch whose layers are found at `paths` in a net: one path per layer, or, in a
    bidirectional module, per layer and direction."""

    def __init__(self, module: torch.nn.RNNBase, paths: list[str]):
        self.module, self.gates, gru = module, GATES[type(module)], isinstance(module, torch.nn.GRU)
        ways = ("", "_reverse") if module.bidirectional else ("",)
        ends = [f"_l{layer}{way}" for layer in range(module.num_layers) for way in ways]
        self.places = []                       # name in PyTorch, row of gates or None, path in rnnc
        for end, path in zip(ends, paths, strict=True):
            for row, gate in enumerate(self.gates):
                for kind, letter in (("weight_ih", "W"), ("weight_hh", "U"), ("bias_ih", "b")):
                    self.places.append((f"{kind}{end}", row, f"{path}.{letter}{gate}"))
            if gru:
                self.places.append((f"bias_hh{end}", 2, f"{path}.bu"))
            else:
                getattr(module, f"bias_hh{end}").requires_grad_(False)

    def take(self, parameters) -> None:
        """PyTorch's parameters from rnnc's."""
        with torch.no_grad():
            for name, value in self.module.named_parameters():
                if name.startswith("bias_hh"):
                    value.zero_()
            for name, row, path in self.places:
                self._rows(getattr(self.module, name), row).copy_(torch.from_numpy(np.array(parameters[path])))

    def gradients(self) -> dict[str, np.ndarray]:
        """PyTorch's gradients by rnnc's paths."""
        return {path: self._rows(getattr(self.module, name).grad, row).numpy() for name, row, path in self.places}

    def _rows(self, tensor, row: int):
        n = self.module.hidden_size
        return tensor[row * n:(row + 1) * n]


def gap(mine, yours) -> float:
    """The largest difference, relative to the tensor's largest entry."""
    mine, yours = np.asarray(mine, np.float64), np.asarray(yours, np.float64)
    return float(np.abs(mine - yours).max(initial=0) / max(np.abs(yours).max(initial=0), 1e-30))
