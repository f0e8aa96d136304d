"""The only reader of MLflow: recorded runs as tidy pandas tables.

Runs are read incrementally. The ledger keeps what was read; the next read fetches what has ended
since, what is not finished now, and what was not finished then. Assumed: the clocks of the machines
that end runs agree within an hour; and that nobody edits a finished run. `mlflow gc` removes runs
without a trace: read with `fresh=True` after it.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from rml_dashboards.errors import DashboardError
from rml_dashboards.records.ledger import Ledger, RecordedRun, ledger_path, load_ledger, save_ledger

PAGE_SIZE = 1000  # MLflow's default page; a page of 1000 runs takes about a second from SQLite
IDS_PER_FILTER = 200  # SQLite takes about 1000 variables in one statement
CLOCK_SKEW_MS = 3_600_000
TAG = "rml."
HAS_RUN_ID = "tags.`rml.run_id` LIKE '%'"
SCORE_PREFIXES = ("final/", "val/")
CLASS_PREFIX = "final/iou/"
TAG_COLUMNS = (
    *(
        "run_id",
        "study",
        "studies",
        "method",
        "data",
        "split",
        "split_hash",
        "data_hash",
        "seed",
        "protocol",
    ),
    *("code_version", "dirty", "host", "device", "attempt", "result_version"),
)
RUN_COLUMNS = ("mlflow_run_id", "experiment", "status", "start_time", "end_time", *TAG_COLUMNS)


@dataclass(frozen=True, kw_only=True)
class Records:
    """Recorded runs, one MLflow run per run id."""

    runs: pd.DataFrame
    """One row per run: RUN_COLUMNS, then `final/miou` and the other overall final scores. Times are
    UTC."""
    scores: pd.DataFrame
    """Long form, one row per run and metric: run_id, mlflow_run_id, metric, value (last recorded;
    fractions)."""
    warnings: tuple[str, ...] = ()

    def iou_by_class(self) -> pd.DataFrame:
        """Long form of the final IoU: run_id, mlflow_run_id, class_name, iou (fraction; NaN: class
        never occurs)."""
        per_class = self.scores[self.scores["metric"].str.startswith(CLASS_PREFIX)]
        named = per_class.assign(class_name=per_class["metric"].str.removeprefix(CLASS_PREFIX))
        return named.rename(columns={"value": "iou"})[
            ["run_id", "mlflow_run_id", "class_name", "iou"]
        ].reset_index(drop=True)


def read_records(tracking_uri: str, ledger_folder: Path, *, fresh: bool = False) -> Records:
    """Read what is new in the store, bring the ledger up to date and return all runs that carry a
    run id.

    Raises DashboardError when the store cannot be read and no ledger of it exists; with a ledger,
    its runs are returned and a warning says so.
    """
    path = ledger_path(ledger_folder, tracking_uri)
    known, problem = (Ledger(), None) if fresh else load_ledger(path)
    warnings = [problem] if problem else []
    try:
        with impatient_client(tracking_uri) as client:
            ledger, changed = update(known, client)
    except (MlflowException, SQLAlchemyError, FileNotFoundError) as error:
        reason = str(error).splitlines()[0]
        if not known.runs:
            raise DashboardError(
                f"the MLflow store cannot be read: {reason}. Launch the study first, or give its "
                "--tracking-uri."
            ) from error
        ledger = known
        warnings.append(
            f"the MLflow store could not be read; shown is what was read before ({reason})"
        )
    else:
        warnings.extend(changed)
        if ledger != known or not path.is_file():
            save_ledger(ledger, path)
    return to_records([run for run in ledger.runs.values() if not run.deleted], warnings)


def update(ledger: Ledger, client: MlflowClient) -> tuple[Ledger, list[str]]:
    """The ledger with everything that changed in the store since it was written, and what a person
    should know."""
    experiments = {e.experiment_id: e for e in client.search_experiments(view_type=ViewType.ALL)}
    warnings = []
    if any(
        i not in experiments or experiments[i].creation_time != t
        for i, t in ledger.experiments.items()
    ):
        warnings.append(
            "the MLflow store is not the one that was read before; everything was read again"
        )
        ledger = Ledger()
    names = {i: e.name for i, e in experiments.items()}
    deleted = {run.mlflow_run_id: run for run in _search(client, names, "", ViewType.DELETED_ONLY)}
    unfinished = [run.mlflow_run_id for run in ledger.runs.values() if run.status != "FINISHED"]
    kept = {i: run for i, run in ledger.runs.items() if run.status == "FINISHED"}
    conditions = [
        f"attributes.end_time >= {max(0, ledger.read_to_ms - CLOCK_SKEW_MS)}",
        "attributes.status != 'FINISHED'",
        *(f"attributes.run_id IN ({ids})" for ids in _quoted_chunks(unfinished)),
    ]
    for condition in conditions:
        kept |= {
            run.mlflow_run_id: run
            for run in _search(client, names, condition, ViewType.ACTIVE_ONLY)
        }
    gone = {i for i, e in experiments.items() if e.lifecycle_stage == "deleted"}
    kept |= deleted
    runs = {
        i: replace(run, deleted=i in deleted or run.experiment_id in gone)
        for i, run in kept.items()
    }
    return Ledger(
        runs=runs, experiments={i: e.creation_time for i, e in experiments.items()}
    ), warnings


def to_records(runs: Sequence[RecordedRun], warnings: Iterable[str] = ()) -> Records:
    """Tidy tables of the given runs; where a run id has several MLflow runs, one is chosen and the
    others reported."""
    frame = pd.DataFrame([_row(run) for run in runs], columns=list(RUN_COLUMNS))
    for column in ("start_time", "end_time"):
        frame[column] = pd.to_datetime(frame[column], unit="ms", utc=True)
    for column in ("seed", "attempt"):
        frame[column] = pd.to_numeric(frame[column], errors="coerce").astype("Int64")
    frame["dirty"] = frame["dirty"].str.lower().isin(["true", "1", "yes"])
    frame, repeated = _one_per_run_id(frame)
    chosen = set(frame["mlflow_run_id"])
    scores = pd.DataFrame(
        [
            (run.tags["rml.run_id"], run.mlflow_run_id, metric, value)
            for run in runs
            if run.mlflow_run_id in chosen
            for metric, value in run.scores.items()
        ],
        columns=["run_id", "mlflow_run_id", "metric", "value"],
    ).sort_values(["run_id", "metric"], ignore_index=True)
    overall = scores[scores["metric"].str.fullmatch(r"final/[^/]+")].pivot(
        index="mlflow_run_id", columns="metric", values="value"
    )
    merged = frame.merge(overall, how="left", left_on="mlflow_run_id", right_index=True)
    return Records(runs=merged, scores=scores, warnings=(*warnings, *repeated))


def _one_per_run_id(frame: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Of several MLflow runs of one run id keep the newest finished one, else the newest; say which
    others exist."""
    moment = frame["end_time"].where(frame["status"] == "FINISHED", frame["start_time"])
    order = frame.assign(finished=frame["status"] == "FINISHED", moment=moment)
    order = order.sort_values(
        ["run_id", "finished", "moment", "mlflow_run_id"], ascending=[True, False, False, True]
    )
    warnings = []
    for run_id, group in order[order["run_id"].duplicated(keep=False)].groupby("run_id"):
        listed = [
            f"{i} ({status})"
            for i, status in zip(group["mlflow_run_id"], group["status"], strict=True)
        ]
        warnings.append(
            f"run {run_id} has {len(listed)} MLflow runs; {listed[0]} is used, not "
            f"{', '.join(listed[1:])}"
        )
    return order.drop_duplicates("run_id").drop(columns=["finished", "moment"]).reset_index(
        drop=True
    ), warnings


def _row(run: RecordedRun) -> dict[str, Any]:
    fields = {
        "mlflow_run_id": run.mlflow_run_id,
        "experiment": run.experiment,
        "status": run.status,
        "start_time": run.start_ms,
        "end_time": run.end_ms,
    }
    return fields | {column: run.tags.get(TAG + column, "") for column in TAG_COLUMNS}


def _search(
    client: MlflowClient, experiments: dict[str, str], condition: str, view: int
) -> Iterator[RecordedRun]:
    """All runs with a run id that meet the condition, page by page, oldest first (so that new ones
    come last)."""
    text = f"{HAS_RUN_ID} AND {condition}" if condition else HAS_RUN_ID
    token: str | None = None
    while True:
        page = client.search_runs(
            list(experiments),
            text,
            view,
            PAGE_SIZE,
            order_by=["attributes.start_time ASC"],
            page_token=token,
        )
        yield from (_recorded(run, experiments[run.info.experiment_id]) for run in page)
        token = page.token
        if not token:
            return


def _recorded(run: Run, experiment: str) -> RecordedRun:
    return RecordedRun(
        mlflow_run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        experiment=experiment,
        status=run.info.status,
        deleted=run.info.lifecycle_stage == "deleted",
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
        tags={key: value for key, value in run.data.tags.items() if key.startswith(TAG)},
        scores={
            key: value for key, value in run.data.metrics.items() if key.startswith(SCORE_PREFIXES)
        },
    )


def _quoted_chunks(ids: Sequence[str]) -> Iterator[str]:
    for start in range(0, len(ids), IDS_PER_FILTER):
        yield ", ".join(f"'{i}'" for i in ids[start : start + IDS_PER_FILTER])


@contextmanager
def impatient_client(tracking_uri: str) -> Iterator[MlflowClient]:
    """Client that does not create a missing SQLite file and gives up on a dead server within
    seconds.

    MLflow's seven retries with growing pauses take four minutes (measured 2026-11-22, mlflow
    3.17.2).
    """
    scheme, _, file = tracking_uri.partition(":///")
    if scheme.startswith("sqlite") and file and not Path(file.split("?")[0]).is_file():
        raise FileNotFoundError(f"there is no SQLite file {Path(file.split('?')[0]).name}")
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ.setdefault(name, "2")
    try:
        yield MlflowClient(tracking_uri)
    finally:
        if before is None:
            del os.environ[name]
