"""The shape of a configuration class: which keys it has, and which class a block such as `method`
chooses by name.

A field of type `DataConfig`, `MethodConfig` or `NetworkConfig` admits every class that the
dictionary of its kind holds, and the key `name` of the block decides. The dictionaries are read
each time, because a plug-in may have added to them.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

from rml_trainers.data import DATASETS
from rml_trainers.methods import METHODS
from rml_trainers.networks import NETWORKS
from rml_trainers.settings.contract import DataConfig, MethodConfig, NetworkConfig

ConfigClass = type[Any]


_HINTS: dict[ConfigClass, dict[str, Any]] = {}


def hints(config_class: ConfigClass) -> Mapping[str, Any]:
    """Resolved type of every field of a configuration class."""
    if config_class not in _HINTS:
        names = {field.name for field in dataclasses.fields(config_class)}
        resolved = typing.get_type_hints(config_class)
        _HINTS[config_class] = {name: hint for name, hint in resolved.items() if name in names}
    return _HINTS[config_class]


def keys(config_class: ConfigClass) -> tuple[str, ...]:
    """Keys that a mapping of this class may have."""
    return tuple(hints(config_class))


def members(hint: Any) -> tuple[ConfigClass, ...]:
    """Configuration classes that a type admits: none, one, or one per name."""
    return tuple(choices(hint).values()) or tuple(
        part for part in _parts(hint) if isinstance(part, type) and dataclasses.is_dataclass(part)
    )


def _parts(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def may_be_null(hint: Any) -> bool:
    """Whether a type admits None."""
    return types.NoneType in _parts(hint)


def literals(hint: Any) -> tuple[Any, ...]:
    """Values that a type lists one by one; none for any other type."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def choices(hint: Any) -> dict[str, ConfigClass]:
    """Classes that a block of this type chooses between by its key `name`; empty for any other
    type."""
    for base, entries in (
        (DataConfig, DATASETS),
        (MethodConfig, METHODS),
        (NetworkConfig, NETWORKS),
    ):
        if base in _parts(hint):
            return {name: entry.config for name, entry in entries.items()}
    return {}


def named_blocks(config_class: ConfigClass) -> dict[str, dict[str, ConfigClass]]:
    """Fields that choose a class by name: field → name → class."""
    found = {field: choices(hint) for field, hint in hints(config_class).items()}
    return {field: by_name for field, by_name in found.items() if by_name}


def default_name(config_class: ConfigClass, field: str) -> str | None:
    """Name of a block whose mapping gives none: that of the field's default."""
    default = next(f.default for f in dataclasses.fields(config_class) if f.name == field)
    named = isinstance(default, DataConfig | MethodConfig | NetworkConfig)
    return default.name if named else None


def hint_at(root: ConfigClass, values: object, path: tuple[str | int, ...]) -> Any:
    """Type expected at a key path, given the names that the values choose; None where there is no
    such key."""
    hint: Any = root
    for key in path:
        owner = class_of(hint, values)
        hint = hints(owner).get(str(key)) if owner is not None else _element(hint)
        values = _inner(values, key)
    return hint


def class_of(hint: Any, values: object) -> ConfigClass | None:
    """Configuration class that a mapping of this type belongs to; None for plain types and names
    that do not exist."""
    if by_name := choices(hint):
        name = values.get("name") if isinstance(values, Mapping) else None
        return by_name.get(str(name))
    return next(iter(members(hint)), None)


def _element(hint: Any) -> Any:
    """Type of the elements of a tuple or of the values of a dict, or None."""
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return arguments[0]
    return arguments[1] if get_origin(hint) is dict else None


def _inner(values: object, key: str | int) -> object:
    if isinstance(values, Mapping):
        return values.get(key)
    if isinstance(values, list) and isinstance(key, int) and key < len(values):
        return values[key]
    return None
