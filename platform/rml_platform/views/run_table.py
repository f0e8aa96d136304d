"""How `rml plan` and `rml status` show the runs of a plan: read from the run folders alone."""

import time
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from rml_platform.launch.live_view import duration
from rml_platform.planning.cost import (
    Estimate,
    RunCost,
    estimate,
    first_steps,
    runs_at_once,
    stated_seconds_left,
)
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRun
from rml_platform.run.run_folder import RunRecord
from rml_platform.study.study_file import CostConfig
from rml_platform.views.text_columns import text_columns

Records = Mapping[str, RunRecord]
"""What the folder of each run says, by run id."""
SHOWN = {"new": "to do", "cut_off": "cut off"}
STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "cut_off": "yellow",
    "new": "dim",
}


def print_cells(plan: WrittenPlan, records: Records) -> None:
    """One line per cell, in the order of the table."""
    rows = [
        (cell.row, cell.column, str(cell.seed), run.run_id, _state(records[run.run_id]))
        for run in plan.runs
        for cell in run.cells
    ]
    headings = ("row", "column", "seed", "run", "state")
    Console().print(text_columns(headings, rows, frozenset({"seed"})), soft_wrap=True)


def print_runs(plan: WrittenPlan, records: Records) -> None:
    """One line per run: where it stands, and below the table why runs failed."""
    headings = ("run", "state", "step", "loss", "mIoU", "s/step", "seen")
    rows = [(run.run_id, *_progress(run, records[run.run_id])) for run in plan.runs]
    console = Console()
    console.print(text_columns(headings, rows, frozenset(headings[2:])), soft_wrap=True)
    for run in plan.runs:
        for text in records[run.run_id].damaged:
            console.print(Text(f"{run.run_id}: {text}; it counts as absent", style="yellow"))
        failure = records[run.run_id].failure
        if failure is not None:
            console.print(Text(f"{run.run_id}: {failure.kind}: {failure.message}", style="red"))


def print_summary(plan: WrittenPlan, records: Records, *, is_local: bool) -> None:
    """Counts, and the time that is left as far as it is known."""
    counts = Counter[str](records[run.run_id].state for run in plan.runs)
    parts = ", ".join(
        f"{counts[state]} {SHOWN.get(state, state)}" for state in STYLES if counts[state]
    )
    left = estimate(run_costs(plan, records))
    console = Console(highlight=False)
    console.print(f"{len(plan.runs)} runs for {len(plan.cells)} cells: {parts}", markup=False)
    if left.hours:
        at_once = runs_at_once(plan.resources, Machine.here()) if is_local else None
        eta = (
            f", {duration(3600 * left.hours / at_once)} on this machine with {at_once} at once"
            if at_once
            else ""
        )
        console.print(
            f"left: about {duration(3600 * left.hours)} of runs{eta}, as measured on runs of their "
            "methods"
        )
    print_stated(console, left, plan.cost)


def print_stated(console: Console, left: Estimate, cost: CostConfig | None) -> None:
    """What is left of methods that have not been measured: by the study's own rate, or unknown."""
    if left.num_stated and cost is not None:
        console.print(
            f"left: about {left.stated_hours:,.1f} {cost.device}-hours for {left.num_stated} runs "
            f"({cost.source})",
            markup=False,
        )
    if left.num_unknown:
        console.print(
            f"left: {left.num_unknown} runs; how long they take is unknown until one of them has "
            "trained"
        )


def _state(record: RunRecord) -> Text:
    return Text(SHOWN.get(record.state, record.state), style=STYLES[record.state])


def _progress(run: WrittenRun, record: RunRecord) -> tuple[Text | str, ...]:
    heartbeat = record.heartbeat
    miou = (
        record.result.evaluations[0].miou
        if record.result
        else heartbeat.miou
        if heartbeat
        else None
    )
    step = run.num_steps if record.result else heartbeat.step if heartbeat else 0
    loss = heartbeat.loss if heartbeat else None
    age = (
        f"{max(0.0, time.time() - heartbeat.time):.0f} s ago"
        if heartbeat and record.state == "running"
        else ""
    )
    return (
        _state(record),
        f"{step}/{run.num_steps}",
        "" if loss is None else f"{loss:.3f}",
        "" if miou is None else f"{100 * miou:.1f}",
        f"{heartbeat.seconds_per_step:.2f}" if heartbeat and heartbeat.seconds_per_step else "",
        age,
    )


def run_costs(plan: WrittenPlan, records: Records) -> list[RunCost]:
    """What each run has taken and what of it is left, stages that runs have in common counted
    once."""
    begin = first_steps(run.stages for run in plan.runs)
    return [
        _cost(run, records[run.run_id], step) for run, step in zip(plan.runs, begin, strict=True)
    ]


def _cost(run: WrittenRun, record: RunRecord, begin: int) -> RunCost:
    if record.result is not None:
        return RunCost(
            kind=run.method,
            steps_left=0,
            steps_done=record.result.steps,
            seconds_spent=record.result.seconds,
        )
    beat = record.heartbeat
    step = max(beat.step, begin) if beat else begin
    return RunCost(
        kind=run.method,
        steps_left=run.num_steps - step,
        steps_done=beat.step if beat else 0,
        seconds_spent=beat.seconds if beat else 0.0,
        stated_seconds_left=stated_seconds_left(run.stages, step),
    )
