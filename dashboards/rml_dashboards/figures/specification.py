"""What a figure should look like: curves of recorded metrics over training, and the runs that they
are made of.

Plain frozen values. The command line makes them from a study file; nothing here knows that format.
"""

from dataclasses import dataclass

from rml_dashboards.contract.metric_keys import TRAIN
from rml_dashboards.errors import DashboardError
from rml_dashboards.writing.files import FILE_NAME

MEASURED_AT_A_STEP = tuple(
    f"{TRAIN}/coupling_tv_train_set{pair}" for pair in ("", "_students", "_teachers")
)
"""Values under `train/` that are measured at a step, not over the steps since the report before."""


@dataclass(frozen=True, kw_only=True)
class MetricSpec:
    """One metric of a figure; each has a line style of its own."""

    key: str
    """As recorded, for example `train/pseudo_label_1_miou`."""
    label: str = ""
    """What the legend calls it; empty where there is only one."""


@dataclass(frozen=True, kw_only=True)
class SharedStages:
    """Another run whose first stages are, bit for bit, those of a run, which may have taken them
    over."""

    run_id: str
    last_step: int
    """Recorded step up to which the two are the same."""


@dataclass(frozen=True, kw_only=True)
class CurveRun:
    """One run of a row and column, which has one of these per seed."""

    row: str
    column: str
    seed: int
    run_id: str
    first_step: int = 0
    """Recorded step at which the axis of steps begins."""
    last_step: int | None = None
    """Recorded step after which nothing is drawn; None: to the end."""
    shared_stages: tuple[SharedStages, ...] = ()
    """Runs that may have reported what this one did not train itself."""

    def first_step_of(self, key: str) -> int:
        """First recorded step that belongs to the figure.

        Most values under `train/` are means over the steps since the report before, so that the
        report at which a stage begins is about the stage before.
        """
        is_mean = key.startswith(f"{TRAIN}/") and key not in MEASURED_AT_A_STEP
        return self.first_step + 1 if self.first_step > 0 and is_mean else self.first_step


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """The shape of one figure. Rows are colours, metrics line styles, columns panels side by
    side."""

    name: str
    """File name without suffix: letters, digits, `.`, `_` and `-`."""
    title: str
    metrics: tuple[MetricSpec, ...]
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    runs: tuple[CurveRun, ...]
    caption: str = ""
    scale: float = 1.0
    """Factor from the recorded to the drawn value (100: fractions become per cent)."""
    smoothing: int = 1
    """Reports in the centred moving average that each seed's curve goes through; 1: none."""
    x_label: str = "training step"
    y_label: str = ""
    x_range: tuple[float, float] | None = None
    y_range: tuple[float, float] | None = None
    log_y: bool = False

    @property
    def run_ids(self) -> frozenset[str]:
        """Every run whose records it may be drawn from."""
        shared = (other.run_id for run in self.runs for other in run.shared_stages)
        return frozenset(run.run_id for run in self.runs) | frozenset(shared)

    def __post_init__(self) -> None:
        _check(
            FILE_NAME.fullmatch(self.name) is not None,
            f"name {self.name!r} is not a plain file name",
        )
        keys = [metric.key for metric in self.metrics]
        labels = [metric.label for metric in self.metrics]
        for what, names in (
            ("metric", keys),
            ("label", labels),
            ("row", self.rows),
            ("column", self.columns),
        ):
            _check(bool(names), f"figure {self.name}: no {what}s")
            _check(
                len(set(names)) == len(names),
                f"figure {self.name}: {what}s occur twice: {', '.join(names)}",
            )
        _check(bool(self.runs), f"figure {self.name}: no runs")
        odd = self.smoothing >= 1 and self.smoothing % 2 == 1
        _check(odd, f"figure {self.name}: smoothing = {self.smoothing}, expected an odd number")
        seen: set[tuple[str, str, int]] = set()
        for run in self.runs:
            where = (
                f"figure {self.name}: run {run.run_id} (row {run.row!r}, column "
                f"{run.column!r}, seed {run.seed})"
            )
            _check(
                run.row in self.rows and run.column in self.columns,
                f"{where} has no place in the figure",
            )
            _check(
                (run.row, run.column, run.seed) not in seen, f"{where}: this seed is already there"
            )
            seen.add((run.row, run.column, run.seed))


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise DashboardError(message)
