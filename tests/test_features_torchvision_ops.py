"""torchvision imports whatever wheel is installed, in a fresh process, and its own operators are left alone."""

import subprocess
import sys


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()


def test_torchvision_imports_and_only_missing_operators_are_declared() -> None:
    out = run(
        "from morphobench.features import torchvision_ops as ops\n"
        "ops.ensure_torchvision(); ops.ensure_torchvision()\n"
        "import torchvision.transforms, torchvision.extension\n"
        "print(torchvision.extension._has_ops(), len(ops._declared))"
    )
    assert out in ("True 0", "False 1", "False 0")
