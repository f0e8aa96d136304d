"""Tags that follow from what was asked of a run."""

import json
from typing import Any

import pytest

from rml_dashboards.contract.tags import Tag, task_tags
from tests.support.dashboards.live_grid import task


@pytest.mark.parametrize(
    ("runtime", "cpus", "threads"),
    [
        ({"threads": 3}, 2.0, "3"),
        ({"threads": None}, 2.0, "2"),
        ({"threads": None}, 0.5, "1"),
        ({}, 1.9, "1"),
    ],
)
def test_threads_are_those_asked_for_or_one_for_each_core_of_its_own(
    runtime: dict[str, Any], cpus: float, threads: str
) -> None:
    asked = task("run-1", "rml", 0)
    config = json.loads(asked["config_json"]) | {"runtime": runtime}
    asked |= {"config_json": json.dumps(config), "num_workers": 2}
    asked |= {"cpus_per_worker": cpus, "gpus_per_worker": 0}
    assert task_tags(asked)[Tag.THREADS] == threads


def test_a_task_of_before_devices_were_recorded_has_no_threads() -> None:
    assert Tag.THREADS.value not in task_tags(task("run-1", "rml", 0))
