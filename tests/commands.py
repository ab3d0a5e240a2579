"""How tests type a command, and programs to type it with. Not a test."""

import os
import subprocess
import sys

SMALL = ("-D", "hidden=8", "-D", "layers=1")
GOOD = """model m(n = 4) {
    input x : [3]
    target y : [n]
    h = lstm(n)(x)
    output h
    loss mse(h, y)
}
"""
BAD = "model m() {\n    input x : [3]\n    h = foo(x)\n    k = h + nothing\n    output h\n}\n"


def rnnc(*arguments, cwd=None, code: int = 0, input: str | bytes = "", **environment) -> subprocess.CompletedProcess:
    """Runs a command and holds it to its exit code; `.stdout` and `.stderr` are text."""
    data = input.encode() if isinstance(input, str) else input
    done = subprocess.run([sys.executable, "-m", "rnnc", *map(str, arguments)], cwd=cwd, input=data,
                          capture_output=True, env=os.environ | environment)
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == code, result.stdout + result.stderr
    return result
