"""What makes two runs the same run: every field that can change the result, the split, the data,
the plug-ins that are used and the trainer."""

import dataclasses
import functools
import hashlib
import json
from pathlib import Path
from typing import Any

from rml_trainers import RESULT_VERSION
from rml_trainers.config import RunConfig
from rml_trainers.noise.geometry import may_overhang
from rml_trainers.settings.plugins import Plugin, plugins_that_add

NOT_IDENTITY = ("runtime",)
"""Blocks of the configuration that say how a run is carried out, not what it computes."""


def identity_fields(config: RunConfig) -> dict[str, Any]:
    """Nested fields that differ from their defaults, names always kept; paths replaced by the hash
    of what they hold, and the hashes of the plug-ins that are used.

    Fields at their default are left out, so that adding a field to the project does not orphan
    recorded runs. Whoever changes a default, or what a field means, raises RESULT_VERSION. Where a
    mend changes the results of few configurations, what it is about is a field of those alone, so
    that they have other ids and all others keep theirs.
    """
    fields = _differing(config)
    for block in NOT_IDENTITY:
        fields.pop(block, None)
    split = fields.get("split", {})
    for recipe in (
        "family",
        "num_labelled",
        "fraction",
        "seed",
        "labelled_list",
        "unlabelled_list",
    ):
        split.pop(
            recipe, None
        )  # the split's content hash stands for them: two recipes, one split, one run
    for network in ("network", "peer_network"):
        weights_file = fields.get(network, {}).get("weights_file")
        if weights_file is not None:
            fields[network]["weights_file"] = _file_hash(Path(weights_file))
    fields |= mended(config)
    if plugins := plugins_of(config):
        fields["plugins"] = sorted(plugin.hash for plugin in plugins)
    return fields


def mended(config: RunConfig) -> dict[str, str]:
    """What a later mend made of the results of a few configurations, this one among them; empty for
    all others."""
    found = {}
    if config.method.padding_counted_once and may_overhang(config.geometry, config.data.size_px):
        found["padding"] = "left out"
    measures = config.method.uses_unlabelled and config.evaluation.monitor_pseudo_labels
    if measures and config.split.label_noise > 0 and config.split.pool_includes_labelled:
        found["truth"] = "without label noise"
    return found


def plugins_of(config: RunConfig) -> tuple[Plugin, ...]:
    """The plug-ins that bring the method, a network or the data set of a run.

    A metric does not make another run: it is a function of the confusion matrix, which is recorded.
    """
    networks = config.student_networks
    return plugins_that_add(
        ("data", config.data.name),
        ("method", config.method.name),
        *(("network", network.name) for network in networks),
    )


def identity_hash(config: RunConfig, *, split_hash: str, data_hash: str) -> str:
    """sha256 (hex) over the identity fields, the split's and the data's content hash and the result
    version."""
    parts = [identity_fields(config), split_hash, data_hash, RESULT_VERSION]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _differing(value: Any) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, default in _defaults(value.__class__):
        item = getattr(value, name)
        if hasattr(type(item), "__dataclass_fields__"):
            nested = _differing(item)
            if nested:
                kept[name] = nested
        elif name == "name" or item != default:
            kept[name] = item
    return kept


@functools.cache
def _defaults(config_class: type[Any]) -> tuple[tuple[str, Any], ...]:
    """Name and default of every field. Kept: a large study asks a hundred thousand times."""
    return tuple((field.name, field.default) for field in dataclasses.fields(config_class))


def _file_hash(path: Path) -> str:
    status = path.stat()
    return _content_hash(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache
def _content_hash(path: Path, size: int, modified_ns: int) -> str:
    """sha256 of a file that has not changed since: weights take a second to read, and all cells of
    a study begin with the same."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
