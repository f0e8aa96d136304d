"""What travels as JSON comes back equal, or is one error that names the file."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.metric_log import PIECE
from rml_platform.run.run_folder import FAILURE, HEARTBEAT, RESULT, Failure, Result
from rml_platform.run.task import RUN_TASK, Process, RunTask, config_to_json
from rml_platform.tracking.mlflow_tracker import PUBLISHED, PublishedState
from tests.support.platform.fake_trainer import evaluation
from tests.support.platform.tasks import beat_of
from tests.support.tiny import tiny_config

HERE = Process(host="h", pid=1, started="2")
TASK = RunTask(
    run_id="run-1",
    config_json=config_to_json(tiny_config("rml")),
    storage="/s",
    prepared_folder="/p",
    data_root=None,
    split_hash="s",
    data_hash="d",
    study="study",
    launch_id="a",
    launcher=HERE,
    code_version="abc",
    dirty=False,
    shared_stages=("f00", "ba2"),
)
BEAT = beat_of(process=HERE, loss=0.1)
DONE = Result(
    evaluations=(evaluation(0.5),),
    steps=5,
    seconds=1.5,
    device="cpu",
    host="here",
    num_workers=1,
    attempt=2,
    code_version="abc",
    dirty=True,
    time=3.0,
)
FAILED = Failure(kind="ValueError", message="no", traceback="…", attempt=1, launch_id="a", time=1.0)
SENT = PublishedState(tracker="t", mlflow_run="m", step=3, status="")
VALUES: dict[str, tuple[Codec[Any], Any]] = {
    "task": (RUN_TASK, TASK),
    "heartbeat": (HEARTBEAT, BEAT),
    "failure": (FAILURE, FAILED),
    "published": (PUBLISHED, SENT),
    "metrics": (PIECE, [("train/loss", 3, 1_700_000_000_000, 0.25), ("val/miou", 3, 1, 1e-30)]),
}


@pytest.mark.parametrize("what", VALUES)
def test_a_value_comes_back_equal(what: str) -> None:
    codec = VALUES[what][0]
    value = VALUES[what][1]
    assert codec.decode(codec.encode(value), what) == value


def test_a_result_comes_back_with_its_nan_and_its_matrix() -> None:
    empty = replace(DONE, evaluations=(evaluation(math.nan),))
    content = RESULT.encode(empty)
    assert b"NaN" not in content
    back = RESULT.decode(content, "result.json")
    (score,) = back.evaluations
    assert math.isnan(score.miou) and math.isnan(score.iou_by_class["pole"])
    assert score.confusion.tolist() == evaluation(0.5).confusion.tolist()
    assert replace(back, evaluations=()) == replace(empty, evaluations=())


@pytest.mark.parametrize("what", VALUES)
def test_a_file_cut_off_anywhere_is_damaged(what: str) -> None:
    codec = VALUES[what][0]
    content = codec.encode(VALUES[what][1])
    for length in range(0, len(content) - 1, max(1, len(content) // 40)):
        with pytest.raises(DamagedFileError, match=r"^x\.json is damaged: "):
            codec.decode(content[:length], "x.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"attempt": "1"}, r"attempt: Input should be a valid integer"),
        ({"worker": {"host": "h", "pid": 1}}, r"worker\.started: "),
        ({"state": "asleep"}, r"state: Input should be 'running' or 'stopped'"),
        ({"speed": 3}, r"speed: Unexpected keyword"),
    ],
)
def test_what_is_not_of_the_type_is_named_by_its_key(change: dict[str, Any], said: str) -> None:
    fields = {**json.loads(HEARTBEAT.encode(BEAT)), **change}
    with pytest.raises(DamagedFileError, match=rf"heartbeat\.json is damaged: {said}"):
        HEARTBEAT.decode(json.dumps(fields), "heartbeat.json")


def test_files_of_earlier_versions_stay_readable() -> None:
    old = json.loads(RUN_TASK.encode(TASK))
    del old["shared_stages"]
    old |= {"shared_beginnings": ["f00"], "study_runs_too": []}
    assert RUN_TASK.decode(json.dumps(old), "task.json") == replace(TASK, shared_stages=())


def test_a_configuration_that_was_read_does_not_travel() -> None:
    task = replace(TASK)
    before = RUN_TASK.encode(task)
    assert task.config == tiny_config("rml")
    assert RUN_TASK.encode(task) == before
