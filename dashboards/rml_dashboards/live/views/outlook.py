"""When runs will be done, if they go on as they do.

They start in the order of a launch, as many at once as now, each as fast as the runs of its method
so far.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from rml_dashboards.contract.planned import PlannedRun
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.watch import Snapshot
from rml_dashboards.live.views.progress import LEFT, Pace, seconds_left


@dataclass(frozen=True, kw_only=True)
class Outlook:
    """Seconds from now until each run that is left will be done."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    unknown: frozenset[str] = frozenset()
    """Runs of a method of which none has trained; they are taken to be as long as the others."""

    def until(self, runs: Iterable[PlannedRun]) -> float | None:
        """Seconds until the last of these runs is done; None where that is not known, or nothing
        is left."""
        left = [run.run_id for run in runs if run.run_id in self.seconds]
        if not left or not self.unknown.isdisjoint(left):
            return None
        return max(self.seconds[run_id] for run_id in left)


def outlook(study: ShownStudy, snapshot: Snapshot, pace: Pace) -> Outlook:
    """The outlook of a study; an empty one where nothing is at work.

    Args:
        snapshot: as the study has it.
    """
    plan = study.plan
    left = [run for run in plan.runs if snapshot.status(run.run_id).state in LEFT]
    own = {run.run_id: seconds_left(run, snapshot.status(run.run_id), pace) for run in left}
    known = [seconds for seconds in own.values() if seconds is not None]
    if not pace.at_once or not known:
        return Outlook()
    mean = sum(known) / len(known)
    done: dict[str, float] = {}
    free: list[float] = []
    waiting = []
    for run in left:
        length = own[run.run_id]
        if snapshot.status(run.run_id).state == "running":
            done[run.run_id] = mean if length is None else length
            heapq.heappush(free, done[run.run_id])
        else:
            waiting.append((run, mean if length is None else length))
    order = _turns(study, snapshot)
    for run, length in sorted(waiting, key=lambda one: order[one[0].run_id]):
        done[run.run_id] = heapq.heappop(free) + length
        heapq.heappush(free, done[run.run_id])
    return Outlook(
        seconds=done, unknown=frozenset(name for name, seconds in own.items() if seconds is None)
    )


def _turns(study: ShownStudy, snapshot: Snapshot) -> dict[str, tuple[int, int, int]]:
    """The order in which a launch starts runs: a row's priority as it counts now, the seed, the
    place in the table."""
    plan = study.plan
    priority = {row.label: snapshot.priority_of(study, row) for row in plan.rows}
    seeds = {seed: place for place, seed in enumerate(plan.seeds)}
    return {
        run.run_id: (
            -max((priority.get(cell.row, 0) for cell in run.cells), default=0),
            min((seeds.get(cell.seed, len(seeds)) for cell in run.cells), default=len(seeds)),
            place,
        )
        for place, run in enumerate(plan.runs)
    }
