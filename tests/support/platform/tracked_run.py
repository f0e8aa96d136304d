"""One run's folder, a tracker, and what the tracker has of the run: for the tests of tracking."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import requests
from mlflow import MlflowClient
from mlflow.entities import Run

from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.tracking.file_tracker import FileTracker
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_platform.tracking.tracker import Tracker
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD, NON_FINITE, FakeTrainer
from tests.support.platform.tasks import fake_config, task_for
from tests.support.recorded import Store


class Away:
    """Stands in front of an MLflow client and can be unplugged."""

    def __init__(self, client: MlflowClient) -> None:
        self.client = client
        self.is_away = False

    def __getattr__(self, name: str) -> object:
        if self.is_away:
            raise requests.ConnectionError("connection refused")
        return getattr(self.client, name)


class Killed(BaseException):
    """Stands for the end of the process."""


class Cut:
    """Stands in front of an MLflow client. After so many requests, each of them carried out, it
    raises instead of giving the answer."""

    def __init__(self, client: Any, after: int, error: BaseException) -> None:
        self._client = client
        self._left = after
        self._error = error
        self.calls: list[str] = []

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._client, name)

        def asked(*arguments: Any, **named: Any) -> Any:
            answer = method(*arguments, **named)
            self.calls.append(name)
            self._left -= 1
            if self._left == 0:
                raise self._error
            return answer

        return asked


@dataclass
class Recorded:
    """What a tracker has of the only run."""

    status: str
    metrics: dict[str, float]
    tags: dict[str, str]
    steps: dict[str, list[int]]
    """By metric, every step that has a value, as often as it has one."""


class Scene:
    """A run folder, a tracker, and what a person was told."""

    def __init__(self, data: PreparedData, folder: Path) -> None:
        self.task = task_for(fake_config(GOOD), data, folder, "run-1")
        self.bad_task = task_for(fake_config(NON_FINITE), data, folder, "run-1")
        self.run = RunFolder.of(str(folder), "run-1")
        self.folder = folder
        self.notes: list[str] = []

    def tracker(self) -> Tracker:
        """The tracker as a new process has it."""
        raise NotImplementedError

    def recorded(self) -> Recorded | None:
        """The only record; None where there is none."""
        raise NotImplementedError

    def publisher(self, study: str = "study") -> Publisher:
        """A publisher of a new process."""
        return Publisher(self.tracker(), study, self.notes.append)

    def train(
        self, task: RunTask, launch: str = "launch-1", trainer: type[FakeTrainer] = FakeTrainer
    ) -> None:
        execute(replace(task, launch_id=launch), WorkerContext(writer=launch), trainer)

    def only(self) -> Recorded:
        """The only record; fails where there is none, or when a value was told twice."""
        found = self.recorded()
        assert found is not None
        for key, steps in found.steps.items():
            assert len(set(steps)) == len(steps), f"{key} told twice: {steps}"
        return found

    def loss_steps(self) -> list[int]:
        found = self.recorded()
        return [] if found is None else sorted(found.steps.get("train/loss", []))


class MlflowScene(Scene):
    """Recorded in a real MLflow store that can be unplugged."""

    def __init__(self, data: PreparedData, folder: Path, store: Store) -> None:
        super().__init__(data, folder)
        self.store = store
        self.client = MlflowClient(store.uri)

    def tracker(self) -> Tracker:
        store = MlflowStore(self.store.uri, self.folder / "mlartifacts")
        self.wire = store._client = Away(store._client)
        return MlflowTracker(store)

    def runs(self) -> list[Run]:
        experiments = [e.experiment_id for e in self.client.search_experiments()]
        return list(self.client.search_runs(experiments))

    def steps_of(self, run_id: str) -> list[int]:
        """Steps of the loss of one of several runs."""
        (run,) = (run for run in self.runs() if run.data.tags["rml.run_id"] == run_id)
        history = self.client.get_metric_history(run.info.run_id, "train/loss")
        return sorted(point.step for point in history)

    def recorded(self) -> Recorded | None:
        if not self.runs():
            return None
        (run,) = self.runs()
        steps = {
            key: [m.step for m in self.client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        return Recorded(run.info.status, run.data.metrics, run.data.tags, steps)


class FolderScene(Scene):
    """`--tracking-uri none`: read from the run's folder."""

    def tracker(self) -> Tracker:
        return FileTracker()

    def recorded(self) -> Recorded | None:
        reader = RunFolderReader(str(self.folder))
        runs, warnings = reader.recorded_runs(["run-1"])
        assert warnings == []
        if not runs:
            return None
        (run,) = runs
        steps: dict[str, list[int]] = {}
        known = reader.histories(["run-1"], ()).keys.get("run-1", frozenset())
        (((points, _), _),) = reader._each(["run-1"], lambda folder: folder.points(known))
        for _, key, step, *_ in points:
            steps.setdefault(key, []).append(step)
        return Recorded(run.status, run.scores, run.tags, steps)
