"""A study: rows × columns × seeds of one table, and its expansion into checked run configurations.

The settings of a cell are laid over each other in this order, the later one wins:
base, profile's base, `--set base.…`, row, profile's row, axis, column, profile's column, `--set`.
Seeds are set nowhere else.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rml_dashboards.contract.planned import Aggregate, PlannedCell, cell_name
from rml_platform.study.layers import Assignment, Layer, compose
from rml_platform.study.retry_config import RetryConfig
from rml_platform.study.shown.figure_config import FigureConfig
from rml_platform.study.shown.others_config import ImportedConfig
from rml_platform.study.shown.question_config import QuestionConfig
from rml_platform.study.study_file import (
    CostConfig,
    Execution,
    ReportedConfig,
    ResourcesConfig,
    SearchConfig,
    TableConfig,
)
from rml_platform.study.validation import InvalidValuesError, shown, validate
from rml_platform.study.yaml_document import Json
from rml_trainers.config import RunConfig
from rml_trainers.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table."""

    label: str
    layers: tuple[Layer, ...] = ()
    columns: tuple[str, ...] = ()
    """Labels of the columns that this row is run for (none for a comparator)."""
    reported: Mapping[str, tuple[ReportedConfig, ...]]
    """Column label → numbers that somebody printed."""
    group: str = ""
    priority: int = 0
    """Rows of a higher number are started first."""
    max_gpu_hours: float | None = None
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the table."""

    label: str
    layers: tuple[Layer, ...] = ()
    metric: str
    higher_is_better: bool | None = None
    """What the file says of it; None where it says nothing."""
    aggregate: Aggregate = "last"
    last_k: int = 5


@dataclass(frozen=True)
class AxisValue:
    """One value of an axis."""

    value: Json
    layer: Layer

    @property
    def shown(self) -> str:
        """How a row's label writes it: as in the file, a block by its name."""
        value = self.value.get("name", self.value) if isinstance(self.value, dict) else self.value
        return value if isinstance(value, str) else shown(value)


@dataclass(frozen=True, kw_only=True)
class NoiseFloor:
    """Which run of a study is repeated, and how."""

    row: str
    column: str
    seed: int
    repeats: tuple[Layer, ...]
    """Settings under `runtime` of each repeat."""


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """A cell's run once more, with other rounding."""

    of: "Cell"
    config: RunConfig
    how: str
    """The settings that it does not share: `threads=2`; `repeat 1` where it shares all."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A study file with its profile and overrides applied, not yet expanded."""

    name: str
    title: str
    description: str
    source: str
    """The file it was read from, for messages."""
    source_hash: str
    """sha256 of that file."""
    profile: str | None
    """The profile that was chosen."""
    profiles: tuple[str, ...] = ()
    """The profiles that there are."""
    execution: Execution
    resources: ResourcesConfig
    retry: RetryConfig
    """What is tried again, and how often."""
    base: tuple[Layer, ...]
    rows: tuple[Row, ...]
    columns: tuple[Column, ...]
    seeds: tuple[int, ...]
    split_seeds: tuple[int, ...] | None
    """`split.seed` for each of `seeds`."""
    table: TableConfig
    cost: CostConfig | None = None
    """What the device takes at this size, as far as the file states it."""
    figures: tuple[FigureConfig, ...] = ()
    max_gpu_hours: float | None = None
    """What its runs may take over all launches."""
    imported: tuple[ImportedConfig, ...] = ()
    """Runs of other tools, in rows of their own."""
    search: SearchConfig | None = None
    """Where runs are stopped by their scores."""
    noise_floor: NoiseFloor | None = None
    questions: tuple[QuestionConfig, ...] = ()
    overrides: Layer = ()


@dataclass(frozen=True, kw_only=True)
class Cell(PlannedCell):
    """One run of one row, column and seed; several cells may turn out to be the same run."""

    config: RunConfig


def expand(study: Study) -> tuple[Cell, ...]:
    """Every cell of the study. Raises ConfigError that names all bad cells and why each cannot
    be."""
    cells: list[Cell] = []
    bad: list[tuple[str, str]] = []
    for row, column in _rows_and_columns(study):
        one_seed: RunConfig | None = None
        for seed, split_seed in _seeds(study):
            config = one_seed and _with_seeds(one_seed, seed, split_seed)
            if config is None:
                try:
                    config, is_decided_by_seeds = _config(study, row, column, seed, split_seed)
                except InvalidValuesError as error:
                    name = cell_name(row.label, column.label, seed)
                    bad += [(problem, name) for problem in error.problems]
                    continue
                one_seed = config if is_decided_by_seeds else None
            cells.append(Cell(row=row.label, column=column.label, seed=seed, config=config))
    if bad:
        num_pairs = len(list(_rows_and_columns(study)))
        raise bad_cells_error(study.source, bad, num_cells=num_pairs * len(study.seeds))
    return tuple(cells)


def repeats(study: Study) -> tuple[Repeat, ...]:
    """The runs that measure the study's noise floor. Raises ConfigError for settings that cannot
    be."""
    floor = study.noise_floor
    if floor is None:
        return ()
    (row,) = (row for row in study.rows if row.label == floor.row)
    (column,) = (column for column in study.columns if column.label == floor.column)
    split_seed = dict(_seeds(study))[floor.seed]
    found = []
    for number, more in enumerate(floor.repeats, start=1):
        own = {".".join(one.path[1:]): shown(one.value) for one in more}
        how = ", ".join(f"{key}={value}" for key, value in own.items()) or f"repeat {number}"
        try:
            original, _ = _config(study, row, column, floor.seed, split_seed)
            config, _ = _config(study, row, column, floor.seed, split_seed, more)
        except InvalidValuesError as error:
            raise ConfigError(str(error)) from error
        cell = Cell(row=row.label, column=column.label, seed=floor.seed, config=original)
        found.append(Repeat(of=cell, config=config, how=how))
    return tuple(found)


def base_config(study: Study) -> RunConfig | None:
    """What the base says alone, without any row or column; None where that is no whole
    configuration, which a base need not be."""
    try:
        settings = compose([*study.base, study.overrides], study.source)
        return validate(RunConfig, settings.values, settings.place)
    except InvalidValuesError:
        return None


def _config(
    study: Study, row: Row, column: Column, seed: int, split_seed: int | None, more: Layer = ()
) -> tuple[RunConfig, bool]:
    """Checked settings of one cell, and whether its seeds are those that the study lists: then the
    same cell of another seed differs in nothing else. Raises InvalidValuesError."""
    seeds = _seed_layer(study.source, seed, split_seed)
    layers = [seeds, *study.base, *row.layers, *column.layers, study.overrides, more]
    settings = compose(layers, study.source)
    config = validate(RunConfig, settings.values, settings.place)
    return config, all(settings.places.get(one.path) == (0, one.place) for one in seeds)


def _with_seeds(config: RunConfig, seed: int, split_seed: int | None) -> RunConfig | None:
    """The configuration with other seeds, which costs a fiftieth of composing and checking it anew;
    None where that is not allowed, which the long way words for a person."""
    try:
        split = config.split if split_seed is None else replace(config.split, seed=split_seed)
        return replace(config, seed=seed, split=split)
    except ValueError:
        return None


def bad_cells_error(source: str, bad: Sequence[tuple[str, str]], num_cells: int) -> ConfigError:
    """One error for many cells: every distinct problem once, with the cells that have it."""
    by_problem: dict[str, list[str]] = {}
    for problem, name in bad:
        by_problem.setdefault(problem, []).append(name)
    num_bad = len({name for _, name in bad})
    lines = [f"{source}: {num_bad} of {num_cells} cells cannot run"]
    for problem, names in by_problem.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        lines += [f"  {problem}", f"    in {names[0]}{more}"]
    return ConfigError("\n".join(lines))


def multiply_rows(rows: Sequence[Row], axes: Mapping[str, Sequence[AxisValue]]) -> tuple[Row, ...]:
    """Every row once per combination of the axes' values; the combination is written behind the
    row's label.

    Numbers reported for the row are not about any of the combinations and are left out. Rows that
    are not run (comparators) stay as they are.
    """
    if not axes:
        return tuple(rows)
    last = [key.rpartition(".")[2] for key in axes]
    names = [key if last.count(short) > 1 else short for key, short in zip(axes, last, strict=True)]
    multiplied: list[Row] = []
    for row in rows:
        if not row.columns:
            multiplied.append(row)
            continue
        for combination in itertools.product(*axes.values()):
            values = ", ".join(
                f"{name}={axis.shown}" for name, axis in zip(names, combination, strict=True)
            )
            label = f"{row.label} · {values}" if row.label else values
            layers = (*row.layers, *(axis.layer for axis in combination))
            multiplied.append(replace(row, label=label, layers=layers, reported={}))
    return tuple(multiplied)


def _rows_and_columns(study: Study) -> Iterator[tuple[Row, Column]]:
    columns = {column.label: column for column in study.columns}
    for row in study.rows:
        for label in row.columns:
            yield row, columns[label]


def _seeds(study: Study) -> Iterator[tuple[int, int | None]]:
    """Every seed with the seed of its split."""
    split_seeds = study.split_seeds or (None,) * len(study.seeds)
    return zip(study.seeds, split_seeds, strict=True)


def _seed_layer(source: str, seed: int, split_seed: int | None) -> Layer:
    layer = [Assignment(("seed",), seed, f"{source}: seeds")]
    if split_seed is not None:
        layer.append(Assignment(("split", "seed"), split_seed, f"{source}: split_seeds"))
    return tuple(layer)
