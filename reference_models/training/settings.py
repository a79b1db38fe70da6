"""Which configuration a training has: a named one or a TOML file, with single fields changed."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from morphobench.datasets.tables import toml
from morphobench.errors import BadInput
from morphobench.schema import first_fault

Configuration = TypeVar("Configuration")
LIKE = "like"
"""Key of a file that names the configuration whose values it takes where it is silent."""
HOW_IT_LEARNS = "recipe."
"""Fields below it say how a model is trained and not which model it is."""


def chosen(named: Mapping[str, Configuration], config: str, settings: Sequence[str] = ()) -> Configuration:
    """The configuration of a name or of a TOML file, with `settings` (FIELD=VALUE) applied.

    A file may say `like = NAME` and then only what differs. One that is another model than a named one has to have a
    name of its own, under which it is submitted.

    Raises BadInput that names the field: an unknown one with the nearest name there is, or a value that it cannot take.
    """
    kind = type(next(iter(named.values())))
    if config in named:
        source, values = f"--config {config}", as_values(named[config])
    elif Path(config).suffix == ".toml" or Path(config).exists():
        source, values = config, as_values(_checked(kind, _of_file(Path(config), named), config))
    else:
        raise BadInput(f"--config {config!r}: choose {', '.join(named)}, or give a TOML file")
    for setting in settings:
        values = _changed(values, setting)
        source = f"--set {setting}"
    made = _checked(kind, values, source)
    _check_name(made, named, source)
    return made


def as_values(configuration: Any) -> dict[str, Any]:
    """A configuration as nested tables of what JSON can hold."""
    return TypeAdapter(type(configuration)).dump_python(configuration, mode="json")


def _leaves(values: Mapping[str, Any]) -> list[str]:
    """Dotted names of all fields that are no tables."""
    names = []
    for name, value in values.items():
        names += [f"{name}.{inner}" for inner in _leaves(value)] if isinstance(value, Mapping) else [name]
    return names


def _of_file(path: Path, named: Mapping[str, Any]) -> dict[str, Any]:
    if not path.is_file():
        raise BadInput(f"--config {path}: no such file; choose {', '.join(named)}, or correct the path")
    values = toml(path.read_bytes(), str(path))
    like = values.pop(LIKE, None)
    if like is None:
        return values
    if not isinstance(like, str) or like not in named:
        raise BadInput(f"{path}: like = {like!r}: choose {', '.join(named)}")
    base = as_values(named[like])
    for name in _leaves(values):
        _check_known(name, _leaves(base), f"{path}: {name}")
    return _merged(base, values)


def _merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in changes.items():
        inner = base.get(name)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        merged[name] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged


def _changed(values: dict[str, Any], setting: str) -> dict[str, Any]:
    """`values` with one FIELD=VALUE; the value is read as TOML, as text where it is none, and `none` as no value."""
    name, separator, text = setting.partition("=")
    if not separator:
        raise BadInput(f"--set {setting!r}: give FIELD=VALUE, for example recipe.steps=500")
    _check_known(name, _leaves(values), f"--set {setting}")
    first, *inner = name.split(".")
    value = None if text == "none" else _value(text)
    for part in reversed(inner):
        value = {part: value}
    return _merged(values, {first: value})


def _value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _check_known(name: str, known: Sequence[str], place: str) -> None:
    if name in known:
        return
    by_last = {full.rpartition(".")[2]: full for full in known}
    last = get_close_matches(name.rpartition(".")[2], by_last, n=1)
    near = get_close_matches(name, known, n=1) or [by_last[word] for word in last]
    raise BadInput(f"{place}: no field of that name; " + (f"nearest: {near[0]}" if near else f"there are {known}"))


def _checked(kind: type[Configuration], values: Mapping[str, Any], source: str) -> Configuration:
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        raise BadInput(f"{source}: {first_fault(error)}; correct it") from error


def _check_name(made: Any, named: Mapping[str, Any], source: str) -> None:
    """A changed model under the name of a published one would be submitted as that one."""
    standard = next((known for known in named.values() if known.name == made.name), None)
    if standard is None:
        return
    mine, theirs = (_flat(as_values(one)) for one in (made, standard))
    differ = (name for name in mine if mine[name] != theirs.get(name))
    other = next((name for name in differ if not name.startswith(HOW_IT_LEARNS)), None)
    if other is not None:
        raise BadInput(
            f"{source}: {other} makes it another model than {made.name!r}; give it a name, --set name=NAME or in the "
            "file"
        )


def _flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        full = f"{before}{name}"
        flat |= _flat(value, f"{full}.") if isinstance(value, Mapping) else {full: value}
    return flat
