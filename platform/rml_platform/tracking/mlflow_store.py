"""The only module that writes to MLflow: its runs, their values and files.

Keys of metrics and parameters are spelt as MLflow takes them here and nowhere else; callers use the
true ones. Uses explicit clients only (no fluent global state). Everything raised here is a
TrackingError.
"""

import contextlib
import hashlib
import logging
import os
import sqlite3
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from rml_dashboards.contract.metric_keys import to_mlflow_key
from rml_dashboards.contract.names import PLAIN_NAME
from rml_dashboards.contract.states import Status
from rml_dashboards.contract.store_uri import (
    DATABASES,
    is_server,
    shown_uri,
    with_driver,
    without_litter,
)
from rml_dashboards.contract.tags import Tag
from rml_dashboards.contract.uris import without_secrets
from rml_platform.run.metric_log import Measurement
from rml_platform.tracking.moved_artifacts import (
    KEPT_BY_A_SERVER,
    follow_moved_artifacts,
    why_out_of_reach,
)
from rml_platform.tracking.reaching import alone_at, check_reachable
from rml_platform.tracking.tracker import TrackingError

BATCH_METRICS = 1000
"""MLflow's limit of one log_batch call; 100 parameters or tags."""
BATCH_PARAMS = 100
MAX_PARAM = 6000
MAX_DIGEST = 36
MAX_TAG = 5000
ANSWERS_WITHIN_S = "30"
STORES_WITHIN_S = "300"
"""A server passes a file on, to an object store perhaps, before it answers."""


@dataclass(frozen=True, kw_only=True)
class StoredRun:
    """What MLflow has of one of its runs, read in one request."""

    status: str = "RUNNING"
    tags: dict[str, str] = field(default_factory=dict)
    parameters: frozenset[str] = frozenset()
    """Their keys, as MLflow spells them."""
    last_steps: dict[str, int] = field(default_factory=dict)
    """Largest step of every metric, by its key as MLflow spells it."""

    def last_step(self, key: str) -> int:
        """Largest step recorded for a metric, -1 if there is none."""
        return self.last_steps.get(to_mlflow_key(key), -1)


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """What a run was trained on, for MLflow's column of data sets."""

    name: str
    digest: str
    source: str
    profile: str
    """Where it comes from and what is known of it, as JSON."""
    context: str
    """What it was used for."""


class MlflowStore:
    """Talks to one tracking server or database."""

    def __init__(self, uri: str, artifact_root: Path | None) -> None:
        """`artifact_root`: folder for the artifacts of new experiments in a database or file; None
        leaves them to MLflow. A server keeps those of its experiments itself, where everybody who
        reaches it finds them.

        Raises:
            TrackingError: the store cannot be opened. A database must answer now, because MLflow's
                client opens it; a server need not before it is asked something.
        """
        self.uri = uri
        self.shown_uri = shown_uri(uri)
        """For messages: without the password that a database's URI may hold."""
        self._artifact_root = artifact_root
        self._experiments: dict[str, str] = {}
        self._places: dict[str, str] = {}
        """Where the artifacts of MLflow runs lie."""
        if uri.startswith(DATABASES):
            check_reachable(uri)
        with _one_error(f"cannot open the tracking store {self.shown_uri}"):
            _limit_patience()
            import mlflow

            warnings.filterwarnings("ignore", module="mlflow")
            logging.getLogger("mlflow").setLevel(logging.ERROR)
            # It writes a traceback of every error that it raises, which is told by who catches it.
            logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
            logging.getLogger("alembic").setLevel(logging.ERROR)
            with without_litter(uri), alone_at(self.uri):
                self._client: Any = mlflow.MlflowClient(tracking_uri=with_driver(uri))

    def check(self) -> None:
        """See that the store can be used; makes the schema of a new database. Whether it answers
        at all is known sooner from `check_reachable`: MLflow waits for half a minute, twice.

        Raises:
            TrackingError: it cannot; the message says what to do.
        """
        what = (
            f"MLflow at {self.shown_uri} cannot be used; start it, correct the tracking URI, or "
            "leave it out"
        )
        with _one_error(what), alone_at(self.uri):
            self._client.search_experiments(max_results=1)
            follow_moved_artifacts(self._client, self.uri, self._artifact_root)

    @property
    def key(self) -> str:
        """Tells this store from others without holding its password."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:16]

    def experiment(self, name: str) -> str:
        """Id of an experiment, made or restored when needed."""
        if not PLAIN_NAME.fullmatch(name):
            raise TrackingError(f"{name!r} cannot be an experiment: it names a folder of artifacts")
        if name not in self._experiments:
            with _one_error(f"cannot open the MLflow experiment {name!r}"):
                found = self._client.get_experiment_by_name(name) or self._made(name)
                if found.lifecycle_stage == "deleted":
                    self._client.restore_experiment(found.experiment_id)
            self._check_place(found.artifact_location, f"the MLflow experiment {name!r}")
            self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def experiment_tags(self, name: str) -> dict[str, str]:
        found = self.experiment(name)
        with _one_error(f"cannot read the MLflow experiment {name!r}"):
            return dict(self._client.get_experiment(found).tags)

    def tag_experiment(self, name: str, tags: Mapping[str, str]) -> None:
        found = self.experiment(name)
        with _one_error(f"cannot tag the MLflow experiment {name!r}"):
            for key, value in tags.items():
                self._client.set_experiment_tag(found, key, value)

    def _made(self, name: str) -> Any:
        """A new experiment, or the one of this name that somebody else has just made."""
        from mlflow import MlflowException

        root = None if is_server(self.uri) else self._artifact_root
        where = (root / name).resolve().as_uri() if root else None
        # Without it MLflow opens an experiment in its GenAI view, which hides metrics and charts.
        kind = {"mlflow.experimentKind": "custom_model_development"}
        try:
            made = self._client.create_experiment(name, artifact_location=where, tags=kind)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            return self._client.get_experiment_by_name(name)
        return self._client.get_experiment(made)

    def _check_place(self, location: str, what: str) -> None:
        """Raises TrackingError where files cannot be stored under a place of artifacts."""
        why = why_out_of_reach(location, self.uri, self._artifact_root)
        if why:
            raise TrackingError(f"files of {what} cannot be stored: {without_secrets(why)}")

    def find(self, run_id: str, tag: str = Tag.RUN_ID) -> str | None:
        """MLflow run of a run id (or of the value of another tag), wherever it is: in any
        experiment, restored if somebody deleted it. Of several the first that was made, the others
        are closed."""
        with _one_error(f"cannot look for run {run_id}"):
            found = self._all_of(run_id, tag)
            if not found:
                return None
            info = found[0].info
            if info.lifecycle_stage == "deleted":
                self._client.restore_run(info.run_id)
            self._close(found[1:])
            self._places[info.run_id] = info.artifact_uri
            return str(info.run_id)

    def close_strays(self, run_id: str, mlflow_run: str) -> None:
        """End every other MLflow run of a run id: a server that answers too late has made one that
        nobody heard of."""
        with _one_error(f"cannot look for run {run_id}"):
            self._close([run for run in self._all_of(run_id) if run.info.run_id != mlflow_run])

    def _all_of(self, run_id: str, tag: str = Tag.RUN_ID) -> list[Any]:
        """Every MLflow run of a run id: those that nobody deleted first, and of them the oldest."""
        from mlflow.entities import ViewType

        experiments = [
            e.experiment_id for e in self._client.search_experiments(view_type=ViewType.ALL)
        ]
        quote = '"' if "'" in run_id else "'"
        query = f"tags.`{tag}` = {quote}{run_id}{quote}"
        found = self._client.search_runs(experiments, query, ViewType.ALL, max_results=100)
        return sorted(found, key=lambda r: (r.info.lifecycle_stage == "deleted", r.info.start_time))

    def _close(self, strays: Sequence[Any]) -> None:
        """A stray that holds nothing is deleted as MLflow deletes (it can be restored); one that
        holds values is ended and stays."""
        for stray in strays:
            info = stray.info
            if info.lifecycle_stage != "deleted":
                if info.status == "RUNNING":
                    self._client.set_terminated(info.run_id, status="KILLED")
                if not stray.data.metrics:
                    self._client.delete_run(info.run_id)

    def create(self, study: str, run_id: str, tag: str = Tag.RUN_ID) -> str:
        """New MLflow run in the study's experiment, named after the value of the tag."""
        experiment = self.experiment(study)
        with _one_error(f"cannot create run {run_id}"), _asking_once():
            run = self._client.create_run(experiment, tags={str(tag): run_id}, run_name=run_id)
        self._places[run.info.run_id] = run.info.artifact_uri
        return str(run.info.run_id)

    @staticmethod
    def lacks(there: StoredRun, parameters: Mapping[str, str]) -> bool:
        """Whether a run has not all of these parameters, whatever their values."""
        return not {to_mlflow_key(key) for key in parameters} <= there.parameters

    def add_parameters(
        self, mlflow_run: str, parameters: Mapping[str, str], there: StoredRun
    ) -> None:
        """Write the parameters that a run lacks. Those that it has stay: MLflow changes none."""
        from mlflow.entities import Param

        spelt = {to_mlflow_key(key): value[:MAX_PARAM] for key, value in parameters.items()}
        rows = [Param(key, spelt[key]) for key in sorted(spelt.keys() - there.parameters)]
        with _one_error(f"cannot write parameters to MLflow run {mlflow_run}"):
            for i in range(0, len(rows), BATCH_PARAMS):
                self._client.log_batch(mlflow_run, params=rows[i : i + BATCH_PARAMS])

    def add_data(self, mlflow_run: str, sets: Sequence[DataSet]) -> None:
        """Say what a run was trained on; saying it again changes nothing."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        inputs = [
            DatasetInput(
                Dataset(
                    data.name, data.digest[:MAX_DIGEST], "rml", data.source, None, data.profile
                ),
                [InputTag("mlflow.data.context", data.context)],
            )
            for data in sets
        ]
        with _one_error(f"cannot write the data sets of MLflow run {mlflow_run}"):
            self._client.log_inputs(mlflow_run, inputs)

    def look(self, mlflow_run: str) -> StoredRun | None:
        """What is there of an MLflow run, restored if somebody deleted it; None if it is gone for
        good."""
        from mlflow import MlflowException

        with _one_error(f"cannot read MLflow run {mlflow_run}"):
            try:
                run = self._client.get_run(mlflow_run)
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                return None
            if run.info.lifecycle_stage == "deleted":
                self._client.restore_run(mlflow_run)
            self._places[mlflow_run] = run.info.artifact_uri
            return StoredRun(
                status=run.info.status,
                tags=dict(run.data.tags),
                parameters=frozenset(run.data.params),
                last_steps={metric.key: metric.step for metric in run.data.to_proto().metrics},
            )

    def has_file(self, mlflow_run: str, name: str) -> bool:
        """Whether a file lies at the top of an MLflow run's artifacts."""
        with _one_error(f"cannot list the files of MLflow run {mlflow_run}"):
            return any(file.path == name for file in self._client.list_artifacts(mlflow_run))

    def set_tags(self, mlflow_run: str, tags: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        rows = [RunTag(str(key), value[:MAX_TAG]) for key, value in tags.items()]
        with _one_error(f"cannot tag MLflow run {mlflow_run}"):
            self._client.log_batch(mlflow_run, tags=rows)

    def steps(self, mlflow_run: str, key: str) -> set[int]:
        """Every step that has a value of a metric."""
        with _one_error(f"cannot read {key} of MLflow run {mlflow_run}"):
            history = self._client.get_metric_history(mlflow_run, to_mlflow_key(key))
        return {metric.step for metric in history}

    def log(self, mlflow_run: str, rows: Sequence[Measurement]) -> None:
        from mlflow.entities import Metric

        metrics = [Metric(to_mlflow_key(row.key), row.value, row.time_ms, row.step) for row in rows]
        with _one_error(f"cannot write metrics to MLflow run {mlflow_run}"):
            for i in range(0, len(metrics), BATCH_METRICS):
                self._client.log_batch(mlflow_run, metrics=metrics[i : i + BATCH_METRICS])

    def upload(self, mlflow_run: str, folder_or_file: Path, place: str | None) -> None:
        """Copy a file, or a folder's content, to the artifacts under `place`."""
        what = f"cannot store {folder_or_file.name} in MLflow run {mlflow_run}"
        with _one_error(what):
            if mlflow_run not in self._places:
                self._places[mlflow_run] = self._client.get_run(mlflow_run).info.artifact_uri
        location = self._places[mlflow_run].removesuffix(f"/{mlflow_run}/artifacts")
        self._check_place(location, f"MLflow run {mlflow_run}")
        try:
            with _one_error(what), _waiting_for_files():
                if folder_or_file.is_dir():
                    self._client.log_artifacts(mlflow_run, str(folder_or_file), place)
                else:
                    self._client.log_artifact(mlflow_run, str(folder_or_file), place)
        except TrackingError as error:
            if not location.startswith(KEPT_BY_A_SERVER) or " 503 " not in str(error):
                raise
            raise TrackingError(
                f"{what}: {self.shown_uri} answered 503; see that the server is up and was started "
                "with --serve-artifacts, as `rml tracking serve` does"
            ) from error

    def set_status(self, mlflow_run: str, status: Status) -> None:
        """RUNNING, FINISHED, FAILED or KILLED; a run that ended can run again."""
        with _one_error(f"cannot set the status of MLflow run {mlflow_run}"):
            if status == "RUNNING":
                self._client.update_run(mlflow_run, status=status)
            else:
                self._client.set_terminated(mlflow_run, status=status)


def _limit_patience() -> None:
    """MLflow waits up to 120 s five times over by default; set before it is imported, a person's
    own choice kept."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", ANSWERS_WITHIN_S)
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


def _asking_once() -> contextlib.AbstractContextManager[None]:
    """MLflow's client repeats a request whose answer was lost, also one that has made something:
    whoever comes back looks first what there is."""
    return _set_to("0", "MLFLOW_HTTP_REQUEST_MAX_RETRIES")


def _waiting_for_files() -> contextlib.AbstractContextManager[None]:
    """Patience for a checkpoint's way to where the server keeps it; a person's own is kept."""
    name = "MLFLOW_HTTP_REQUEST_TIMEOUT"
    own = os.environ[name]
    return _set_to(STORES_WITHIN_S if own == ANSWERS_WITHIN_S else own, name)


@contextlib.contextmanager
def _set_to(value: str, name: str) -> Iterator[None]:
    before = os.environ[name]
    os.environ[name] = value
    try:
        yield
    finally:
        os.environ[name] = before


@contextlib.contextmanager
def _one_error(what: str) -> Iterator[None]:
    """Turn whatever MLflow raises into one error; our own mistakes pass."""
    try:
        yield
    except (OSError, ImportError, requests.RequestException, sqlite3.Error, ValueError) as error:
        raise TrackingError(without_secrets(f"{what}: {error}")) from error
    except Exception as error:
        if type(error).__module__.split(".")[0] not in ("mlflow", "sqlalchemy"):
            raise
        raise TrackingError(without_secrets(f"{what}: {error}")) from error
