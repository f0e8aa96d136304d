"""How `rml plan` shows a study whose images are not there, and what several studies come to
together."""

from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from rml_platform.planning.cost import (
    Estimate,
    RunCost,
    estimate,
    first_steps,
    stated_seconds_left,
)
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.planning.plan_without_images import PlanWithoutImages, RunWithoutImages
from rml_platform.study.study_file import CostConfig
from rml_platform.views.run_table import Records, print_stated, run_costs
from rml_platform.views.text_columns import text_columns
from rml_trainers.config import RunConfig


def print_plan_without_images(plan: PlanWithoutImages) -> None:
    """One line per cell, in the order of the table, then what is missing and what it will all
    cost."""
    headings = ("row", "column", "seed", "labelled", "split", "steps")
    rows = [
        (
            cell.row,
            cell.column,
            str(cell.seed),
            labelled(run),
            run.split.hash if run.split else "",
            str(run.config.schedule.total_steps),
        )
        for run in plan.runs
        for cell in run.cells
    ]
    console = Console(highlight=False)
    console.print(text_columns(headings, rows, frozenset({"seed", "steps"})), soft_wrap=True)
    console.print(
        f"{len(plan.runs)} runs for {plan.num_cells} cells, by their settings alone",
        markup=False,
    )
    print_stated(console, estimate(whole_costs(plan)), plan.study.cost)
    console.print(Text(f"data missing, so runs have no ids yet: {plan.missing}", style="yellow"))


def labelled(run: RunWithoutImages) -> str:
    """How many images of a run are labelled, as far as that is known without them."""
    split = run.config.split
    if run.split is not None:
        return str(len(run.split.labelled))
    if split.num_labelled is not None:
        return str(split.num_labelled)
    return (
        f"{100 * split.fraction:.3g} %" if split.fraction is not None else str(split.labelled_list)
    )


def whole_costs(plan: PlanWithoutImages) -> list[RunCost]:
    """Everything of every run is left, stages that runs have in common counted once."""
    stages = [run.stages(plan.study.cost) for run in plan.runs]
    return [
        RunCost(
            kind=run.config.method.name,
            steps_left=run.config.schedule.total_steps - step,
            stated_seconds_left=stated_seconds_left(own, step),
        )
        for run, own, step in zip(plan.runs, stages, first_steps(stages), strict=True)
    ]


def print_together(studies: Sequence[tuple[WrittenPlan | PlanWithoutImages, Records]]) -> None:
    """Runs that several studies have in common, and the cost of all when each is trained once."""
    found: dict[str | RunConfig, tuple[int, RunCost, CostConfig | None]] = {}
    num_cells = 0
    for plan, records in studies:
        keys: list[str | RunConfig]
        if isinstance(plan, PlanWithoutImages):
            cost = plan.study.cost
            num_cells += plan.num_cells
            keys = [run.config for run in plan.runs]
            costs = whole_costs(plan)
        else:
            cost = plan.cost
            num_cells += len(plan.cells)
            keys = [run.run_id for run in plan.runs]
            costs = run_costs(plan, records)
        for key, left in zip(keys, costs, strict=True):
            times, earlier, _ = found.get(key, (0, left, cost))
            found[key] = (times + 1, min(left, earlier, key=lambda one: one.steps_left), cost)
    shared = sum(times > 1 for times, _, _ in found.values())
    console = Console(highlight=False)
    console.print(
        f"together: {len(found)} runs for {num_cells} cells of {len(studies)} studies; {shared} "
        "runs fill cells of "
        "more than one study and are trained once",
        style="bold",
    )
    for device in dict.fromkeys(cost.device for _, _, cost in found.values() if cost is not None):
        of_device = [
            left for _, left, cost in found.values() if cost is not None and cost.device == device
        ]
        print_device_hours(console, estimate(of_device), device)


def print_device_hours(console: Console, left: Estimate, device: str) -> None:
    """Device-hours left of runs whose studies state a rate of one device."""
    if left.num_stated:
        console.print(
            f"left: about {left.stated_hours:,.1f} {device}-hours for {left.num_stated} runs",
            markup=False,
        )
