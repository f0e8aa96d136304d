"""A study's written plan, as far as tables and figures need it.

The platform writes the whole plan; what stands here is the part that is read. Keys that are not
named here are left to the platform. Imports no pandas, because commands that only look go by it.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
from pyarrow import ArrowException, fs

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.contract.study_plan import FORMAT, file_suffix
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError
from rml_dashboards.tables.specification import Aggregate


@dataclass(frozen=True, kw_only=True)
class PlannedNumber:
    """A number that somebody printed, in the units of the table."""

    mean: float
    std: float | None = None
    source: str = ""
    note: str = ""
    protocol: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """One row of the study's table."""

    label: str
    group: str = ""
    columns: tuple[str, ...] = ()
    """Labels of the columns that it is run for; none for a comparator."""
    reported: dict[str, tuple[PlannedNumber, ...]] = field(default_factory=dict)
    priority: int = 0
    """Rows of a higher number are started first."""
    tolerance: float | None = None
    """How near its reported numbers ours must be; None: as for the table."""


@dataclass(frozen=True, kw_only=True)
class PlannedColumn:
    """One column of the study's table."""

    label: str
    metric: str
    higher_is_better: bool
    aggregate: Aggregate = "last"
    last_k: int = 5


@dataclass(frozen=True, kw_only=True)
class PlannedTable:
    """How the study's table is printed."""

    title: str = ""
    caption: str = ""
    row_heading: str = "Method"
    metric: str = FINAL_MIOU
    scale: float = 100.0
    digits: int = 1
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class PlannedFigure:
    """One figure that the study declares; docs/studies.md explains its keys."""

    name: str
    kind: str = "curves"
    title: str = ""
    caption: str = ""
    against: str = ""
    metric: str | None = None
    metrics: dict[str, str] = field(default_factory=dict)
    rows: tuple[str, ...] | None = None
    columns: tuple[str, ...] | None = None
    from_stage: int = 0
    to_stage: int | None = None
    scale: float = 1.0
    y_label: str = ""
    smoothing: int = 1
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_y: bool = False

    @property
    def keys_by_label(self) -> dict[str, str]:
        """Label → key of everything that is drawn; the label of a single metric is empty."""
        return self.metrics or {"": self.metric or ""}


@dataclass(frozen=True, kw_only=True)
class PlannedImport:
    """The score of one run of another tool, in the units of the table."""

    run: str
    row: str
    column: str
    seed: int
    value: float
    protocol: str
    split: str = ""
    file: str = ""


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One run of one row, column and seed."""

    row: str
    column: str
    seed: int

    @property
    def name(self) -> str:
        return f"row {self.row!r}, column {self.column!r}, seed {self.seed}"


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a run."""

    last_step: int
    hash: str | None = None
    """Equal for runs that are the same up to `last_step`; None where nothing is shared."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run, whichever cells it fills."""

    run_id: str
    cells: tuple[PlannedCell, ...]
    method: str
    data: str
    num_labelled: int
    num_unlabelled: int
    split_hash: str
    data_hash: str
    warm_up_steps: int
    stage_steps: tuple[int, ...]
    stages: tuple[PlannedStage, ...]
    reporting: str
    settings: dict[str, Any]
    """Dotted key → value of the settings in which the study's runs differ."""


@dataclass(frozen=True, kw_only=True)
class PlannedEarlier:
    """A run that an earlier plan of the study had in a cell where there is another one now."""

    row: str
    column: str
    seed: int
    run_id: str


@dataclass(frozen=True, kw_only=True)
class PlannedRepeat:
    """A run that repeats the run of a cell with other rounding."""

    row: str
    column: str
    seed: int
    run_id: str
    repeat_id: str
    how: str
    """The settings in which the two differ."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Every run of a study, each once, in the order of the table, and how its results are shown."""

    written_at: str
    code_version: str
    result_version: int
    source: str
    """The study file, as the command named it."""
    source_hash: str
    profile: str | None
    overrides: tuple[str, ...]
    name: str
    title: str
    description: str
    rows: tuple[PlannedRow, ...]
    columns: tuple[PlannedColumn, ...]
    seeds: tuple[int, ...]
    table: PlannedTable
    figures: tuple[PlannedFigure, ...]
    settings: dict[str, Any]
    """Dotted key → value of the settings that all runs share and that differ from their
    defaults."""
    runs: tuple[PlannedRun, ...]
    warnings: tuple[str, ...]
    imported: tuple[PlannedImport, ...] = ()
    base: dict[str, Any] | None = None
    """Dotted key → value in the study's base of `settings` and of the runs' settings, without those
    that the base does not have; None where the base alone is no whole configuration, and in plans
    of an earlier version."""
    earlier: tuple[PlannedEarlier, ...] = ()
    """Of one cell the latest last."""
    repeats: tuple[PlannedRepeat, ...] = ()
    search: dict[str, Any] | None = None
    """Where runs were stopped by their scores on the way; see `check_no_search`."""

    def check_no_search(self) -> None:
        """Raise DashboardError for a search: its results are in no table."""
        if self.search is not None:
            raise DashboardError(
                f"{self.name} is a search: its worse runs were stopped by their scores, so that "
                "what is left says nothing fair of its rows, and enters no table, figure or "
                "report. Launch what won as a study without `search`; runs that are done count "
                "there"
            )

    @property
    def file_suffix(self) -> str:
        """What the names of the study's files end with: another size has files of its own."""
        return file_suffix(self.profile)

    @property
    def cells(self) -> tuple[tuple[PlannedCell, PlannedRun], ...]:
        """Every cell with the run that fills it."""
        return tuple((cell, run) for run in self.runs for cell in run.cells)


@dataclass(frozen=True)
class _Format:
    """What every version of the file states of itself."""

    format: int


_PLAN = pydantic.TypeAdapter(StudyPlan)
_FORMAT = pydantic.TypeAdapter(_Format)


def plan_of_json(content: bytes, file: str) -> StudyPlan:
    """The plan in the content of a plan file.

    Raises:
        DashboardError: the content is no plan, or one of another format; names `file`.
    """
    try:
        known = _FORMAT.validate_json(content).format
        if known != FORMAT:
            raise DashboardError(
                f"{file}: written in format {known} by another version of rml; this one reads "
                f"format {FORMAT}. Use that version, or write the plan anew: rml plan STUDY.yaml"
            )
        return _PLAN.validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DashboardError(
            f"{file} is no plan of a study, or a damaged one ({place or 'content'}: "
            f"{first['msg']}). `rml plan STUDY.yaml` writes one"
        ) from error


def read_plan(place: str | Path, file: str) -> StudyPlan | None:
    """The plan in a file below a folder (a path, or a URI that pyarrow understands); None where
    there is no such file.

    Raises:
        DashboardError: the folder cannot be opened, or see `plan_of_json`.
    """
    text = str(place)
    shown = without_secrets(f"{text.rstrip('/')}/{file}")
    try:
        where = text if "://" in text else str(Path(text).resolve())
        filesystem, path = fs.FileSystem.from_uri(where)
        with filesystem.open_input_stream(f"{path.rstrip('/')}/{file}") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    except (ArrowException, OSError, ValueError) as error:
        raise DashboardError(without_secrets(f"{shown} cannot be read: {error}")) from error
    return plan_of_json(content, shown)
