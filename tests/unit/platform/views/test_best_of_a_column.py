"""Which score of a column is the best: said by the study, else known of the metric; from the YAML
to the bold number in Markdown, terminal and CSV."""

import csv as csv_module
import io
from pathlib import Path

import pytest
from rich.console import Console

from rml_dashboards.records.records import to_records
from rml_dashboards.studies.table import table_spec
from rml_dashboards.tables.console import console_table
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.filling import fill_table
from rml_dashboards.tables.render import csv, legend, markdown
from rml_dashboards.tables.specification import CellSpec
from rml_platform.planning.plan import Plan
from rml_platform.planning.plan_file.writing import is_higher_better, to_written
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.metrics import METRICS
from tests.support.platform.studies import write_study
from tests.support.recorded import recorded

STUDY = """\
name: directions
base: {data: {name: scenes}}
rows:
  - {label: low, set: {method.name: supervised}}
  - {label: high, set: {method.name: rml}}
columns:
COLUMNS
table: {TABLE}
"""
METRIC = "final/miou"


def filled(folder: Path, columns: str, table: str = "scale: 1") -> Table:
    """The study's table; row `low` has 0.25 of every metric, row `high` 0.75."""
    text = STUDY.replace("COLUMNS", columns).replace("TABLE", table)
    study = load_study(write_study(folder, text))
    spec = table_spec(to_written(Plan(study=study, runs=()), (), folder))
    metrics = {spec.metric_of(column) for column in spec.columns}
    runs = [
        recorded(row, scores=dict.fromkeys(metrics, value))
        for row, value in (("low", 0.25), ("high", 0.75))
    ]
    cells = [
        CellSpec(row=row, column=column.label, seed=0, run_id=row)
        for row in ("low", "high")
        for column in spec.columns
    ]
    return fill_table(spec, cells, to_records(runs))


def best_rows(table: Table) -> list[str]:
    """Row of the best score of each column."""
    return [
        entry.row for column in zip(*table.entries, strict=True) for entry in column if entry.best
    ]


@pytest.mark.parametrize(
    ("columns", "table", "best"),
    [
        ("  - {label: a}", "scale: 1", ["high"]),
        ("  - {label: a, higher_is_better: false}", "scale: 1", ["low"]),
        ("  - {label: a}", "scale: 1, higher_is_better: false", ["low"]),
        ("  - {label: a, higher_is_better: true}", "higher_is_better: false", ["high"]),
        ("  - {label: a, metric: final/miou}", "higher_is_better: false", ["low"]),
        ("  - {label: a, metric: train/loss}", "higher_is_better: true", ["low"]),
        (
            "  - {label: a}\n  - {label: b, metric: train/loss}\n"
            "  - {label: c, metric: final/accuracy}",
            "higher_is_better: false",
            ["low", "low", "high"],
        ),
        ("  - {label: a, metric: train/loss, higher_is_better: true}", "scale: 1", ["high"]),
        ("  - {label: a, metric: final/seconds}", "scale: 1", ["low"]),
        ("  - {label: a}", "metric: train/loss", ["low"]),
    ],
)
def test_which_row_is_bold(columns: str, table: str, best: list[str], tmp_path: Path) -> None:
    assert best_rows(filled(tmp_path, columns, table)) == best


def test_markdown_terminal_and_csv_agree(tmp_path: Path) -> None:
    table = filled(tmp_path, "  - {label: loss, metric: train/loss}\n  - {label: mIoU}")
    text = markdown(table)
    assert "**0.2 (1)**" in text and "**0.8 (1)**" in text
    assert "0.8 (1) " in text and "0.2 (1) " in text
    assert "Lower is better in loss." in text
    lines = list(csv_module.DictReader(io.StringIO(csv(table))))
    told = {(line["row"], line["column"]): line["best"] for line in lines}
    assert told == {
        ("low", "loss"): "True",
        ("high", "loss"): "False",
        ("low", "mIoU"): "False",
        ("high", "mIoU"): "True",
    }
    directions = {line["column"]: line["higher_is_better"] for line in lines}
    assert directions == {"loss": "False", "mIoU": "True"}
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system="truecolor")
    console.print(console_table(table))
    shown = str(console.file.getvalue())  # type: ignore[attr-defined]
    assert "\x1b[1m0.2 (1)" in shown and "\x1b[1m0.8 (1)" in shown
    assert shown.count("\x1b[1m0.") == 2
    assert "Lower is better in loss." in shown


def test_a_table_of_one_direction_says_it_once(tmp_path: Path) -> None:
    both = "  - {label: a}\n  - {label: b, metric: final/seconds}"
    assert "Lower is better. " in legend(filled(tmp_path, both, "metric: train/loss"))
    assert "Lower is better" not in legend(filled(tmp_path, "  - {label: a}"))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        *((f"final/{name}", metric.higher_is_better) for name, metric in METRICS.items()),
        *((f"val/student_2/{name}", metric.higher_is_better) for name, metric in METRICS.items()),
        ("final/iou/lossy seconds", True),
        ("train/loss", False),
        ("train/loss_student_1", False),
        ("train/seconds_per_step", False),
        ("final/seconds", False),
        ("train/calibration_error", False),
        ("train/pseudo_label_1_miou", True),
        ("train/pseudo_label_1_iou/net_loss_area", True),
        ("train/closs", True),
    ],
)
def test_what_is_known_of_a_metric(key: str, expected: bool) -> None:
    assert is_higher_better(key) == expected


def test_a_metric_says_itself_which_way_it_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    worse = METRICS["miou"].__class__(title="Hausdorff", of=lambda _: 0.0, higher_is_better=False)
    monkeypatch.setitem(METRICS, "hausdorff", worse)
    assert not is_higher_better("final/hausdorff")
    assert not is_higher_better("final/teacher_1/hausdorff/road")


def test_anything_but_true_or_false_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"study.yaml:7.*columns.0.higher_is_better"):
        filled(tmp_path, "  - {label: a, higher_is_better: low}")
