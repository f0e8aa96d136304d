"""How `rml plan` and `rml status` show the runs of a plan: read from the run folders alone."""

from collections import Counter
from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from rml_platform.planning.cost import (
    Estimate,
    RunCost,
    first_steps,
    stated_seconds_left,
)
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
    rows += [
        (
            f"{one.row} again, {one.how}",
            one.column,
            str(one.seed),
            one.repeat_id,
            _state(records[one.repeat_id]),
        )
        for one in plan.repeats
    ]
    headings = ("row", "column", "seed", "run", "state")
    Console().print(text_columns(headings, rows, frozenset({"seed"})), soft_wrap=True)


def print_counts(plan: WrittenPlan, records: Records) -> None:
    """How many runs are in which state."""
    counts = Counter[str](records[run.run_id].state for run in plan.runs)
    parts = ", ".join(
        f"{counts[state]} {SHOWN.get(state, state)}" for state in STYLES if counts[state]
    )
    again = f" ({len(plan.repeats)} for the noise floor)" if plan.repeats else ""
    text = f"{len(plan.runs)} runs for {len(plan.cells)} cells{again}: {parts}"
    Console(highlight=False).print(text, markup=False)


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
