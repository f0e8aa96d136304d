"""The only reader of MLflow: recorded runs as tidy pandas tables.

Runs are read incrementally. The ledger keeps what was read; the next read fetches what has ended
since, what is not finished now, and what was not finished then. Assumed: the clocks of the machines
that end runs agree within an hour; and that nobody edits a finished run. `mlflow gc` removes runs
without a trace: read with `fresh=True` after it.

Histories are not kept in the ledger: they are large, and a figure is drawn seldom.
"""

import functools
import gc
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.exceptions import MlflowException
from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from rml_dashboards.contract.metric_keys import (
    FINAL,
    HOLDOUT,
    TRAIN,
    VAL,
    from_mlflow_key,
    from_mlflow_keys,
    to_mlflow_key,
)
from rml_dashboards.contract.store_uri import (
    DATABASES,
    shown_uri,
    sqlite_file,
    until_given_up,
    with_driver,
    without_litter,
)
from rml_dashboards.contract.tags import PREFIX, Tag
from rml_dashboards.errors import DashboardError
from rml_dashboards.records.ledger import Ledger, ledger_path, load_ledger, save_ledger
from rml_dashboards.records.reader import Histories, Point, to_histories
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records, records_of
from rml_dashboards.records.run_table import SCHEMA, join_tables, to_run_table

PAGE_SIZE = 1000  # MLflow's default page; a page of 1000 runs takes about a second from SQLite
IDS_PER_FILTER = 200  # SQLite takes about 1000 variables in one statement
IS_FINISHED = pc.field("status") == "FINISHED"
MOST_LEFT_OUT = 600
"""Runs that one statement may exclude by their ids; where more have ended within the last hour,
they are read again."""
ANSWERS_WITHIN_S = 5
CLOCK_SKEW_MS = 3_600_000
HAS_RUN_ID = f"tags.`{Tag.RUN_ID}` LIKE '%'"
OURS = tuple(f"{place}/" for place in (FINAL, VAL, HOLDOUT, TRAIN))


class MlflowReader:
    """Reads one MLflow store: a server, or a database."""

    def __init__(self, tracking_uri: str, ledger_folder: Path, *, fresh: bool = False) -> None:
        """`fresh` ignores the ledger at the first read and reads the whole store again."""
        self._uri = tracking_uri
        self._ledger_path = ledger_path(ledger_folder, tracking_uri)
        self._fresh = fresh

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        """Read what is new in the store, bring the ledger up to date and return all runs that carry
        a run id, whichever are wanted, with the wanted metrics.

        Raises:
            DashboardError: the store cannot be read and no ledger of it exists; with a ledger, its
                runs are returned and a warning says so.
        """
        path = self._ledger_path
        known, problem = (Ledger(), None) if self._fresh else load_ledger(path)
        warnings = [problem] if problem else []
        try:
            with impatient_client(self._uri) as client:
                ledger, changed = update(known, client)
        except (MlflowException, SQLAlchemyError, FileNotFoundError) as error:
            failed = self._problem(error)
            if not len(known.table):
                raise DashboardError(
                    f"{failed}. Launch the study first, or give its --tracking-uri."
                ) from error
            ledger = known
            warnings.append(f"{failed}; shown is what was read before")
        else:
            self._fresh = False
            warnings.extend(changed)
            if not ledger.equals(known) or not path.is_file():
                save_ledger(ledger, path)
        return records_of(ledger.table, warnings, metrics)

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        """Histories of the wanted metrics, one request per run and metric that it has (the client
        has no wider one)."""
        recorded = self.records(metrics=()).runs
        wanted = recorded[recorded["run_id"].isin(list(run_ids))]
        keys: dict[str, frozenset[str]] = {}
        points: list[Point] = []
        try:
            with impatient_client(self._uri) as client:
                for run_id, run in zip(wanted["run_id"], wanted["mlflow_run_id"], strict=True):
                    found = client.get_run(run).data.metrics
                    keys[run_id] = frozenset(from_mlflow_keys(found))
                    for metric in sorted(keys[run_id] & set(metrics)):
                        history = client.get_metric_history(run, to_mlflow_key(metric))
                        points += [(run_id, metric, p.step, p.timestamp, p.value) for p in history]
        except (MlflowException, SQLAlchemyError, FileNotFoundError) as error:
            raise DashboardError(
                f"{self._problem(error)}. Figures need what runs reported over time, which only "
                "the store has; launch the study first, or give its --tracking-uri"
            ) from error
        return to_histories(points, keys)

    def _problem(self, error: Exception) -> str:
        reason = str(error).splitlines()[0].strip().rstrip(".")
        return f"the MLflow store {shown_uri(self._uri)} cannot be read: {reason}"


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
    deleted = join_tables(_search(client, names, "", ViewType.DELETED_ONLY))
    some_open = len(ledger.table.filter(~IS_FINISHED)) > 0
    known = ledger.table.filter(IS_FINISHED) if some_open else ledger.table
    for condition in _changed(ledger):
        found = join_tables(_search(client, names, condition, ViewType.ACTIVE_ONLY))
        known = _replaced(known, _newest(found))
    known = _replaced(known, deleted)
    gone = [i for i, e in experiments.items() if e.lifecycle_stage == "deleted"]
    is_deleted = np.isin(_texts(known, "mlflow_run_id"), _texts(deleted, "mlflow_run_id"))
    is_deleted |= np.isin(_texts(known, "experiment_id"), gone)
    table = known.set_column(
        SCHEMA.get_field_index("deleted"), SCHEMA.field("deleted"), pa.array(is_deleted)
    )
    return Ledger(
        table=table, experiments={i: e.creation_time for i, e in experiments.items()}
    ), warnings


def _changed(ledger: Ledger) -> list[str]:
    """Conditions that between them find every run which the ledger lacks or has as it was."""
    unfinished = _texts(ledger.table.filter(~IS_FINISHED), "mlflow_run_id")
    newest = ledger.read_to_ms
    window = max(0, newest - CLOCK_SKEW_MS)
    late = IS_FINISHED & (pc.field("end_ms") >= window)
    known = _texts(ledger.table.filter(late), "mlflow_run_id")
    # What is known of the last hour need not be read again: only what another clock puts there.
    recent = [f"attributes.end_time >= {window}"]
    if 0 < len(known) <= MOST_LEFT_OUT:
        apart = (f"attributes.run_id NOT IN ({ids})" for ids in _quoted_chunks(known))
        recent = [f"attributes.end_time > {newest}", " AND ".join([*recent, *apart])]
    return [
        *recent,
        "attributes.status != 'FINISHED'",
        *(f"attributes.run_id IN ({ids})" for ids in _quoted_chunks(unfinished)),
    ]


def _replaced(known: pa.Table, newer: pa.Table) -> pa.Table:
    """All runs, those that both have as they are in the newer table."""
    is_newer = np.isin(_texts(known, "mlflow_run_id"), _texts(newer, "mlflow_run_id"))
    # to filter is to copy, and a ledger of a hundred thousand runs is some hundred megabytes
    kept = known.filter(~is_newer) if is_newer.any() else known
    return join_tables([kept, newer])


def _newest(found: pa.Table) -> pa.Table:
    """Each run once, as it was read last: one that changes meanwhile can be on two pages."""
    ids = np.array(_texts(found, "mlflow_run_id"), dtype=object)
    _, from_end = np.unique(ids[::-1], return_index=True)
    if len(from_end) == len(ids):
        return found
    return found.take(np.sort(len(ids) - 1 - from_end))


def _texts(table: pa.Table, column: str) -> list[str]:
    return [str(text) for text in table.column(column).to_pylist()]


def _search(
    client: MlflowClient, experiments: dict[str, str], condition: str, view: int
) -> Iterator[pa.Table]:
    """All runs with a run id that meet the condition, page by page, oldest first (so that new ones
    come last). Of a page only its table is kept."""
    text = f"{HAS_RUN_ID} AND {condition}" if condition else HAS_RUN_ID
    after = ""
    token: str | None = None
    newest: int | None = None
    seen: list[str] = []
    while True:
        with undisturbed():
            page = client.search_runs(
                list(experiments),
                text + after,
                view,
                PAGE_SIZE,
                order_by=["attributes.start_time ASC"],
                page_token=token,
            )
        yield to_run_table(_recorded(run, experiments[run.info.experiment_id]) for run in page)
        token = page.token
        if not token:
            return
        # The token counts rows from the first one, which the database finds again for every page;
        # beginning where this page ends takes as long for the last page as for the first.
        end = page[-1].info.start_time
        seen = seen if end == newest else []
        seen += [run.info.run_id for run in page if run.info.start_time == end]
        newest = end
        if newest is not None and len(seen) <= MOST_LEFT_OUT:
            after = f" AND attributes.start_time >= {newest}"
            after += "".join(
                f" AND attributes.run_id NOT IN ({ids})" for ids in _quoted_chunks(seen)
            )
            token = None


@contextmanager
def undisturbed() -> Iterator[None]:
    """Without Python's search for cycles of objects, which MLflow's hundred thousand objects of a
    page set off again and again: two thirds of the time of a page (measured 2026-11-29, mlflow
    3.17.2). They hold no cycles, so memory stays the same."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_true_key = functools.cache(from_mlflow_key)


def _recorded(run: Run, experiment: str) -> RecordedRun:
    return RecordedRun(
        mlflow_run_id=run.info.run_id,
        experiment_id=run.info.experiment_id,
        experiment=experiment,
        status=run.info.status,
        deleted=run.info.lifecycle_stage == "deleted",
        start_ms=run.info.start_time,
        end_ms=run.info.end_time,
        tags={key: value for key, value in run.data.tags.items() if key.startswith(PREFIX)},
        scores={
            _true_key(key): value for key, value in run.data.metrics.items() if key.startswith(OURS)
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
    file = sqlite_file(tracking_uri)
    if file and not file.is_file():
        raise FileNotFoundError(f"there is no SQLite file {file.name}")
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    before = os.environ.get(name)
    os.environ.setdefault(name, "2")
    try:
        if tracking_uri.startswith(DATABASES):
            _ask_database(tracking_uri)
        with without_litter(tracking_uri):
            client = MlflowClient(with_driver(tracking_uri))
        yield client
    finally:
        if before is None:
            os.environ.pop(name, None)  # another thread's client may have done so


def _ask_database(uri: str) -> None:
    """Raise SQLAlchemyError within seconds where a database does not let itself be opened."""
    arguments = until_given_up(uri, ANSWERS_WITHIN_S)
    create_engine(with_driver(uri), poolclass=NullPool, connect_args=arguments).connect().close()
