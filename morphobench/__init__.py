"""MorphoBench: a benchmark of generative cell morphology.

>>> import morphobench
>>> from morphobench.metrics import frechet_distance

`morphobench.evaluate(...)` scores a model or a submission, `morphobench.compare(...)` sets two beside each other;
`morphobench.metrics` holds the metrics as plain functions of arrays; `morphobench.load_tier(...)` gives the data.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from morphobench.comparison import compare
    from morphobench.datasets import load_tier
    from morphobench.evaluation import evaluate

__version__ = version("morphobench")
__all__ = ["__version__", "compare", "evaluate", "load_tier"]


def __getattr__(name: str) -> Any:
    # They pull in pandas and more; `import morphobench` and `--help` stay fast without them.
    if name == "compare":
        from morphobench.comparison import compare

        return compare
    if name == "evaluate":
        from morphobench.evaluation import evaluate

        return evaluate
    if name == "load_tier":
        from morphobench.datasets import load_tier

        return load_tier
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
