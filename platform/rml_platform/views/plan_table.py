"""How `rml plan` shows a study whose images are not there, and what several studies come to
together."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rml_platform.planning.cost import Estimate, RunCost, estimate, first_steps, stated_seconds
from rml_platform.planning.plan import Plan
from rml_platform.planning.plan_without_images import Outline, OutlinedRun
from rml_platform.run.run_folder import RunRecord
from rml_platform.study.study_file import CostConfig
from rml_platform.views.run_table import print_stated, run_costs
from rml_trainers.config import RunConfig


def print_outline(outline: Outline) -> None:
    """One line per cell, in the order of the table, then what is missing and what it will all
    cost."""
    table = Table(
        "row",
        "column",
        "seed",
        "labelled",
        "split",
        "steps",
        box=None,
        pad_edge=False,
        header_style="bold",
    )
    for name in ("seed", "steps"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for run in outline.runs:
        for cell in run.cells:
            steps = str(cell.config.schedule.total_steps)
            split = (labelled(run), run.split.hash if run.split else "")
            table.add_row(Text(cell.row), Text(cell.column), str(cell.seed), *split, steps)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"{len(outline.runs)} runs for {outline.num_cells} cells, by their settings alone",
        markup=False,
    )
    print_stated(console, estimate(outlined_costs(outline)), outline.study.cost)
    console.print(Text(f"data missing, so runs have no ids yet: {outline.missing}", style="yellow"))


def labelled(run: OutlinedRun) -> str:
    """How many images of a run are labelled, as far as that is known without them."""
    split = run.config.split
    if run.split is not None:
        return str(len(run.split.labelled))
    if split.num_labelled is not None:
        return str(split.num_labelled)
    return (
        f"{100 * split.fraction:.3g} %" if split.fraction is not None else str(split.labelled_list)
    )


def outlined_costs(outline: Outline) -> list[RunCost]:
    """Everything of every run is left, beginnings that runs have in common counted once."""
    begin = first_steps(run.stand_in() for run in outline.runs)
    return [
        RunCost(
            kind=run.config.method.name,
            steps_left=run.config.schedule.total_steps - step,
            stated_seconds_left=stated_seconds(run.config, outline.study.cost, step),
        )
        for run, step in zip(outline.runs, begin, strict=True)
    ]


def print_together(studies: Sequence[tuple[Plan | Outline, Mapping[str, RunRecord]]]) -> None:
    """Runs that several studies have in common, and the cost of all when each is trained once."""
    found: dict[str | RunConfig, tuple[int, RunCost, CostConfig | None]] = {}
    num_cells = 0
    for made, states in studies:
        cost = made.study.cost
        keys: list[str | RunConfig]
        if isinstance(made, Outline):
            num_cells += made.num_cells
            keys = [run.config for run in made.runs]
            costs = outlined_costs(made)
        else:
            num_cells += len(made.cells)
            keys = [run.run_id for run in made.runs]
            costs = run_costs(made, states)
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
