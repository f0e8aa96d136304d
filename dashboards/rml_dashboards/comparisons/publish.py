"""Statistics and comparisons as files, in one call each."""

from pathlib import Path

import pandas as pd

from rml_dashboards.comparisons.cells import cell_statistics, performance_profiles
from rml_dashboards.comparisons.compare import Comparison
from rml_dashboards.comparisons.questions import answers
from rml_dashboards.comparisons.text import (
    comparison_markdown,
    questions_markdown,
    statistics_markdown,
)
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import CSV_DECIMALS
from rml_dashboards.writing.files import write_text


def write_statistics(table: Table, out_dir: Path) -> list[Path]:
    """Write `<name>-statistics.md` and `.csv`, one line per cell, `<name>-profiles.csv`, the
    performance profiles, and, of a study that asks something, `<name>-questions.md` and `.csv`.
    Existing files are replaced as a whole."""
    name = table.spec.name
    cells = cell_statistics(table)
    return [
        *_write_questions(table, out_dir),
        write_text(statistics_markdown(table, cells), out_dir / f"{name}-statistics.md"),
        write_text(_csv(cells), out_dir / f"{name}-statistics.csv"),
        write_text(_csv(performance_profiles(table)), out_dir / f"{name}-profiles.csv"),
    ]


def _write_questions(table: Table, out_dir: Path) -> list[Path]:
    if not table.spec.questions:
        return []
    name = table.spec.name
    lines = answers(table)
    return [
        write_text(questions_markdown(table, lines), out_dir / f"{name}-questions.md"),
        write_text(_csv(lines), out_dir / f"{name}-questions.csv"),
    ]


def write_comparison(comparison: Comparison, out_dir: Path) -> list[Path]:
    """Write `<name>-paired.md` and `.csv`, one line per row and column. Existing files are replaced
    as a whole."""
    name = comparison.table.spec.name
    return [
        write_text(comparison_markdown(comparison), out_dir / f"{name}-paired.md"),
        write_text(_csv(comparison.differences), out_dir / f"{name}-paired.csv"),
    ]


def _csv(frame: pd.DataFrame) -> str:
    """Tidy lines; the scores or differences of single seeds are one word each in their column."""
    texts = frame.copy()
    if "points" in texts:
        texts["points"] = [
            " ".join(str(round(point, CSV_DECIMALS)) for point in points)
            for points in texts["points"]
        ]
    return texts.round(CSV_DECIMALS).to_csv(index=False, lineterminator="\n")
