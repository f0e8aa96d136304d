"""Runs of a written plan as a person names them: by a row's label, or by their ids."""

from collections.abc import Sequence

from rml_platform.planning.plan_file.written_plan import WrittenPlan, WrittenRow, WrittenRun
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError


def select_runs(plan: WrittenPlan, names: Sequence[str]) -> list[WrittenRun]:
    """The runs that rows' labels and run ids stand for, in the order of the plan; without names all
    of them. Raises ConfigError for a name that is neither, with the nearest ones."""
    labels = {cell.row for run in plan.runs for cell in run.cells}
    ids = {run.run_id for run in plan.runs}
    for name in names:
        if name not in labels and name not in ids:
            raise ConfigError(
                f"{plan.name}: no row and no run is called {name!r}; {suggest(name, labels)}. "
                f"`rml status {plan.name}` lists the runs"
            )
    wanted = set(names)
    return [
        run
        for run in plan.runs
        if not names or run.run_id in wanted or wanted.intersection(c.row for c in run.cells)
    ]


def row_of(plan: WrittenPlan, label: str) -> WrittenRow:
    """A row that is run. Raises ConfigError with the nearest labels."""
    rows = {row.label: row for row in plan.rows if row.columns}
    if label not in rows:
        raise ConfigError(f"{plan.name}: no row is called {label!r}; {suggest(label, rows)}")
    return rows[label]
