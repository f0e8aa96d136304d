"""The keys of a study file, as docs/studies.md documents them. `study_builder` makes a Study of
them."""

import re
from dataclasses import field
from typing import Any, Literal

from rml_dashboards.contract.metric_keys import HOLDOUT, MIOU, VAL
from rml_dashboards.contract.names import PLAIN_NAME
from rml_dashboards.contract.planned import Aggregate, PlannedTable, ReportedNumber
from rml_platform.study.retry_config import RetryConfig
from rml_platform.study.shown.figure_config import FigureConfig
from rml_platform.study.shown.question_config import QuestionConfig
from rml_trainers.configuration import configuration, require

_VALUE = r"[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?"
_SELECTOR = re.compile(rf"!?(?:{_VALUE}|in\({_VALUE}(?:, ?{_VALUE})*\))")
"""What Ray lets a label be asked for by."""


@configuration
class ReportedConfig(ReportedNumber):
    """A number that somebody printed, checked as a study file has it."""

    def __post_init__(self) -> None:
        require(self.std is None or self.std >= 0, "std", self.std, "zero or more")


def require_positive_or_none(max_gpu_hours: float | None) -> None:
    """Raises ValueError for a budget that is none."""
    is_budget = max_gpu_hours is None or max_gpu_hours > 0
    require(is_budget, "max_gpu_hours", max_gpu_hours, "a positive number of hours")


@configuration
class RowConfig:
    """One row of the table: settings, or a comparator of which only reported numbers exist."""

    label: str
    set: dict[str, Any] = field(default_factory=dict)
    columns: tuple[str, ...] | None = None
    """Labels of the columns that this row is run for; default: all."""
    reported: dict[str, tuple[ReportedConfig, ...]] = field(default_factory=dict)
    reported_only: bool = False
    group: str = ""
    """Heading over consecutive rows of the same group."""
    priority: int = 0
    """Rows of a higher number are started first; a launch that runs reads it again."""
    max_gpu_hours: float | None = None
    """What the runs of the row may take over all launches (core-hours where they get no GPU)."""
    tolerance: float | None = None
    """How near its reported numbers ours must be for `rml tables --check`; default: the table's."""

    def __post_init__(self) -> None:
        near = self.tolerance is None or self.tolerance >= 0
        require(near, "tolerance", self.tolerance, "zero or more")
        require(self.label != "", "label", self.label, "a name for the row")
        require_positive_or_none(self.max_gpu_hours)
        idle = self.reported_only and (self.set or self.columns is not None)
        require(
            not idle,
            "reported_only",
            self.reported_only,
            "false for a row with `set` or `columns`: it is run",
        )


@configuration
class ColumnConfig:
    """One column of the table."""

    label: str
    set: dict[str, Any] = field(default_factory=dict)
    metric: str | None = None
    """Metric of this column where it differs from the table's (Table 5 of the paper scores both
    students)."""
    higher_is_better: bool | None = None
    """Which of its scores are the best; default: the table's word for a column with the table's
    metric, else what is known of the metric."""
    aggregate: Aggregate | None = None
    """What is shown of a curve (`val/…`, `holdout/…`, `train/…`): its last value, that of the
    evaluation which is best on held-out images, or the mean of its last values; default: the
    table's."""
    last_k: int | None = None
    """How many values `mean_of_last` takes; default: the table's."""

    def __post_init__(self) -> None:
        require(self.label != "", "label", self.label, "a name for the column")
        enough = self.last_k is None or self.last_k >= 1
        require(enough, "last_k", self.last_k, "1 or more")


Execution = Literal["auto", "train", "direct"]


@configuration
class ResourcesConfig:
    """What one run is given."""

    workers: int = 1
    """Processes that train one run together (DDP); `execution: direct` has one."""
    cpus_per_worker: float = 1
    gpus_per_worker: float | Literal["auto"] = "auto"
    """`auto`: one whole GPU per worker where there are GPUs, none where there are not."""
    accelerator: str | None = None
    """Kind of GPU, as Ray names it: `A100`, `H100`."""
    labels: dict[str, str] = field(default_factory=dict)
    """Which nodes of a cluster a run may be on: labels of Ray, with `value`, `!value`, `in(a,b)` or
    `!in(a,b)`."""
    placement: Literal["pack", "one_node"] = "pack"
    """Workers of one run on as few nodes as possible, or all on one."""

    def __post_init__(self) -> None:
        require(self.workers >= 1, "workers", self.workers, "at least 1")
        require(
            self.cpus_per_worker > 0, "cpus_per_worker", self.cpus_per_worker, "a positive number"
        )
        gpus = self.gpus_per_worker
        require(gpus == "auto" or gpus >= 0, "gpus_per_worker", gpus, "auto, or zero or more")
        require(
            gpus == "auto" or gpus <= 1 or gpus == int(gpus),
            "gpus_per_worker",
            gpus,
            "auto, a whole number, or less than one (a part of one GPU)",
        )
        is_part = gpus != "auto" and 0 < gpus < 1
        require(not (is_part and self.workers > 1), "workers", self.workers, "1 on a part of a GPU")
        require(self.accelerator != "", "accelerator", self.accelerator, "a kind of GPU, as A100")
        require(
            self.accelerator is None or gpus == "auto" or gpus > 0,
            "accelerator",
            self.accelerator,
            "none where gpus_per_worker is 0",
        )
        for key, wanted in self.labels.items():
            require(
                bool(_SELECTOR.fullmatch(wanted)),
                f"labels.{key}",
                wanted,
                "a value, !value, in(a,b) or !in(a,b)",
            )

    def gpus(self, gpus_there: float) -> float:
        """GPUs of one worker on a machine or cluster that has `gpus_there` of them."""
        if self.gpus_per_worker == "auto":
            return 1.0 if gpus_there >= 1 else 0.0
        return self.gpus_per_worker


@configuration
class SearchConfig:
    """Makes a study a search: of runs that report scores at the same step the worse ones are
    stopped (asynchronous successive halving, Li et al. 2020), and its results enter no table."""

    first_step: int
    """Step from which on runs are compared for the first time; then at `keep_one_of` times as many
    steps, and so on."""
    keep_one_of: int = 3
    """About one run of so many goes on at each comparison."""
    metric: str = f"{VAL}/{MIOU}"
    """What is compared: a curve of the validation or the hold-out images."""
    higher_is_better: bool = True

    def __post_init__(self) -> None:
        require(self.first_step >= 1, "first_step", self.first_step, "1 or more")
        require(self.keep_one_of >= 2, "keep_one_of", self.keep_one_of, "2 or more")
        place = self.metric.partition("/")[0]
        require(place in (VAL, HOLDOUT), "metric", self.metric, "a metric of val/ or holdout/")


@configuration
class TableConfig(PlannedTable):
    """How the study's table is printed, and what holds for columns that do not say it."""

    higher_is_better: bool | None = None
    """Which scores of `metric` are the best; default: what is known of the metric."""
    aggregate: Aggregate = "last"
    last_k: int = 5

    def __post_init__(self) -> None:
        require(0 <= self.digits <= 6, "digits", self.digits, "0 to 6")
        require(self.scale > 0, "scale", self.scale, "a positive number")
        near = self.tolerance is None or self.tolerance >= 0
        require(near, "tolerance", self.tolerance, "zero or more")
        require(self.last_k >= 1, "last_k", self.last_k, "1 or more")


@configuration
class NoiseFloorConfig:
    """One run that is repeated with other rounding, to measure what rounding alone does to it."""

    row: str
    """Label of a row that is run."""
    column: str | None = None
    """Label of its column; default: its first."""
    seed: int | None = None
    """Default: the first of the study's seeds."""
    repeats: tuple[dict[str, Any], ...]
    """For each repeat the settings under `runtime` that it has in place of the run's own:
    `{threads: 2}`. An empty one, `{}`, is the same run once more."""

    def __post_init__(self) -> None:
        require(len(self.repeats) >= 1, "repeats", self.repeats, "at least one, as [{threads: 2}]")


@configuration
class CostConfig:
    """What the device takes, for `rml plan` as long as no run of the study has told."""

    seconds_per_megapixel: dict[str, float]
    """Network's name → device-seconds per million training pixels and pass (a forward is one pass,
    a backward two)."""
    device: str = "GPU"
    """What the seconds are of: "V100", "CPU core"."""
    source: str
    """Where the rate comes from."""

    def __post_init__(self) -> None:
        rates = self.seconds_per_megapixel
        require(
            all(rate > 0 for rate in rates.values()),
            "seconds_per_megapixel",
            rates,
            "positive numbers",
        )
        require(self.source != "", "source", self.source, "where the rate comes from")


@configuration
class ProfileConfig:
    """The same study at another size, chosen by --profile. What is not given stays as it is."""

    title: str = ""
    """Title of the study and of its table at this size, where other data make theirs untrue; their
    caption goes too."""
    base: dict[str, Any] = field(default_factory=dict)
    """Laid over the study's base."""
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Row label → settings laid over that row's."""
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Column label → settings laid over that column's."""
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Name of a figure → keys of it that differ."""
    seeds: tuple[int, ...] | None = None
    split_seeds: tuple[int, ...] | None = None
    execution: Execution | None = None
    resources: ResourcesConfig | None = None
    retry: RetryConfig | None = None
    cost: CostConfig | None = None
    """The study's own rate is of its own size and does not hold here."""
    keep_reported: bool = False
    """Show reported numbers beside this profile's too; off, because another size is no
    comparison."""


@configuration
class StudyConfig:
    """One study file."""

    name: str
    """Also the name of the MLflow experiment and of the study's folder."""
    title: str = ""
    description: str = ""
    execution: Execution = "auto"
    """`train`: Ray Train workers inside Ray Tune; `direct`: the trainer in the Tune actor itself,
    one process; `auto`: `direct` for one worker on this machine, `train` for several and on a
    cluster."""
    resources: ResourcesConfig = ResourcesConfig()
    retry: RetryConfig = RetryConfig()
    base: dict[str, Any]
    """RunConfig, as far as all cells share it."""
    rows: tuple[RowConfig, ...] = ()
    columns: tuple[ColumnConfig, ...] = ()
    axes: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    """Dotted key → values. Every row is multiplied by every combination."""
    seeds: tuple[int, ...] = (0,)
    split_seeds: tuple[int, ...] | None = None
    """`split.seed` for each of `seeds`, in order; default: the same split for all."""
    profiles: dict[str, ProfileConfig] = field(default_factory=dict)
    table: TableConfig = TableConfig()
    publications: tuple[str, ...] = ()
    """CSV or YAML files of numbers that others printed, by paths from the study's folder; quoted in
    the table."""
    imports: tuple[str, ...] = ()
    """CSV files of runs of other tools, by paths from the study's folder; rows of their own."""
    cost: CostConfig | None = None
    max_gpu_hours: float | None = None
    """What the runs of the study may take over all launches (core-hours where they get no GPU)."""
    figures: tuple[FigureConfig, ...] = ()
    search: SearchConfig | None = None
    """Stops runs by their scores; what is left of the study is in no table."""
    noise_floor: NoiseFloorConfig | None = None
    """Which run is repeated with other rounding; its repeats fill no cell."""
    questions: tuple[QuestionConfig, ...] = ()
    """Differences of rows that are tested together, with Holm's correction."""

    def __post_init__(self) -> None:
        plain = self.name != "" and all(
            c.isascii() and (c.isalnum() or c in "_-") for c in self.name
        )
        require(plain, "name", self.name, "letters, digits, - and _ (it names a folder)")
        require_positive_or_none(self.max_gpu_hours)
        odd = [name for name in self.profiles if not PLAIN_NAME.fullmatch(name)]
        require(not odd, "profiles", odd, "names of letters, digits, ., - and _ (they name files)")
        require(len(self.seeds) >= 1, "seeds", self.seeds, "at least one seed")
        require(len(set(self.seeds)) == len(self.seeds), "seeds", self.seeds, "no seed twice")
        alone = self.execution != "direct" or self.resources.workers == 1
        require(
            alone, "resources.workers", self.resources.workers, "1, because execution is `direct`"
        )
        require(
            all(values for values in self.axes.values()),
            "axes",
            self.axes,
            "at least one value per axis",
        )
