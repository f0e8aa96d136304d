"""Settings of a study's runs as dotted keys: those that all share, and those in which runs
differ."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rml_trainers.config import RunConfig

Settings = dict[str, Any]
"""Dotted key → value, as JSON has it."""


@dataclass(frozen=True)
class SettingDifferences:
    """The settings of several runs that are not at their default in all of them."""

    shared: Settings
    """Those that have the same value in every run."""
    own: tuple[Settings, ...]
    """For each run its values of the others; a key that its method, network or data set does not
    have is left out."""
    base: Settings | None
    """The base's values of all these settings, where there is a base; a key that its method,
    network or data set does not have is left out."""


def setting_differences(
    configs: Sequence[RunConfig], base: RunConfig | None = None
) -> SettingDifferences:
    """Compare the settings of runs with each other, and with the base that they were made of. What
    differs from the base is a setting that they share, too, where they have it at its default."""
    flattener = _Flattener()
    flat = [flattener.of(config) for config in configs]
    of_runs = frozenset(flattener.not_default)
    of_base = {} if base is None else flattener.of(base)
    not_as_base = {
        key
        for key in flattener.not_default & of_base.keys()
        if not all(_same(one, of_base, key) for one in flat)
    }
    shown = sorted(of_runs | not_as_base)
    shared = [key for key in shown if all(_same(one, flat[0], key) for one in flat)]
    differing = [key for key in shown if key not in set(shared)]
    return SettingDifferences(
        shared={key: flat[0][key] for key in shared},
        own=tuple({key: one[key] for key in differing if key in one} for one in flat),
        base=None if base is None else {key: of_base[key] for key in shown if key in of_base},
    )


def _same(one: Settings, other: Settings, key: str) -> bool:
    return key in one and key in other and one[key] == other[key]


class _Flattener:
    """Flattens configurations. Runs of a study share most of their parts (one `network` for a
    thousand cells), so each part is flattened once."""

    def __init__(self) -> None:
        self.not_default = set[str]()
        """Keys that some configuration has at another value than their default."""
        self._parts: dict[tuple[str, int], tuple[object, Settings]] = {}

    def of(self, config: RunConfig) -> Settings:
        """Every setting of a run."""
        return self._flatten("", config)

    def _flatten(self, prefix: str, owner: Any) -> Settings:
        flat: Settings = {}
        for field in dataclasses.fields(owner):
            key = f"{prefix}{field.name}"
            value = getattr(owner, field.name)
            if dataclasses.is_dataclass(value):
                flat |= self._part(f"{key}.", value)
                continue
            flat[key] = _plain(value)
            if field.name == "name" or value != field.default:
                self.not_default.add(key)
        return flat

    def _part(self, prefix: str, part: object) -> Settings:
        known = self._parts.get((prefix, id(part)))
        if known is None:
            # Kept with the part itself: the id of an object that has gone is given out again.
            known = (part, self._flatten(prefix, part))
            self._parts[(prefix, id(part))] = known
        return known[1]


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    return value
