"""A file of PyTorch, or of safetensors -> arrays by name."""

import warnings
from pathlib import Path

from rnnc.cli.console import Refusal, Usage


def read(path: Path) -> dict:
    """Arrays by name, in float32 or float64."""
    if path.suffix.lower() in (".pt", ".pth"):
        arrays = unpacked(path)
    elif path.suffix.lower() == ".safetensors":
        from rnnc.runtime.storage import read as stored
        arrays = stored(path, advice="")[0]
    else:
        raise Usage(f"{path}: a .onnx, .safetensors or .pt file is wanted",
                    hint="of another framework: safetensors.numpy.save_file({name: array, ...}, 'm.safetensors')")
    wrong = next((name for name, array in arrays.items() if array.dtype.kind != "f"), None)
    if wrong is not None:
        raise Refusal(f"{path}: {wrong} holds {arrays[wrong].dtype}; real numbers are wanted")
    return {name: array if array.itemsize > 2 else array.astype("float32") for name, array in arrays.items()}


def unpacked(path: Path) -> dict:
    """A file of torch.save: a state dict, or a dict with one in it."""
    try:
        import torch
    except ImportError:
        raise Usage(f"{path.suffix} files are read by PyTorch, which is not installed",
                    hint="pip install 'rnnc[torch]', or save the state dict as .safetensors") from None
    try:
        with warnings.catch_warnings(action="ignore"):       # of other kinds of files, which are refused here
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:                 # of many kinds, by what is wrong with the file
        raise Refusal(f"{path}: no state dict that can be read safely ({reason(fault, path)})") from None
    inner = [found, *found.values()] if isinstance(found, dict) else []
    state = next(filter(None, map(arrays_of, inner)), None)
    if state is None:
        raise Refusal(f"{path}: no state dict is in it; torch.save(model.state_dict(), ...) writes one")
    return {name: numbers(path, name, tensor.detach()) for name, tensor in state.items()}


def arrays_of(found) -> dict | None:
    """The tensors of a state dict; None if it is none. What a module keeps besides them is anything at all."""
    from torch import Tensor
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        return None
    kept = {name: value for name, value in found.items() if name.rpartition(".")[2] != "_extra_state"}
    return kept if all(isinstance(value, Tensor) for value in kept.values()) else None


def reason(fault: Exception, path: Path) -> str:
    """Why torch.load gave a file up, without its advice to run what is in it all the same."""
    if not path.stat().st_size:
        return "it is empty"
    if "Unsupported global" in str(fault) or "TorchScript" in str(fault):    # what else pickles and archives may hold
        return "it holds more than tensors, such as a whole module; torch.save(model.state_dict(), ...) writes one"
    lines = str(fault).splitlines() if isinstance(fault, (OSError, RuntimeError)) else []
    return lines[0][:120] if lines else "it is damaged, or a file of another kind"


def numbers(path: Path, name: str, tensor):
    """As an array, short floats as float32."""
    short = tensor.is_floating_point() and tensor.element_size() <= 2      # NumPy lacks most of these
    try:
        return (tensor.float() if short else tensor).to_dense().numpy()
    except (TypeError, RuntimeError):          # not implemented is a RuntimeError
        where = "" if tensor.device.type == "cpu" else f" on the device {tensor.device.type}"
        raise Refusal(f"{path}: {name} holds {tensor.dtype}{where}, of which no array can be made; save it as "
                      "float32 on the CPU") from None
