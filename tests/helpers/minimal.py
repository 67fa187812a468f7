"""`examples/onnx_minimal.py`, run without torch and this program."""

import os
import subprocess
import sys

from tests.helpers.commands import ROOT

PYTHON = os.environ.get("GRAFT_MINIMAL_PYTHON", sys.executable)
"""Interpreter of the example: in CI that of an environment with NumPy, Pillow and onnxruntime alone."""

BLOCKED = """
import runpy, sys
class Blocked:
    def find_spec(self, name, *rest):
        if name.partition(".")[0] in ("torch", "lightning", "timm", "commands", "cv2"):
            raise ImportError(name)
sys.meta_path.insert(0, Blocked())
runpy.run_path(sys.argv.pop(1), run_name="__main__")
"""


def minimal(*typed: str, code: int = 0) -> str:
    """Output of the example, or with another exit code its error."""
    command = [PYTHON, "-c", BLOCKED, str(ROOT / "examples" / "onnx_minimal.py"), *typed]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.returncode == code, run.stderr
    return run.stderr if code else run.stdout
