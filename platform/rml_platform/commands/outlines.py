"""How `rml plan` shows a study whose images are not there, and what several studies come to together."""

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rml_platform.commands.states import print_stated, run_cost
from rml_platform.cost import Estimate, RunCost, estimate, stated_seconds
from rml_platform.outline import Outline, OutlinedRun
from rml_platform.plan import Plan
from rml_platform.run_folder import RunRecord
from rml_platform.study_file import CostConfig
from rml_trainers.config import RunConfig, SplitConfig


def print_outline(outline: Outline) -> None:
    """One line per cell, in the order of the table, then what is missing and what it will all cost."""
    table = Table("row", "column", "seed", "labelled", "steps", box=None, pad_edge=False, header_style="bold")
    for name in ("seed", "steps"):
        next(column for column in table.columns if column.header == name).justify = "right"
    for run in outline.runs:
        for cell in run.cells:
            steps = str(cell.config.schedule.total_steps)
            table.add_row(Text(cell.row), Text(cell.column), str(cell.seed), labelled(cell.config.split), steps)
    console = Console(highlight=False)
    console.print(table)
    console.print(f"{len(outline.runs)} runs for {outline.num_cells} cells, by their settings alone", markup=False)
    costs = [outlined_cost(run, outline.study.cost) for run in outline.runs]
    print_stated(console, estimate(costs), outline.study.cost)
    console.print(Text(f"data missing, so runs have no ids yet: {outline.missing}", style="yellow"))


def labelled(split: SplitConfig) -> str:
    """How many images a split labels, as far as its settings tell."""
    if split.num_labelled is not None:
        return str(split.num_labelled)
    return f"{100 * split.fraction:.3g} %" if split.fraction is not None else str(split.labelled_list)


def outlined_cost(run: OutlinedRun, cost: CostConfig | None) -> RunCost:
    """Everything of it is left."""
    config = run.config
    steps = config.schedule.total_steps
    return RunCost(kind=config.method.name, steps_left=steps, stated_seconds_left=stated_seconds(config, cost))


def print_together(studies: Sequence[tuple[Plan | Outline, Mapping[str, RunRecord]]]) -> None:
    """Runs that several studies have in common, and the cost of all when each is trained once."""
    found: dict[str | RunConfig, tuple[int, RunCost, CostConfig | None]] = {}
    num_cells = 0
    for made, states in studies:
        cost = made.study.cost
        keyed: list[tuple[str | RunConfig, RunCost]]
        if isinstance(made, Outline):
            num_cells += made.num_cells
            keyed = [(run.config, outlined_cost(run, cost)) for run in made.runs]
        else:
            num_cells += len(made.cells)
            keyed = [(run.run_id, run_cost(run, states[run.run_id], cost)) for run in made.runs]
        for key, left in keyed:
            times, _, _ = found.get(key, (0, left, cost))
            found[key] = (times + 1, left, cost)
    shared = sum(times > 1 for times, _, _ in found.values())
    console = Console(highlight=False)
    console.print(
        f"together: {len(found)} runs for {num_cells} cells of {len(studies)} studies; {shared} runs fill cells of "
        "more than one study and are trained once",
        style="bold",
    )
    for device in dict.fromkeys(cost.device for _, _, cost in found.values() if cost is not None):
        of_device = [left for _, left, cost in found.values() if cost is not None and cost.device == device]
        print_device_hours(console, estimate(of_device), device)


def print_device_hours(console: Console, left: Estimate, device: str) -> None:
    """Device-hours left of runs whose studies state a rate of one device."""
    if left.num_stated:
        console.print(f"left: about {left.stated_hours:,.1f} {device}-hours for {left.num_stated} runs", markup=False)
