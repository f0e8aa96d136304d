"""The split that `rml data splits` prints, and what is worth knowing about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from rml_platform.planning.plan_from_file import preparing
from rml_platform.study.data_target import data_and_split, needs_masks, published_names
from rml_platform.study.yaml_document import Json
from rml_trainers.config import DataConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared
from rml_trainers.data.splitting.splits import Split, make_split


@dataclass(frozen=True)
class NamedSplit:
    """A split, and notes about it."""

    split: Split
    notes: tuple[str, ...] = ()


def named_split(
    target: str,
    overrides: Sequence[str],
    options: Mapping[str, Json],
    *,
    out: Path,
    data_root: Path | None,
) -> NamedSplit:
    """Split of a data set or file, with options laid over it.

    Published sets need no images; the family `stratified` prepares the set, because it looks at
    prepared labels. Raises ConfigError or DataError.
    """
    config, split = data_and_split(target, overrides, options)
    if needs_masks(split):
        data = _prepared(config, out / "cache", data_root)
        drawn = make_split(
            data.names("train"),
            split,
            data_root=data_root,
            without_label=data.names_without_label(),
            class_pixels=data.class_pixels,
        )
        return NamedSplit(drawn, _absent(data, drawn))
    names = published_names(config)
    without_label: tuple[str, ...] = ()
    if names is None:
        dataset = build_dataset(config, data_root)
        names = dataset.names("train")
        without_label = dataset.names_without_label()
    drawn = make_split(names, split, data_root=data_root, without_label=without_label)
    folder = cache_folder(config, out / "cache")
    if not (folder / "manifest.json").is_file():
        hint = "classes are not known before `rml data prepare`"
        return NamedSplit(drawn, (hint,))
    return NamedSplit(drawn, _absent(PreparedData.open(folder), drawn))


def _prepared(config: DataConfig, cache: Path, data_root: Path | None) -> PreparedData:
    with preparing(Console(stderr=True)) as tell:

        def on_progress(done: int, total: int) -> None:
            tell(config.name, done, total)

        return ensure_prepared(config, data_root, cache, on_progress=on_progress)


def _absent(data: PreparedData, split: Split) -> tuple[str, ...]:
    """Which classes the labelled images lack. A set that was prepared from other images says
    nothing."""
    if not set(split.labelled) <= set(data.names("train")):
        return ()
    counts = data.class_pixel_counts(split.labelled)
    absent = [name for name, n in zip(data.class_names, counts.tolist(), strict=True) if n == 0]
    if not absent:
        return ("every class is shown by a labelled image",)
    return (f"no labelled image shows {', '.join(absent)}",)
