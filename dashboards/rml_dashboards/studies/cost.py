"""What a study's runs have used: hours, and device-hours, by row of its table."""

from collections.abc import Iterator

import pandas as pd

from rml_dashboards.contract.metric_keys import FINAL, SECONDS
from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.tags import devices_of
from rml_dashboards.records.records import Records

SECONDS_KEY = f"{FINAL}/{SECONDS}"
COST_COLUMNS = ["row", "device", "runs", "hours", "device_hours"]
REPEATS = "(repeats for the noise floor)"
"""Stands for the row of runs that fill no cell."""


def hours_by_run(records: Records) -> dict[str, float]:
    """Run id → wall-clock hours over all attempts, of runs that have finished."""
    own = records.scores[records.scores["metric"] == SECONDS_KEY]
    return dict(zip(own["run_id"], own["value"] / 3600, strict=True))


def device_hours(plan: StudyPlan, records: Records) -> pd.DataFrame:
    """One line per row and kind of device, in the order of the table: row, device (`GPU`, or `core`
    where runs had none), runs, hours, device_hours.

    Hours are wall-clock time over all attempts of finished runs, device-hours those times the
    devices that a run held. A run that fills cells of several rows is counted in the first of them,
    so that rows add up; what fills none stands last, as REPEATS.
    """
    used = pd.DataFrame(list(_used(plan, records)), columns=["row", "device", "hours", "held"])
    if used.empty:
        return pd.DataFrame(columns=COST_COLUMNS)
    places = {row.label: place for place, row in enumerate(plan.rows)}
    grouped = used.groupby(["row", "device"], sort=False)
    frame = grouped.agg(
        runs=("hours", "size"), hours=("hours", "sum"), device_hours=("held", "sum")
    ).reset_index()
    order = frame["row"].map(places).fillna(len(places))
    return (
        frame.assign(order=order)
        .sort_values(["order", "device"], kind="stable")
        .reset_index(drop=True)[COST_COLUMNS]
    )


def _used(plan: StudyPlan, records: Records) -> Iterator[tuple[str, str, float, float]]:
    hours = hours_by_run(records)
    runs = records.runs
    devices = {
        str(run_id): devices_of(str(held), str(device))
        for run_id, held, device in zip(
            runs["run_id"], runs["devices"], runs["device"], strict=True
        )
    }
    for run in plan.runs:
        if run.run_id in hours:
            count, unit = devices[run.run_id]
            row = run.cells[0].row if run.cells else REPEATS
            yield row, unit, hours[run.run_id], count * hours[run.run_id]
