"""What travels as JSON between processes and through run folders: written and read by its type.

A reader gets a whole value or one error that names the file; it never goes on with half of it.
"""

import functools
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import pydantic
import pydantic_core

from rml_trainers.errors import RmlError

T = TypeVar("T")


class DamagedFileError(RmlError):
    """A file of a run that cannot be what was written: names the file and what is wrong with it."""


@dataclass(frozen=True)
class Codec(Generic[T]):
    """Turns values of one type into JSON and back, strictly.

    Strict: a number is not taken from a text, and a key that the type does not have is an error.
    """

    kind: Any
    """The type, `T` (`Any` because a type checker does not take `list[int]` for a `type[T]`)."""
    retired: frozenset[str] = frozenset()
    """Keys that earlier versions wrote and nobody reads any more: their files stay readable."""
    indent: int | None = 1
    """None writes all in one line, for files that are large and that no person reads."""

    def encode(self, value: T) -> bytes:
        """JSON of a value. NaN and infinities become null, because JSON has neither."""
        return self._adapter.dump_json(value, indent=self.indent)

    def decode(self, content: bytes | str, file: str) -> T:
        """The value that `encode` wrote.

        Raises:
            DamagedFileError: the content is truncated, or of another type; names `file`.
        """
        try:
            if self.retired:
                content = self._without_retired(content)
            value: T = self._adapter.validate_json(content, strict=True, extra="forbid")
        except ValueError as error:  # pydantic's own errors are ValueErrors too
            raise DamagedFileError(f"{file} is damaged: {_first_reason(error)}") from error
        return value

    def _without_retired(self, content: bytes | str) -> bytes:
        fields = pydantic_core.from_json(content)
        if isinstance(fields, dict):
            fields = {key: item for key, item in fields.items() if key not in self.retired}
        return pydantic_core.to_json(fields)

    @functools.cached_property
    def _adapter(self) -> "pydantic.TypeAdapter[T]":
        """Made when it is first needed, because making one takes milliseconds."""
        return pydantic.TypeAdapter(self.kind)


def _first_reason(error: ValueError) -> str:
    if not isinstance(error, pydantic.ValidationError):
        return f"Invalid JSON: {error}"
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else first["msg"]
