"""Two launches of one study at the same moment: each run is trained once, and recorded once."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mlflow import MlflowClient

from rml_platform.run.run_folder import RunFolder
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.recorded import recorded_runs

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]

HEAD = """\
name: twice
execution: direct
resources: {cpus_per_worker: 1}
"""
REST = """\
  schedule: {warm_up_steps: 40, stage_steps: []}
  runtime: {device: cpu, log_every_steps: 10, checkpoint_every_steps: 20, num_read_ahead: 0}
seeds: [0, 1, 2]
"""
STUDY = HEAD + SMALLEST + REST


def test_two_launches_at_once_train_every_run_once(tmp_path: Path) -> None:
    write_study(tmp_path, STUDY)
    rml = str(Path(sys.executable).with_name("rml"))
    launches = [
        subprocess.Popen(
            [rml, "launch", "study.yaml", "--out", "out"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    said = [launch.communicate()[0] for launch in launches]
    assert [launch.returncode for launch in launches] == [0, 0], "\n".join(said)
    for text in said:
        assert "Traceback" not in text, text

    storage = tmp_path / "out"
    run_ids = sorted(path.name for path in (storage / "runs").iterdir())
    assert len(run_ids) == 3
    launch_of = {}
    for run_id in run_ids:
        run = RunFolder.of(str(storage), run_id)
        result = run.result()
        assert result is not None
        assert result.attempt == 1
        assert len(run.folder.child("checkpoints").folders()) == 1
        launch_of[run_id] = json.loads(run.folder.read("task.json") or b"")["launch_id"]
        assert not list((storage / "runs" / run_id).glob("work-*"))
    assert not list((storage / "launches").iterdir())

    client = MlflowClient(f"sqlite:///{storage / 'mlflow.db'}")
    recorded = recorded_runs(client)
    assert Counter(run.data.tags["rml.run_id"] for run in recorded) == Counter(run_ids)
    for run in recorded:
        assert run.info.status == "FINISHED"
        steps = [m.step for m in client.get_metric_history(run.info.run_id, "train/loss")]
        assert sorted(steps) == [10, 20, 30, 40]
