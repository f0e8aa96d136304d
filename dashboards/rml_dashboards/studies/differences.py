"""In which settings runs differ: from each other, and from the base of their study."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rml_dashboards.contract.planned import StudyPlan

EVERY_RUN = "every run"
SEEDS = frozenset({"seed", "split.seed"})
"""What differs between the runs of a cell."""
ABSENT: Any = None
"""Stands for a setting that a method, network or data set does not have."""


@dataclass(frozen=True)
class Difference:
    """One setting that is not as in the study's base."""

    where: str
    """Row, column, or both, that has it; or every run."""
    key: str
    base: Any
    """ABSENT where the base has no such setting; so below."""
    values: tuple[Any, ...]
    """The value there; several where its runs differ."""


def sides(values: Sequence[Mapping[str, Any]]) -> list[tuple[str, Any, Any]]:
    """Name, left and right value of everything that one of two has; ABSENT where it has not."""
    first, second = values
    return [(name, first.get(name), second.get(name)) for name in dict.fromkeys((*first, *second))]


def base_differences(plan: StudyPlan) -> list[Difference]:
    """Every setting that is not as in the base of the study, said once for all runs, or for each
    row, column or cell that has it, in the order of the table. Nothing where the plan does not know
    its base."""
    if plan.base is None:
        return []
    by_cell = _values_by_cell(plan)
    keys = dict.fromkeys(key for values in by_cell.values() for key in values)
    found = []
    for key in sorted(keys):
        cells = {place: values[key] for place, values in by_cell.items()}
        base = plan.base.get(key, ABSENT)
        for where, own in _grouped(cells):
            if own != [base]:
                found.append(Difference(where, key, base, tuple(own)))
    order = {name: place for place, name in enumerate(_places(plan))}
    return sorted(found, key=lambda one: (order[one.where], one.key))


def _places(plan: StudyPlan) -> list[str]:
    rows = [row.label for row in plan.rows]
    columns = [column.label for column in plan.columns]
    both = [f"{row}, {column}" for row in rows for column in columns]
    return list(dict.fromkeys([EVERY_RUN, *rows, *columns, *both]))


def _values_by_cell(plan: StudyPlan) -> dict[tuple[str, str], dict[str, list[Any]]]:
    """Row and column → every setting that differs from the base somewhere, with its values over
    the seeds."""
    assert plan.base is not None
    known = dict.fromkeys([*plan.base, *(key for run in plan.runs for key in run.settings)])
    keys = [key for key in dict.fromkeys([*known, *plan.settings]) if key not in SEEDS]
    found: dict[tuple[str, str], dict[str, list[Any]]] = {}
    for cell, run in plan.cells:
        of_cell = found.setdefault((cell.row, cell.column), {key: [] for key in keys})
        own = {**plan.settings, **run.settings}
        for key in keys:
            if own.get(key, ABSENT) not in of_cell[key]:
                of_cell[key].append(own.get(key, ABSENT))
    return found


def _grouped(cells: Mapping[tuple[str, str], list[Any]]) -> list[tuple[str, list[Any]]]:
    """The fewest places that tell the values of all cells: all at once, by row, by column, or each
    by itself."""
    values = list(cells.values())
    if all(value == values[0] for value in values):
        return [(EVERY_RUN, values[0])]
    for side in (0, 1):
        by_label: dict[str, list[list[Any]]] = {}
        for place, value in cells.items():
            by_label.setdefault(place[side], []).append(value)
        if all(value == own[0] for own in by_label.values() for value in own):
            return [(label, own[0]) for label, own in by_label.items()]
    return [(f"{row}, {column}", value) for (row, column), value in cells.items()]
