"""A run that meets NaN stops with its last good checkpoint, and `rml replay` finds what became NaN
first."""

import math
import shutil
from pathlib import Path

import pytest

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.checkpoints import CheckpointStore, checkpoint_name
from rml_platform.run.execute import execute
from rml_platform.run.faults.non_finite import read_non_finite
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.views.replay import replay, report
from rml_trainers.config import OptimiserConfig, RunConfig, RuntimeConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.training.trainer import Trainer
from tests.support.platform.command import rml
from tests.support.platform.tasks import task_for
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
OFTEN = RuntimeConfig(
    device="cpu", log_every_steps=1, checkpoint_every_steps=1, num_read_ahead=0, threads=1
)


def failed(config: RunConfig, data: PreparedData, folder: Path) -> tuple[RunTask, str]:
    """A run that stopped over its loss or weights, and why."""
    task = task_for(config, data, folder, "run")
    assert execute(task, WorkerContext(writer=task.launch_id)) == "failed"
    failure = RunFolder.of(str(folder), "run").failure()
    assert failure is not None
    assert failure.kind == "NonFiniteLossError"
    return task, failure.message


def test_a_loss_that_diverges_is_found_again_step_by_step(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    config = tiny_config("iml", optimiser=OptimiserConfig(lr=1e18), runtime=OFTEN)
    task, message = failed(config, tiny_data, tmp_path)
    assert "rml replay run" in message
    run = RunFolder.of(str(tmp_path), "run")
    met = read_non_finite(run)
    assert met is not None
    kept = CheckpointStore(run.folder, "").stored()[-1]
    assert met.checkpoint == f"{kept.writer}/{kept.name}"
    assert met.checkpoint_step == kept.step == met.last_step - 1
    assert met.first_step == met.last_step

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")}
    notes = list[str]()
    lines = list[str]()
    replayed = replay(task, notes.append, lines.append)
    assert f"the checkpoint of step {kept.step}" in notes[-1]
    assert replayed.found is not None
    assert replayed.found.step == met.last_step == kept.step + len(lines)
    assert not math.isfinite(replayed.found.loss)
    assert replayed.found.first_non_finite is not None
    assert "the output of student_1." in replayed.found.first_non_finite
    images = replayed.found.images
    assert set(images) == {"labelled, student 1", "labelled, student 2"}
    assert all(name in tiny_data.names("train") for name in images["labelled, student 1"])
    said = report(replayed)
    assert images["labelled, student 1"][0] in said
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("*")} == before

    printed = rml("replay", "run", "--out", tmp_path)
    assert "gradient norms: student_1" in printed
    assert said in printed


def test_weights_that_a_finite_loss_hides_are_never_saved(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    config = tiny_config("supervised", optimiser=OptimiserConfig(lr=3e38), runtime=OFTEN)
    task, message = failed(config, tiny_data, tmp_path)
    assert "weights became NaN or infinite in the steps up to 1" in message
    run = RunFolder.of(str(tmp_path), "run")
    assert CheckpointStore(run.folder, "").stored() == []
    replayed = replay(task, lambda text: None, lambda text: None)
    assert replayed.found is not None
    assert math.isfinite(replayed.found.loss)
    assert "after the step" in (replayed.found.first_non_finite or "")


def test_the_steps_before_are_those_of_the_run(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is two steps back, in a stage of the method: the losses up to the last are
    those that the run itself reported."""
    config = tiny_config(
        "rml",
        runtime=RuntimeConfig(
            device="cpu", log_every_steps=1, checkpoint_every_steps=3, num_read_ahead=0, threads=1
        ),
    )
    losses = dict[int, float]()
    train_on = Trainer.train_on

    def breaks(self: Trainer, *args: object, **kwargs: object) -> object:
        if self.step == 10:
            first = next(self.learners.students.parameters())
            first.data.fill_(math.nan)
        result = train_on(self, *args, **kwargs)  # type: ignore[arg-type]
        losses.setdefault(self.step + 1, float(result.loss.detach()))
        return result

    monkeypatch.setattr(Trainer, "train_on", breaks)
    task, _ = failed(config, tiny_data, tmp_path)
    reported = dict(losses)
    met = read_non_finite(RunFolder.of(str(tmp_path), "run"))
    assert met is not None
    assert (met.checkpoint_step, met.first_step, met.last_step) == (8, 11, 11)
    losses.clear()
    lines = list[str]()
    replayed = replay(task, lambda text: None, lines.append)
    assert list(losses) == [9, 10, 11]
    assert [losses[9], losses[10]] == [reported[9], reported[10]]
    assert replayed.found is not None
    assert (replayed.found.step, replayed.found.stage) == (11, 2)
    assert lines[0].startswith(f"step 9 (stage 2): loss {reported[9]:.6g}")


def test_replay_begins_where_the_run_stopped_whatever_was_saved_since(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    config = tiny_config("iml", optimiser=OptimiserConfig(lr=1e18), runtime=OFTEN)
    task, _ = failed(config, tiny_data, tmp_path)
    run = RunFolder.of(str(tmp_path), "run")
    met = read_non_finite(run)
    assert met is not None
    assert met.checkpoint is not None
    kept = tmp_path / "runs" / "run" / "checkpoints" / met.checkpoint

    def saved(step: int) -> None:
        """As a later launch would have."""
        shutil.copytree(kept, kept.parents[1] / "later" / checkpoint_name(step, 2))

    def replayed() -> tuple[str, list[str]]:
        notes = list[str]()
        found = replay(task, notes.append, lambda text: None)
        assert found.found is not None
        assert found.last_step == met.last_step
        return notes[-1], notes

    saved(met.last_step + 1)
    assert replayed()[0].startswith(f"from the checkpoint of step {met.checkpoint_step} ")
    saved(met.checkpoint_step)
    shutil.rmtree(kept)
    kept = kept.parents[1] / "later" / checkpoint_name(met.checkpoint_step, 2)
    where, notes = replayed()
    assert where.startswith(f"from the checkpoint of step {met.checkpoint_step} ")
    assert any(note.endswith("that the run had is not there any more") for note in notes)
    shutil.rmtree(kept)
    past = rf"past them \(there are those of steps {met.last_step + 1}\)"
    with pytest.raises(CheckpointError, match=past):
        replayed()


def test_a_run_that_never_met_nan_has_nothing_to_replay(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    task = task_for(tiny_config("supervised"), tiny_data, tmp_path, "run")
    assert execute(task, WorkerContext(writer=task.launch_id)) == "done"
    with pytest.raises(ConfigError, match="never met a loss that is no number"):
        replay(task, lambda text: None, lambda text: None)
