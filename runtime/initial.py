"""First values of parameters. Each is a function of the seed and the parameter's path only: adding, removing or
reordering others changes nothing."""

import hashlib
import math

import numpy as np

from rnnc.errors import InputError
from rnnc.runtime.sparse import places


def initial(init: tuple, shape: tuple[int, ...], seed: int, path: str, entry: dict | None = None) -> np.ndarray:
    """The value of one parameter, float64. Matrices are [outputs, inputs]; further axes in front make a family.
    `entry`: of the manifest, where a sparse matrix tells its places; inputs and outputs are then those that are
    stored, in the mean."""
    kind, *numbers = init
    random = generator(seed, path)
    inputs = shape[-1] if shape else 1
    outputs = shape[-2] if len(shape) > 1 else inputs
    sparse = entry is not None and entry.get("pattern") is not None
    if sparse:
        outputs = outputs * inputs / entry["whole"][-1]
    match kind:
        case "value":
            return np.full(shape, float(numbers[0]) if numbers else 0.0)
        case "uniform":
            low, high = numbers
            return random.uniform(low, high, shape)
        case "normal":
            mean, deviation = numbers
            return random.normal(mean, deviation, shape)
        case "glorot":                         # Glorot & Bengio 2010, uniform
            limit = math.sqrt(6 / (inputs + outputs))
            return random.uniform(-limit, limit, shape)
        case "he":                             # He et al. 2015, normal
            return random.normal(0, math.sqrt(2 / inputs), shape)
        case "lecun":                          # LeCun et al. 1998, normal
            return random.normal(0, math.sqrt(1 / inputs), shape)
        case "identity":
            return np.broadcast_to((numbers[0] if numbers else 1.0) * np.eye(outputs, inputs), shape).copy()
        case "orthogonal":                     # Saxe et al. 2014
            gain = numbers[0] if numbers else 1.0
            return gain * _orthogonal(random.standard_normal(shape), outputs, inputs).reshape(shape)
        case "spectral":                       # Jaeger 2001: normal numbers, scaled to a spectral radius
            draws = whole = random.standard_normal(shape)
            if sparse:
                whole = np.zeros(entry["whole"])
                whole[places(entry)] = draws
            radii = np.abs(np.linalg.eigvals(whole)).max(axis=-1)[..., None, None]
            return numbers[0] * draws / np.where(radii > 0, radii, 1)
    raise InputError(f"{path}: no way to initialise is called {kind!r}")


def generator(seed: int, path: str) -> np.random.Generator:
    """Random numbers of their own for each (seed, path)."""
    digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    words = [int.from_bytes(digest[i:i + 4], "little") for i in range(0, 32, 4)]
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def _orthogonal(draws: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer, uniformly distributed."""
    family = draws.reshape(-1, rows, columns)
    wide = rows < columns
    q, r = np.linalg.qr(family.transpose(0, 2, 1) if wide else family)
    q = q * np.where(np.diagonal(r, axis1=1, axis2=2) < 0, -1.0, 1.0)[:, None, :]
    return q.transpose(0, 2, 1) if wide else q
