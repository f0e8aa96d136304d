"""A publisher that is cut off after any of its requests: published again, MLflow has one run with
every value once, its status and its files, as if nothing had happened."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from mlflow import MlflowClient

from rml_platform.run.run_folder import RunFolder
from rml_platform.tracking.mlflow_store import MlflowStore
from rml_platform.tracking.mlflow_tracker import MlflowTracker
from rml_platform.tracking.publisher import Publisher
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.tracked_run import Cut, Killed, Scene
from tests.support.recorded import Store


@dataclass(frozen=True)
class Place:
    """A store and an output folder of their own."""

    store: Store
    out: Path

    def show(self, folder: Path) -> RunFolder:
        """The run as it was at one moment, beside what has been published of it."""
        shutil.copytree(folder, self.out / "runs" / "run-1", dirs_exist_ok=True)
        if (folder / "result.json").is_file():
            (self.out / "runs" / "run-1" / "failure.json").unlink(missing_ok=True)
        return RunFolder.of(str(self.out), "run-1")

    def publisher(
        self, after: int = 0, error: BaseException | None = None
    ) -> tuple[Publisher, Cut]:
        """A publisher of a new process, cut off after so many requests (0: never)."""
        store = MlflowStore(self.store.uri, self.out / "mlartifacts")
        cut = store._client = Cut(store._client, after, error or Killed())
        return Publisher(MlflowTracker(store), "study", lambda note: None), cut

    def recorded(self) -> dict[str, Any]:
        """Everything that MLflow has of the only run, but for ids and moments."""
        client = MlflowClient(self.store.uri)
        experiments = [e.experiment_id for e in client.search_experiments()]
        (run,) = client.search_runs(experiments)
        histories = {
            key: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, key)]
            for key in run.data.metrics
        }
        root = self.out / "mlartifacts" / "study" / run.info.run_id / "artifacts"
        files = sorted(p.relative_to(root) for p in root.rglob("*") if p.is_file())
        return {
            "status": run.info.status,
            "histories": histories,
            "parameters": run.data.params,
            "tags": {
                key: value.replace(run.info.run_id, "its id")
                for key, value in run.data.tags.items()
                if key != "rml.host"
            },
            "files": files,
        }


@pytest.fixture(scope="module")
def moments(tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The folder of a run after its first attempt, which failed, and after its second."""
    scene = Scene(tiny_data, tmp_path_factory.mktemp("trained"))
    taken = []
    for task, launch in ((scene.bad_task, "launch-1"), (scene.task, "launch-2")):
        scene.train(task, launch)
        taken.append(tmp_path_factory.mktemp("moment") / "run-1")
        shutil.copytree(scene.folder / "runs" / "run-1", taken[-1])
    return taken


@pytest.fixture
def places(empty_store: Path, tmp_path: Path) -> Iterator[Place]:
    """As many fresh places as are asked for."""

    def made() -> Iterator[Place]:
        for number in range(1000):
            out = tmp_path / str(number)
            out.mkdir()
            yield Place(Store.copy(empty_store, out / "mlflow.db"), out)

    return made()


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "answer lost"])
def test_every_request_can_be_the_last_one(
    is_killed: bool, moments: list[Path], places: Iterator[Place]
) -> None:
    undisturbed = next(places)
    lengths = []
    for moment in moments:
        publisher, cut = undisturbed.publisher()
        assert publisher.sync([undisturbed.show(moment)], closing=True) == []
        lengths.append(len(cut.calls))
    wanted = undisturbed.recorded()
    assert wanted["status"] == "FINISHED"
    assert [step for step, _ in wanted["histories"]["train/loss"]] == [1, 2, 3, 4, 5]
    assert not wanted["tags"]["rml.failure"]
    assert len(wanted["files"]) >= 5
    assert min(lengths) >= 8
    for at, length in enumerate(lengths):
        for after in range(1, length + 1):
            place = next(places)
            for moment in moments[:at]:
                place.publisher()[0].sync([place.show(moment)], closing=True)
            run = place.show(moments[at])
            if is_killed:  # another process goes on
                publisher, cut = place.publisher(after, Killed())
                with pytest.raises(Killed):
                    publisher.sync([run], closing=True)
                publisher, _ = place.publisher()
            else:  # the same process asks again
                publisher, cut = place.publisher(after, requests.ConnectionError("lost"))
                assert publisher.sync([run], closing=True) == ["run-1"]
            said = f"cut after request {after} of {length}, {cut.calls[after - 1]}"
            assert publisher.sync([run], closing=True) == [], said
            for moment in moments[at + 1 :]:
                publisher.sync([place.show(moment)], closing=True)
            assert place.recorded() == wanted, said
