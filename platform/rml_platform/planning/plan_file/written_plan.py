"""The plan of a study as a file, `studies/<study>/plan.json`: what `rml status`, `cancel`, `tables`
and `figures` go by.

It holds everything that they need, so that they work without images and study file, on any machine
that reaches the file and the records of the runs. Nothing in it depends on where the output folder
lies. Reading it imports no torch.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rml_dashboards.contract.study_plan import (
    FORMAT,
    STUDIES,
    file_suffix,
    plan_file,
    plan_file_name,
)
from rml_platform.planning.cost import StageCost
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunId, StudyName
from rml_platform.study.shown.figure_config import FigureConfig
from rml_platform.study.shown.others_config import ImportedConfig
from rml_platform.study.study_file import (
    Aggregate,
    CostConfig,
    ReportedConfig,
    ResourcesConfig,
    SearchConfig,
    TableConfig,
)
from rml_trainers.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WrittenRow:
    """One row of the study's table."""

    label: str
    group: str
    """Heading over consecutive rows of the same group; empty: none."""
    columns: tuple[str, ...]
    """Labels of the columns that it is run for; none for a comparator."""
    reported: dict[str, tuple[ReportedConfig, ...]]
    """Column label → numbers that somebody printed."""
    priority: int = 0
    """Rows of a higher number are started first."""
    max_gpu_hours: float | None = None
    """What its runs may take over all launches."""
    tolerance: float | None = None
    """How near them ours must be; None: as for the table."""


@dataclass(frozen=True, kw_only=True)
class WrittenColumn:
    """One column of the study's table."""

    label: str
    metric: str
    """Key of the score that it shows."""
    higher_is_better: bool
    aggregate: Aggregate = "last"
    last_k: int = 5


@dataclass(frozen=True, kw_only=True)
class WrittenPlugin:
    """A plug-in that a run of the study needs. Where it lay is left out: that is one machine's."""

    name: str
    hash: str
    """Of the content of its files."""


@dataclass(frozen=True, kw_only=True)
class WrittenCell:
    """One run of one row, column and seed."""

    row: str
    column: str
    seed: int

    @property
    def name(self) -> str:
        return f"row {self.row!r}, column {self.column!r}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class WrittenRun:
    """One run, whichever cells it fills."""

    run_id: RunId
    cells: tuple[WrittenCell, ...]
    method: str
    data: str
    num_labelled: int
    num_unlabelled: int
    split_hash: str
    data_hash: str
    prepared_folder: str
    """Folder of the prepared images, relative to the output folder."""
    warm_up_steps: int
    stage_steps: tuple[int, ...]
    """Steps of each stage after the warm-up, as the schedule has them; `stages` are those that the
    method makes of it."""
    stages: tuple[StageCost, ...]
    reporting: str
    """Equal for runs that measure the same things at the same steps."""
    settings: dict[str, Any]
    """Dotted key → value of the settings in which the study's runs differ."""
    kind: str = ""
    """Equal for runs that take equally long per step; empty in plans of an earlier version."""

    @property
    def num_steps(self) -> int:
        return self.stages[-1].last_step


@dataclass(frozen=True, kw_only=True)
class WrittenEarlier:
    """A run that an earlier plan of the study had in a cell where there is another one now."""

    row: str
    column: str
    seed: int
    run_id: RunId


@dataclass(frozen=True, kw_only=True)
class WrittenRepeat:
    """A run that repeats the run of a cell with other rounding."""

    row: str
    column: str
    seed: int
    run_id: RunId
    """Of the run that is repeated."""
    repeat_id: RunId
    how: str
    """The settings in which the two differ."""


@dataclass(frozen=True, kw_only=True)
class WrittenPlan:
    """Every run of a study, each once, in the order of the table, and how its results are shown."""

    format: Literal[1] = 1
    written_at: str
    """Date and time, UTC, ISO 8601."""
    code_version: str
    result_version: int
    """Version of the trainer's results, which is a part of every run id."""
    source: str
    """The study file, as the command named it."""
    source_hash: str
    """sha256 of the study file."""
    profile: str | None
    overrides: tuple[str, ...]
    """The `--set` of the command, sorted."""
    plugins: tuple[WrittenPlugin, ...]
    name: StudyName
    title: str
    description: str
    execution: Literal["auto", "train", "direct"]
    resources: ResourcesConfig
    rows: tuple[WrittenRow, ...]
    columns: tuple[WrittenColumn, ...]
    seeds: tuple[int, ...]
    split_seeds: tuple[int, ...] | None
    table: TableConfig
    figures: tuple[FigureConfig, ...]
    cost: CostConfig | None
    imported: tuple[ImportedConfig, ...] = ()
    """Runs of other tools, in rows of their own."""
    settings: dict[str, Any]
    """Dotted key → value of the settings that all runs share and that differ from their
    defaults."""
    runs: tuple[WrittenRun, ...]
    warnings: tuple[str, ...]
    """What a person should know before launching."""
    max_gpu_hours: float | None = None
    """What its runs may take over all launches."""
    search: SearchConfig | None = None
    """Where runs are stopped by their scores, which are then in no table."""
    earlier: tuple[WrittenEarlier, ...] = ()
    """Of one cell the latest last: tables tell their scores, as stale ones, where the run that the
    study has now has none."""
    repeats: tuple[WrittenRepeat, ...] = ()
    """What measures the study's noise floor. Its runs are among `runs`, without cells."""
    base: dict[str, Any] | None = None
    """Dotted key → value in the study's base of `settings` and of the runs' settings, without those
    that the base does not have; None where the base alone is no whole configuration, and in plans
    of an earlier version."""

    @property
    def cells(self) -> tuple[tuple[WrittenCell, str], ...]:
        """Every cell with the id of the run that fills it."""
        return tuple((cell, run.run_id) for run in self.runs for cell in run.cells)

    @property
    def file_suffix(self) -> str:
        """What the names of the study's files end with: another size has files of its own."""
        return file_suffix(self.profile)


PLAN = Codec[WrittenPlan](WrittenPlan)


def write_plan(plan: WrittenPlan, place: str | Path) -> None:
    """Write the plan below an output folder or storage (a path or URI), whole or not at all; it
    takes the place of the one before it."""
    folder = Folder.open(place).child(STUDIES, plan.name)
    folder.write(plan_file_name(plan.profile), PLAN.encode(plan))


def read_plan(place: str | Path, study: str, profile: str | None) -> WrittenPlan | None:
    """The plan below an output folder or storage; None where none was written.

    Raises:
        ConfigError: the file is damaged, or was written by another version of the program; names
            the file and says what to do.
    """
    content = Folder.open(place).child(STUDIES, study).read(plan_file_name(profile))
    if content is None:
        return None
    file = f"{place}/{plan_file(study, profile)}"
    try:
        return PLAN.decode(content, file)
    except DamagedFileError as error:
        known = _format_of(content)
        if known not in (None, FORMAT):
            raise ConfigError(
                f"{file}: written in format {known} by another version of rml; this one reads "
                f"format {FORMAT}. Use that version, or write the plan anew: rml plan STUDY.yaml"
            ) from error
        raise ConfigError(
            f"{error}. Unless another version of rml wrote it, write it anew: rml plan STUDY.yaml"
        ) from error


def planned_studies(place: str | Path) -> tuple[str, ...]:
    """Studies, each with its profile, whose plans lie below an output folder or storage: as a
    person names them to a command."""
    folder = Folder.open(place).child(STUDIES)
    return tuple(
        study if profile is None else f"{study} --profile {profile}"
        for study in folder.folders()
        for profile in _profiles(folder.child(study).files())
    )


def _profiles(files: Sequence[str]) -> list[str | None]:
    """Profiles that have a plan among the files of a study's folder."""
    stems = [name.removesuffix(".json") for name in files if name.endswith(".json")]
    return [
        stem.removeprefix("plan-") if stem != "plan" else None
        for stem in stems
        if stem == "plan" or stem.startswith("plan-")
    ]


def _format_of(content: bytes) -> object:
    """Version of the format that a file states, None where it states none."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value.get("format") if isinstance(value, dict) else None
