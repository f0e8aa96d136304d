"""Which plug-ins this process has loaded, and which of them a run uses.

A plug-in is a module outside this package that adds entries to `METHODS`, `NETWORKS`, `DATASETS` or
`METRICS`. Whoever imports one (`rml_platform.plugins` does) writes it down here, so that what is
computed with it never goes by the name of what is computed with another content of it.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["method", "network", "data", "metric"]
Entry = tuple[Kind, str]
"""A name in one of the four dictionaries."""


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """One module that was loaded from outside."""

    name: str
    """Of the module: `my_methods`."""
    location: str
    """What imports it: a dotted name, or the absolute path of a file or package folder."""
    hash: str
    """12 hex digits over the content of its Python files, whatever those are called."""
    entries: tuple[Entry, ...]
    """What it added."""


LOADED: dict[str, Plugin] = {}
"""The plug-ins of this process by their location."""


def plugins_that_add(*entries: Entry) -> tuple[Plugin, ...]:
    """The loaded plug-ins that added at least one of these entries, in the order of their names."""
    found = [plugin for plugin in LOADED.values() if set(entries) & set(plugin.entries)]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.hash)))


def plugins_with_metrics() -> tuple[Plugin, ...]:
    """The loaded plug-ins that every run records a score of: all metrics are computed always."""
    found = [p for p in LOADED.values() if any(kind == "metric" for kind, _ in p.entries)]
    return tuple(sorted(found, key=lambda plugin: (plugin.name, plugin.hash)))
