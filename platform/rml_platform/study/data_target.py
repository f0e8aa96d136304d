"""Data sets and splits as the command line names them: by a data set's name, or by a run or study
file that uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from rml_platform.plugins import IF_IT_IS_OUTSIDE
from rml_platform.study.cells import expand
from rml_platform.study.layers import Assignment, override_layer, read_overrides
from rml_platform.study.schema import load_run_config, load_study, validated
from rml_platform.study.yaml_document import Json, read_document
from rml_trainers.config import DataConfig, SplitConfig
from rml_trainers.configuration import suggest
from rml_trainers.data import DATASETS
from rml_trainers.errors import ConfigError

RECIPE = ("family", "num_labelled", "fraction", "labelled_list", "unlabelled_list")
"""Keys of a split of which one that is given on the command line replaces the others."""
DEFAULT_SEED = 12345

Chosen = tuple[DataConfig, SplitConfig | None]
"""A data set, and the split that a file uses of it."""


def data_configs(target: str, overrides: Sequence[str]) -> tuple[DataConfig, ...]:
    """Every data set that a name or file stands for, each once. Raises ConfigError."""
    return tuple(dict.fromkeys(data for data, _ in _chosen(target, overrides)))


def data_and_split(
    target: str, overrides: Sequence[str], options: Mapping[str, Json]
) -> tuple[DataConfig, SplitConfig]:
    """The one data set and the one split that a target and options of the command line mean.

    Args:
        target: a data set's name, or a file, whose own split counts where no option changes it.
        overrides: `--set` texts.
        options: keys of SplitConfig that were given as options.

    Raises:
        ConfigError: an unknown name or key, or several sets or splits to choose from.
    """
    found = _chosen(target, overrides)
    data = tuple(dict.fromkeys(config for config, _ in found))
    if len(data) > 1:
        raise ConfigError(f"{target} uses {len(data)} data sets; name one of them")
    splits = tuple(dict.fromkeys(_with_options(split, options, target) for _, split in found))
    if len(splits) > 1:
        shown = "; ".join(_shown(split) for split in splits)
        raise ConfigError(
            f"{target} uses {len(splits)} splits ({shown}); choose one with --family, --count or "
            "--fraction, and --seed"
        )
    return data[0], splits[0]


def needs_masks(split: SplitConfig) -> bool:
    """Whether a split can only be drawn from prepared masks."""
    return split.family == "stratified"


def published_names(config: DataConfig) -> tuple[str, ...] | None:
    """Training names that are known without images; None where they are not."""
    return DATASETS[config.name].published_names(config, "train")


def _chosen(target: str, overrides: Sequence[str]) -> tuple[Chosen, ...]:
    if target.endswith((".yaml", ".yml")):
        path = Path(target)
        if "base" in read_document(path).value:
            cells = expand(load_study(path, overrides))
            return tuple(dict.fromkeys((c.config.data, c.config.split) for c in cells))
        run = load_run_config(path, overrides)
        return ((run.data, run.split),)
    if target not in DATASETS:
        raise ConfigError(
            f"{target}: no such data set, nor a .yaml file; {suggest(target, DATASETS)}; "
            f"{IF_IT_IS_OUTSIDE}"
        )
    layers = [(Assignment(("name",), target, target),), override_layer(read_overrides(overrides))]
    config: DataConfig = validated(DATASETS[target].config, layers, target)
    return ((config, None),)


def _with_options(
    split: SplitConfig | None, options: Mapping[str, Json], target: str
) -> SplitConfig:
    """A file's split with the command line's options laid over it."""
    values: dict[str, Json] = {"seed": DEFAULT_SEED}
    if split is not None:
        values = asdict(split)
        if set(options) & set(RECIPE):
            replaced = _replaced_keys(options)
            values = {key: value for key, value in values.items() if key not in replaced}
    values |= options
    given = tuple(
        Assignment((key,), value, _option(key) if key in options else f"{target}: split")
        for key, value in values.items()
        if value is not None
    )
    return validated(SplitConfig, [given], target)


def _replaced_keys(options: Mapping[str, Json]) -> set[str]:
    """A new family replaces the whole recipe; another number only the number."""
    return set(RECIPE) if "family" in options else {"num_labelled", "fraction"}


def _option(key: str) -> str:
    names = {"num_labelled": "count", "labelled_list": "list"}
    return f"--{names.get(key, key).replace('_', '-')}"


def _shown(split: SplitConfig) -> str:
    number = split.num_labelled or split.fraction or split.labelled_list
    return f"{split.family} {number}, seed {split.seed}"
