"""Reports of schema version 1, whose scores carry their printed key alone: read as those of today.

The only place that takes a key apart.
"""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json, to_json

from morphobench.metrics.metric import INCEPTION
from morphobench.metrics.registry import METRICS


def upgraded(text: bytes) -> bytes:
    """A report's JSON, in the schema of today if it was of version 1; anything else is returned as it is."""
    try:
        report = from_json(text)
    except ValueError:
        return text
    if not isinstance(report, dict) or report.get("schema_version") != 1:
        return text
    scores = report.get("scores")
    if isinstance(scores, list):
        report["scores"] = [_with_fields(score) for score in scores]
    return to_json(report | {"schema_version": 2}, inf_nan_mode="constants")


def fields_of(key: str) -> dict[str, str]:
    """Row, part, features and engine that a printed key was made of; a key of no row is its row's name."""
    for row in METRICS.values():
        if row.genuine is not None and key == row.genuine.key:
            return {"metric": row.key, "features": INCEPTION}
    for name, row in METRICS.items():
        if key == name or (key.startswith(f"{name}[") and key.endswith("]")):
            named_after = "engine" if row.named_after == "engine" else "features"
            return {"metric": row.key, "part": row.part, named_after: key[len(name) + 1 : -1]}
    return {"metric": key}


def names_a_row(key: str) -> bool:
    """Whether a printed key is that of a row of METRICS."""
    return fields_of(key) != {"metric": key}


def _with_fields(score: Any) -> Any:
    return score | fields_of(score["key"]) if isinstance(score, dict) and isinstance(score.get("key"), str) else score
