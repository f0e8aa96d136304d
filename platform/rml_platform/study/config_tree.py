"""The shape of a configuration class: which keys it has, and which class a block such as `method`
chooses by name.

A field may admit several configuration classes (`data`, `method`, `network`); each of them carries
its name as a literal, and the key `name` of the block decides.
"""

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, Union, get_args, get_origin

ConfigClass = type[Any]


def hints(config_class: ConfigClass) -> dict[str, Any]:
    """Resolved type of every field of a configuration class."""
    names = {field.name for field in dataclasses.fields(config_class)}
    return {
        name: hint for name, hint in typing.get_type_hints(config_class).items() if name in names
    }


def keys(config_class: ConfigClass) -> tuple[str, ...]:
    """Keys that a mapping of this class may have."""
    return tuple(hints(config_class))


def members(hint: Any) -> tuple[ConfigClass, ...]:
    """Configuration classes that a type admits: none, one, or one per name."""
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return tuple(
        part for part in parts if isinstance(part, type) and dataclasses.is_dataclass(part)
    )


def literals(hint: Any) -> tuple[Any, ...]:
    """Values that a type lists one by one; none for any other type."""
    return get_args(hint) if get_origin(hint) is Literal else ()


def choices(hint: Any) -> dict[str, ConfigClass]:
    """Classes that a block of this type chooses between by its key `name`; empty for any other
    type."""
    by_name: dict[str, ConfigClass] = {}
    for member in members(hint):
        names = literals(hints(member).get("name"))
        if len(names) != 1:
            return {}
        by_name[str(names[0])] = member
    return by_name


def named_blocks(config_class: ConfigClass) -> dict[str, dict[str, ConfigClass]]:
    """Fields that choose a class by name: field → name → class."""
    found = {field: choices(hint) for field, hint in hints(config_class).items()}
    return {field: by_name for field, by_name in found.items() if by_name}


def default_name(config_class: ConfigClass, field: str) -> str | None:
    """Name of a block whose mapping gives none: the only one there is, or that of the field's
    default."""
    by_name = named_blocks(config_class)[field]
    if len(by_name) == 1:
        return next(iter(by_name))
    default = next(f.default for f in dataclasses.fields(config_class) if f.name == field)
    return getattr(default, "name", None)


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
        return next(iter(by_name.values())) if len(by_name) == 1 else by_name.get(str(name))
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
