"""A file of PyTorch, or of safetensors -> arrays by name."""

from pathlib import Path

from rnnc.cli.console import Refusal, Usage


def read(path: Path) -> dict:
    """Arrays by name, in float32 or float64."""
    if path.suffix in (".pt", ".pth"):
        arrays = unpacked(path)
    elif path.suffix == ".safetensors":
        from rnnc.runtime.storage import read as stored
        arrays = stored(path, advice="")[0]
    else:
        raise Usage(f"{path}: a .onnx, .safetensors or .pt file is wanted")
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
        found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:                 # of many kinds, by what is wrong with the file
        raise Refusal(f"{path}: no state dict that can be read safely ({str(fault).splitlines()[0][:120]})") from None
    tensors = lambda d: isinstance(d, dict) and bool(d) and all(isinstance(v, torch.Tensor) for v in d.values())
    inner = [found, *found.values()] if isinstance(found, dict) else []
    state = next((d for d in inner if tensors(d)), None)
    if state is None:
        raise Refusal(f"{path}: no state dict is in it; torch.save(model.state_dict(), ...) writes one")
    return {name: (t.float() if t.dtype in (torch.bfloat16, torch.float16) else t).numpy() for name, t in state.items()}
