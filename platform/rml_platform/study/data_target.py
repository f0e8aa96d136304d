"""Data sets as the command line names them: by name, or by a run or study file that uses them."""

from collections.abc import Sequence
from pathlib import Path

from rml_platform.study.cells import expand
from rml_platform.study.layers import Assignment, override_layer, read_overrides
from rml_platform.study.schema import load_run_config, load_study, validated
from rml_platform.study.yaml_document import Json, read_document
from rml_trainers.config import DataConfig, SplitConfig
from rml_trainers.configuration import suggest
from rml_trainers.data import DATASETS, build_dataset
from rml_trainers.data.splitting.splits import Split, make_split
from rml_trainers.errors import ConfigError


def data_configs(target: str, overrides: Sequence[str]) -> tuple[DataConfig, ...]:
    """Every data set that a name or file stands for, each once. Raises ConfigError."""
    if target.endswith((".yaml", ".yml")):
        path = Path(target)
        if "base" in read_document(path).value:
            return tuple(
                dict.fromkeys(cell.config.data for cell in expand(load_study(path, overrides)))
            )
        return (load_run_config(path, overrides).data,)
    if target not in DATASETS:
        raise ConfigError(
            f"{target}: no such data set, nor a .yaml file; {suggest(target, DATASETS)}"
        )
    layers = [(Assignment(("name",), target, target),), override_layer(read_overrides(overrides))]
    config: DataConfig = validated(DATASETS[target].config, layers, target)
    return (config,)


def split_of(
    target: str, overrides: Sequence[str], keys: dict[str, Json], data_root: Path | None
) -> Split:
    """Split of a data set by the keys of SplitConfig; published sets need no images. Raises
    ConfigError, DataError."""
    configs = data_configs(target, overrides)
    if len(configs) > 1:
        raise ConfigError(f"{target} uses {len(configs)} data sets; name one of them")
    given = tuple(
        Assignment((key,), value, f"--{key.removeprefix('num_').replace('labelled', 'count')}")
        for key, value in keys.items()
    )
    split = validated(SplitConfig, [given], target)
    published = DATASETS[configs[0].name].published_names(configs[0], "train")
    if published is not None:
        return make_split(published, split, data_root=data_root)
    dataset = build_dataset(configs[0], data_root)
    names = dataset.names("train")
    bare = dataset.names_without_label()
    return make_split(names, split, data_root=data_root, without_label=bare)
