"""How `rml plan` and `rml status` show runs: read from the run folders alone."""

import time
from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rml_platform.launch.live_view import duration
from rml_platform.planning.cost import (
    Estimate,
    RunCost,
    estimate,
    first_steps,
    runs_at_once,
    stated_seconds,
)
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, PlannedRun
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.study.study_file import CostConfig

SHOWN = {"new": "to do", "cut_off": "cut off"}
STYLES = {
    "done": "green",
    "running": "cyan",
    "failed": "red",
    "cancelled": "yellow",
    "cut_off": "yellow",
    "new": "dim",
}


def states_of(plan: Plan, storage: str) -> dict[str, RunRecord]:
    """Status of every run by its id."""
    return {run.run_id: RunFolder.of(storage, run.run_id).record() for run in plan.runs}


def print_cells(plan: Plan, states: Mapping[str, RunRecord]) -> None:
    """One line per cell, in the order of the table."""
    table = _table("row", "column", "seed", "run", "state")
    for run in plan.runs:
        for cell in run.cells:
            state = _state(states[run.run_id])
            table.add_row(Text(cell.row), Text(cell.column), str(cell.seed), run.run_id, state)
    Console().print(table)


def print_runs(plan: Plan, states: Mapping[str, RunRecord]) -> None:
    """One line per run: where it stands, and below the table why runs failed."""
    table = _table("run", "state", "step", "loss", "mIoU", "s/step", "seen")
    for run in plan.runs:
        table.add_row(run.run_id, *_progress(run, states[run.run_id]))
    console = Console()
    console.print(table)
    for run in plan.runs:
        for text in states[run.run_id].damaged:
            console.print(Text(f"{run.run_id}: {text}; it counts as absent", style="yellow"))
        failure = states[run.run_id].failure
        if failure is not None:
            console.print(Text(f"{run.run_id}: {failure.kind}: {failure.message}", style="red"))


def print_summary(plan: Plan, states: Mapping[str, RunRecord], *, is_local: bool) -> None:
    """Counts, and the time that is left as far as it is known."""
    counts = Counter[str](status.state for status in states.values())
    parts = ", ".join(
        f"{counts[state]} {SHOWN.get(state, state)}" for state in STYLES if counts[state]
    )
    left = estimate(run_costs(plan, states))
    console = Console(highlight=False)
    console.print(f"{len(plan.runs)} runs for {len(plan.cells)} cells: {parts}", markup=False)
    if left.hours:
        at_once = runs_at_once(plan.study.resources, Machine.here()) if is_local else None
        eta = (
            f", {duration(3600 * left.hours / at_once)} on this machine with {at_once} at once"
            if at_once
            else ""
        )
        console.print(
            f"left: about {duration(3600 * left.hours)} of runs{eta}, as measured on runs of their "
            "methods"
        )
    print_stated(console, left, plan.study.cost)


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


def _table(*headings: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        is_number = heading in ("seed", "step", "loss", "mIoU", "s/step", "seen")
        table.add_column(
            heading, justify="right" if is_number else "left", no_wrap=heading == "run"
        )
    return table


def _state(status: RunRecord) -> Text:
    return Text(SHOWN.get(status.state, status.state), style=STYLES[status.state])


def _progress(run: PlannedRun, status: RunRecord) -> tuple[Text | str, ...]:
    heartbeat = status.heartbeat
    total = run.config.schedule.total_steps
    miou = (
        status.result.evaluations[0].miou
        if status.result
        else heartbeat.miou
        if heartbeat
        else None
    )
    step = total if status.result else heartbeat.step if heartbeat else 0
    loss = heartbeat.loss if heartbeat else None
    age = (
        f"{max(0.0, time.time() - heartbeat.time):.0f} s ago"
        if heartbeat and status.state == "running"
        else ""
    )
    return (
        _state(status),
        f"{step}/{total}",
        "" if loss is None else f"{loss:.3f}",
        "" if miou is None else f"{100 * miou:.1f}",
        f"{heartbeat.seconds_per_step:.2f}" if heartbeat and heartbeat.seconds_per_step else "",
        age,
    )


def run_costs(plan: Plan, states: Mapping[str, RunRecord]) -> list[RunCost]:
    """What each run has taken and what of it is left, beginnings that runs have in common counted
    once."""
    begin = first_steps((run.config, run.split_hash, run.data_hash) for run in plan.runs)
    cost = plan.study.cost
    return [
        _cost(run, states[run.run_id], cost, step)
        for run, step in zip(plan.runs, begin, strict=True)
    ]


def _cost(run: PlannedRun, status: RunRecord, cost: CostConfig | None, begin: int) -> RunCost:
    total = run.config.schedule.total_steps
    kind = run.config.method.name
    if status.result is not None:
        return RunCost(
            kind=kind,
            steps_left=0,
            steps_done=status.result.steps,
            seconds_spent=status.result.seconds,
        )
    beat = status.heartbeat
    step = max(beat.step, begin) if beat else begin
    return RunCost(
        kind=kind,
        steps_left=total - step,
        steps_done=beat.step if beat else 0,
        seconds_spent=beat.seconds if beat else 0.0,
        stated_seconds_left=stated_seconds(run.config, cost, step),
    )
