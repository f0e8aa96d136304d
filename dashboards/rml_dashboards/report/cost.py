"""What a study has used, by row and in all: hours, device-hours and money."""

import pandas as pd

from rml_dashboards.report.content import StudyContent
from rml_dashboards.report.tables import html_table
from rml_dashboards.writing.page import element
from rml_dashboards.writing.pipe_table import NOTHING

GPU = "GPU"


def cost_parts(content: StudyContent) -> list[str]:
    """A table with a line for each row and one for all of them."""
    frame = content.hours
    if frame.empty:
        return [element("p", "No run has finished yet, so no hours are counted.")]
    kinds = [kind for kind in (GPU, "core") if kind in set(frame["device"])]
    # An hour of a core is not paid like one of a GPU.
    paid = kinds[0]
    rows = [(str(row), own) for row, own in frame.groupby("row", sort=False)]
    lines = [_line(content, row, own, kinds) for row, own in [*rows, ("all", frame)]]
    header = [content.plan.table.row_heading, "finished runs", "hours", *_headings(kinds)]
    header += ["price"] if content.price is not None else []
    return [
        *html_table("Time that the runs took", header, lines),
        element("p", _legend(content, paid), class_="note"),
    ]


def _headings(kinds: list[str]) -> list[str]:
    return [f"{kind}-hours" for kind in kinds]


def _line(content: StudyContent, row: str, own: pd.DataFrame, kinds: list[str]) -> list[str]:
    held = {kind: own[own["device"] == kind]["device_hours"].sum() for kind in kinds}
    line = [row, str(own["runs"].sum()), f"{own['hours'].sum():,.2f}"]
    line += [f"{held[kind]:,.2f}" if held[kind] else NOTHING for kind in kinds]
    return line + ([content.price.of(held[kinds[0]])] if content.price is not None else [])


def _legend(content: StudyContent, paid: str) -> str:
    num_finished = int(content.hours["runs"].sum())
    num_open = len(content.runs) - num_finished
    said = (
        "Wall-clock time of finished runs over all attempts, times the devices that each held. A "
        "run that fills several rows is counted in the first."
    )
    if num_open > 0:
        runs = "1 recorded run" if num_open == 1 else f"{num_open} recorded runs"
        said += f" The time of {runs} without a result is not in it."
    if content.price is not None:
        price = content.price
        said += f" Price: {price.per_hour:g} {price.currency}".rstrip() + f" per {paid}-hour."
    return said
