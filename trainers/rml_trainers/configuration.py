"""What every configuration class shares: frozen, keyword-only, strict, checked when built.

A configuration is a plain standard-library dataclass; the platform validates YAML into it with
pydantic, which reads `__pydantic_config__`. The trainers themselves do not import pydantic.
"""

import dataclasses
import difflib
from collections.abc import Iterable
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


ADDED_LATER = {"added_later": True}
"""Metadata of a field that a published configuration got later: at its default, folders are named
as they were before there was one."""


@dataclass_transform(
    kw_only_default=True, frozen_default=True, field_specifiers=(dataclasses.field,)
)
def configuration(cls: type[T]) -> type[T]:
    """Turn a class into a frozen, keyword-only dataclass that rejects unknown keys and loose
    types."""
    cls.__pydantic_config__ = {"extra": "forbid", "strict": True}  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, kw_only=True)(cls)


def require(condition: bool, field: str, value: object, expected: str) -> None:
    """Raise a ValueError naming the field, the value and what was expected, unless `condition`
    holds."""
    if not condition:
        raise ValueError(f"{field} = {value!r}: expected {expected}")


def suggest(name: str, choices: Iterable[str]) -> str:
    """Sentence that lists the choices and, first, the nearest one to a misspelt name."""
    known = sorted(choices)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}choices: {', '.join(known)}"
