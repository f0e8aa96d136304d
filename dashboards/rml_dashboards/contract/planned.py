"""What a study's written plan holds that tables, figures and pages go by.

The platform writes it, with more of its own (`rml_platform.planning.plan_file.written_plan`, whose
classes are these and add to them); the dashboards read these fields and leave the others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.contract.study_plan import file_suffix

Aggregate = Literal["last", "best_holdout", "mean_of_last"]
"""What a table shows of a curve: its last value, that of the evaluation which is best on held-out
images, or the mean of its last values."""
FigureKind = Literal["curves", "scores", "classes", "ranks", "profile", "gain", "cost"]


@dataclass(frozen=True, kw_only=True)
class ReportedNumber:
    """A number that somebody printed, in the unit of the table (per cent where `scale` is 100)."""

    mean: float
    std: float | None = None
    source: str = ""
    """Where it stands, for example "paper, Table 1"."""
    note: str = ""
    """What a reader must know about it; becomes a footnote."""
    protocol: str = ""
    """Evaluation protocol as far as the source tells (`cityscapes-512x1024`); empty when it does
    not."""

    def comparable_with(self, protocol: str) -> bool:
        """Whether a score under the given protocol id may be subtracted from it.

        Publications seldom say which network was scored and when, so a prefix of the id is enough;
        a source that states no protocol at all is compared, because the table names that source.
        """
        return (
            not self.protocol
            or protocol == self.protocol
            or protocol.startswith(f"{self.protocol}/")
        )


@dataclass(frozen=True, kw_only=True)
class PlannedRow:
    """One row of the study's table."""

    label: str
    group: str = ""
    """Heading over consecutive rows of the same group; empty: none."""
    columns: tuple[str, ...] = ()
    """Labels of the columns that it is run for; none for a comparator."""
    reported: Mapping[str, tuple[ReportedNumber, ...]] = field(default_factory=dict)
    """Column label → numbers that somebody printed."""
    priority: int = 0
    """Rows of a higher number are started first."""
    tolerance: float | None = None
    """How near its reported numbers ours must be; None: as for the table."""


@dataclass(frozen=True, kw_only=True)
class PlannedColumn:
    """One column of the study's table."""

    label: str
    metric: str
    """Key of the score that it shows."""
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
    """Recorded scores are fractions; the table shows them times this."""
    digits: int = 1
    """Digits after the decimal point."""
    tolerance: float | None = None
    """How near a reported number ours must be for `rml tables --check`, in the unit of the
    table."""


@dataclass(frozen=True, kw_only=True)
class PlannedFigure:
    """One figure that the study declares. Of curves, rows are colours, metrics line styles, columns
    panels: mean over seeds with a band of ± std. The other kinds draw the study's table."""

    name: str
    """Also the name of its files."""
    kind: FigureKind = "curves"
    """`curves` over training · `scores`: the runs of every row as points · `classes`: IoU of every
    class · `ranks`: the critical-difference diagram · `profile`: performance profiles · `gain`:
    over the row `against`, by share of labels · `cost`: score by hours of a run."""
    title: str = ""
    """Default: the study's."""
    caption: str = ""
    against: str = ""
    """Row that `gain` is counted from; default: the first row whose method is `supervised`."""
    metric: str | None = None
    """Key as the tracker has it, for example `train/coupling_tv`. Exactly one of `metric` and
    `metrics`."""
    metrics: dict[str, str] = field(default_factory=dict)
    """Label → key, to compare several metrics of the same runs."""
    rows: tuple[str, ...] | None = None
    """Labels as the table shows them; default: every row that is run."""
    columns: tuple[str, ...] | None = None
    from_stage: int = 0
    """The axis of steps begins with this stage; 0 is the supervised warm-up."""
    to_stage: int | None = None
    """Last stage that is drawn; default: the last one."""
    scale: float = 1.0
    """Drawn is the recorded value times this."""
    y_label: str = ""
    """Quantity and unit; default: the key of the metric."""
    smoothing: int = 1
    """Reports in the centred moving average; 1 draws what was recorded."""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_y: bool = False

    @property
    def keys_by_label(self) -> dict[str, str]:
        """Label → key of everything that is drawn; the label of a single metric is empty."""
        return self.metrics or {"": self.metric or ""}


@dataclass(frozen=True, kw_only=True)
class PlannedDifference:
    """Two rows of the table, of which the second is subtracted."""

    row: str
    against: str


@dataclass(frozen=True, kw_only=True)
class PlannedQuestion:
    """What a study asks: differences that are tested, and corrected for their number, together."""

    title: str
    asked: str = ""
    """When it was asked, and what had been seen by then."""
    differences: tuple[PlannedDifference, ...]
    columns: tuple[str, ...] | None = None
    """Labels as the table shows them; default: every column."""
    beyond: str = ""
    """A column whose differences are subtracted as well: how much more than there?"""
    seeds: tuple[int, ...] | None = None
    """Default: those of the study."""


@dataclass(frozen=True, kw_only=True)
class PlannedImport:
    """The score of one run of another tool, in the unit of the table."""

    run: str
    """What that tool calls the run."""
    row: str
    column: str
    seed: int
    value: float
    protocol: str
    """Id of the evaluation protocol, as rml's tables write it where it is the same."""
    split: str = ""
    """Hash of the split, as `rml plan` shows it; without it runs are never paired with ours."""
    file: str = ""
    """Name of the file that it was read from."""


def cell_name(row: str, column: str, seed: int) -> str:
    """What messages call a cell."""
    return f"row {row!r}, column {column!r}, seed {seed}"


@dataclass(frozen=True, kw_only=True)
class PlannedCell:
    """One run of one row, column and seed."""

    row: str
    column: str
    seed: int

    @property
    def name(self) -> str:
        return cell_name(self.row, self.column, self.seed)


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """One stage of a run."""

    last_step: int
    """Steps of the run at which the stage is complete; it begins where the stage before it ends."""
    hash: str | None = None
    """Equal for runs that are the same up to `last_step`, which is trained once for all of them;
    None where nothing is shared (`supervised`, whose only stage is the whole run)."""


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
    """Steps of each stage after the warm-up, as the schedule has them; `stages` are those that the
    method makes of it."""
    stages: tuple[PlannedStage, ...]
    reporting: str
    """Equal for runs that measure the same things at the same steps."""
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
    """Of the run that is repeated."""
    repeat_id: str
    how: str
    """The settings in which the two differ."""


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """Every run of a study, each once, in the order of the table, and how its results are shown."""

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
    """What a person should know before launching."""
    imported: tuple[PlannedImport, ...] = ()
    """Runs of other tools, in rows of their own."""
    base: dict[str, Any] | None = None
    """Dotted key → value in the study's base of `settings` and of the runs' settings, without those
    that the base does not have; None where the base alone is no whole configuration, and in plans
    of an earlier version."""
    earlier: tuple[PlannedEarlier, ...] = ()
    """Of one cell the latest last: tables tell their scores, as stale ones, where the run that the
    study has now has none."""
    repeats: tuple[PlannedRepeat, ...] = ()
    """What measures the study's noise floor. Its runs are among `runs`, without cells."""
    questions: tuple[PlannedQuestion, ...] = ()
    """What `rml tables --statistics` answers."""
    search: object = None
    """None, unless runs were stopped by their scores on the way, which are then in no table."""

    @property
    def file_suffix(self) -> str:
        """What the names of the study's files end with: another size has files of its own."""
        return file_suffix(self.profile)

    @property
    def cells(self) -> tuple[tuple[PlannedCell, PlannedRun], ...]:
        """Every cell with the run that fills it."""
        return tuple((cell, run) for run in self.runs for cell in run.cells)
