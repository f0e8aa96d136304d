"""One way in which a folder can be read."""

from dataclasses import dataclass
from typing import Any

Block = dict[str, Any]
"""A `data:` block without its `folder`."""


@dataclass(frozen=True)
class Reading:
    """A block of settings, and what is to be known about it."""

    title: str
    block: Block
    notes: tuple[str, ...] = ()
