"""Nodes that train nothing: what stands in for Ray where the launcher itself is measured or tested.

Queue, turns, room, claims, records and reports are the product's own. In place of an attempt on a
node the files of a recorded one appear in the run's folder: what was asked for, a sign of life, a
result.
"""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rml_platform.launch.on_ray.fleet.room import Node, Room
from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.run.run_folder import Heartbeat, Result, RunFolder
from rml_platform.run.task import Process, RunTask
from rml_platform.study.cells import Study
from rml_trainers.scoring.score import Evaluation

STEPS = 20
SCORES = (
    Evaluation(
        protocol="scenes-32x48/teacher_1/last",
        network="teacher_1",
        scores={"miou": 0.5, "accuracy": 0.75},
        confusion=np.array([[3, 1], [1, 3]]),
    ),
)


@dataclass
class SimulatedFleet:
    """Nodes of one core each; call `carry_out` as a launch calls Ray."""

    num_nodes: int
    simulated_s: float = 0.0
    """CPU time that the place of the nodes was taken with: not the launcher's."""
    _beats: dict[str, Heartbeat] = field(default_factory=dict)

    def carry_out(
        self,
        tasks: Sequence[RunTask],
        *,
        turns: Turns,
        studies: Mapping[str, Study],
        on_note: Callable[[str], None],
        **of_ray: Any,
    ) -> Mapping[str, str]:
        """Bring runs to an end in the order of their turns, as many at once as there are nodes;
        those under way end one after the other."""
        rules = {name: study.retry for name, study in studies.items()}
        queue = RunQueue(tasks, rules, on_note, turns)
        nodes = [
            Node(id=f"node-{i}", host=f"node-{i}", resources={"CPU": 1.0}, labels={})
            for i in range(self.num_nodes)
        ]
        room = Room(
            tasks,
            at_most=None,
            on_note=on_note,
            look=lambda: nodes,
            autoscaled=lambda task, nodes: 0,
        )
        while not queue.is_over:
            self._begin_all(_next_runs(queue, room))
            for task in queue.under_way()[: max(1, self.num_nodes // 2)]:
                self._apart(self._end, task)
                queue.ended(task.run_id, "")
        return queue.lost

    def _begin_all(self, tasks: Iterable[RunTask]) -> None:
        for task in tasks:
            self._apart(self._begin, task)

    def _apart(self, work: Callable[[RunTask], None], task: RunTask) -> None:
        begin_s = time.thread_time()
        work(task)
        self.simulated_s += time.thread_time() - begin_s

    def _begin(self, task: RunTask) -> None:
        here = Process.current()
        beat = self._beats[task.run_id] = Heartbeat(
            launch_id=task.launch_id,
            launcher=task.launcher,
            worker=here,
            device="cpu",
            attempt=1,
            launch_attempt=1,
            num_stages=2,
            num_steps=STEPS,
        )
        folder = RunFolder.of(task.storage, task.run_id)
        folder.begin(task)
        folder.write_heartbeat(beat)

    def _end(self, task: RunTask) -> None:
        folder = RunFolder.of(task.storage, task.run_id)
        beat = self._beats.pop(task.run_id)
        folder.write_heartbeat(replace(beat, state="stopped", step=STEPS, seconds=1.0))
        folder.write_result(
            Result(
                evaluations=SCORES,
                steps=STEPS,
                seconds=1.0,
                device="cpu",
                host=beat.worker.host,
                num_workers=1,
                attempt=1,
                code_version=task.code_version,
                dirty=task.dirty,
                time=time.time(),
            )
        )


def _next_runs(queue: RunQueue, room: Room) -> Iterable[RunTask]:
    while room.has_room(queue.under_way()) and (task := queue.next()) is not None:
        yield task
