"""Nested state (tables, lists, numbers, text, tensors) as one table of tensors and one text, and back.

safetensors holds tensors by name and JSON the rest: neither can run code when it is read, as a pickle can.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def taken_apart(tree: Any) -> tuple[dict[str, Tensor], Any]:
    """(tensors by path, what JSON can hold) of nested dicts, lists, tuples, tensors, numbers, text and None.

    TypeError for anything else.
    """
    tensors: dict[str, Tensor] = {}
    return tensors, _plain(tree, "", tensors)


def put_together(tensors: dict[str, Tensor], plain: Any) -> Any:
    """The inverse of `taken_apart`."""
    if isinstance(plain, list):
        return [put_together(tensors, item) for item in plain]
    if not isinstance(plain, dict):
        return plain
    (kind, value), *more = plain.items()
    if more or kind not in ("tensor", "table", "tuple"):
        raise ValueError(f"{list(plain)}: not written by this file")
    if kind == "tensor":
        return tensors[value]
    if kind == "tuple":
        return tuple(put_together(tensors, item) for item in value)
    return {key: put_together(tensors, item) for key, item in value}


def _plain(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        # A copy of its own: safetensors refuses tensors that share memory.
        tensors[path] = value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        return {"tensor": path}
    if isinstance(value, dict):
        return {"table": [[_key(key), _plain(item, f"{path}/{key}", tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        items = [_plain(item, f"{path}/{place}", tensors) for place, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path}: {type(value).__name__} cannot be kept in a checkpoint")


def _key(key: Any) -> str | int:
    if isinstance(key, str | int):
        return key
    raise TypeError(f"key {key!r}: a checkpoint holds tables with keys of text and whole numbers")
