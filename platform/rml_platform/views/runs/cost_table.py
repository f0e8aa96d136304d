"""How `rml plan` shows what is left of a study: time, device-hours, storage and money, per row and
in all."""

from collections.abc import Sequence

from rich.console import Console

from rml_platform.launch.live_view import duration
from rml_platform.planning.costs.forecast import Devices, Price, RunForecast, Total, by_row, total
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.views.text_columns import text_columns

ALL = "all"


def print_costs(
    plan: WrittenPlan,
    left: Sequence[RunForecast],
    devices: Devices,
    *,
    at_once: int,
    where: str,
    price: Price | None,
) -> None:
    """One line per row that is not done, their sum, and what the figures rest on.

    Args:
        where: the place that holds `at_once` runs, in words.
    """
    if not left:
        return
    rows = by_row(plan, left)
    lines = [_line(label, total(runs, devices, at_once), price) for label, runs in rows.items()]
    everything = total(left, devices, at_once)
    if len(lines) > 1:
        lines.append(_line(ALL, everything, price))
    headings = ["left of", "runs", f"{devices.unit}-hours", "wall", "storage", "time known from"]
    if price is not None:
        headings.insert(5, "money")
    right = frozenset(headings[1:-1])
    console = Console(highlight=False)
    console.print(text_columns(headings, lines, right), soft_wrap=True)
    for text in _notes(plan, everything, devices, at_once, where):
        console.print(text, markup=False, soft_wrap=True)


def _line(label: str, sum_: Total, price: Price | None) -> tuple[str, ...]:
    is_known = sum_.num_unknown < sum_.num_runs
    line = [
        label,
        str(sum_.num_runs),
        hours(sum_.device_hours) if is_known else "?",
        duration(sum_.wall_seconds) if is_known else "?",
        "?" if sum_.num_bytes is None else size(sum_.num_bytes),
        "; ".join(
            (*sum_.sources, *([f"unknown of {sum_.num_unknown}"] if sum_.num_unknown else []))
        ),
    ]
    if price is not None:
        line.insert(5, price.of(sum_.device_hours) if is_known else "?")
    return tuple(line)


def _notes(
    plan: WrittenPlan, everything: Total, devices: Devices, at_once: int, where: str
) -> list[str]:
    runs = "1 run" if at_once == 1 else f"{at_once} runs"
    notes = [
        f"wall: {runs} at once on {where}, {devices.count:g} {devices.unit}s each"
        if devices.count != 1
        else f"wall: {runs} at once on {where}, one {devices.unit} each"
    ]
    if "stated" in everything.sources and plan.cost is not None:
        notes.append(f"stated: {plan.cost.device}-hours by the study's rate ({plan.cost.source})")
    if everything.num_unknown:
        notes.append(
            f"{everything.num_unknown} runs: how long they take is unknown until one of them has "
            "trained; --probe measures 20 steps of each kind on a machine like theirs"
        )
    return notes


def hours(value: float) -> str:
    """Three digits, whatever the size: 0.0123, 1.23, 1,230."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def size(num_bytes: float) -> str:
    """In the unit of disks: 12 MB, 3.4 GB."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 1000:
            return f"{num_bytes:.3g} {unit}"
        num_bytes /= 1000
    return f"{num_bytes:.3g} TB"
