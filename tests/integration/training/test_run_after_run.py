"""A process that trains run after run keeps nothing of those before: workers of a large grid live
for days."""

import gc
from pathlib import Path

from torch import Tensor, nn

from rml_platform.run.attempt import WorkerContext
from rml_platform.run.execute import execute
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.tasks import task_for
from tests.support.tiny import tiny_config

NUM_RUNS = 3
FEW_OBJECTS = 50
"""Of a million: what caches of libraries may still add once they are warm."""


def alive() -> tuple[int, int]:
    """Objects that Python's collector knows, and how many of them are parts of networks or
    tensors."""
    gc.collect()
    objects = gc.get_objects()
    return len(objects), sum(issubclass(type(each), nn.Module | Tensor) for each in objects)


def test_nothing_of_a_run_outlives_it(tiny_data: PreparedData, tmp_path: Path) -> None:
    counts = []
    for seed in range(NUM_RUNS):
        task = task_for(tiny_config("iml", seed=seed), tiny_data, tmp_path, f"run-{seed}")
        assert execute(task, WorkerContext(writer=task.launch_id)) == "done"
        counts.append(alive())
    objects = [count for count, _ in counts]
    parts = [count for _, count in counts]
    assert objects[-1] - objects[1] <= FEW_OBJECTS, counts
    assert parts[-1] == parts[1], counts
