"""No call reaches beyond a buffer, the caller's or one of its own, or reads what nobody has written: see zones.py."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from test_c import have, works
from zones import PROGRAMS


@pytest.mark.parametrize("name", PROGRAMS)
def test_red_zones(tmp_path, name):
    have("gcc")
    flags = ("-fsanitize=address", "--param", "asan-instrumentation-with-call-threshold=0", "-g1")
    if not works(flags, tmp_path):
        pytest.skip("the address sanitizer does not work here")
    library = subprocess.run(["gcc", "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    done = subprocess.run([sys.executable, Path(__file__).with_name("zones.py"), name], capture_output=True, text=True,
                          env=os.environ | {"LD_PRELOAD": library, "CC": " ".join(["gcc", *flags]), "RNNC_FFI": "abi",
                                            "ASAN_OPTIONS": "detect_leaks=0", "RNNC_TEST_THREADS": "1"})
    assert done.returncode == 0, done.stderr[:3000]
