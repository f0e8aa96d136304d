"""Markdown, CSV and console texts, against files read by eye once
(`python -m tests.unit.test_tables_render` rewrites them; read the difference before committing
it)."""

import csv as csv_module
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.console import console_table
from rml_dashboards.tables.entries import Entry, Table
from rml_dashboards.tables.render import csv, markdown
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from rml_dashboards.tables.texts import difference_text, grid, reported_text, score_text
from rml_dashboards.writing.files import write_text
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, runs_of, table_of
from tests.support.recorded import NOON, recorded

GOLDENS = Path(__file__).parent / "goldens"
COLUMNS = tuple(ColumnSpec(label=label) for label in ("1/30 (100)", "1/8 (372)", "1/4 (744)"))


def reported(
    mean: float, std: float | None = None, note: str = "", protocol: str = ""
) -> tuple[ReportedNumber, ...]:
    return (
        ReportedNumber(mean=mean, std=std, source="paper, Table 1", note=note, protocol=protocol),
    )


def wide_table() -> Table:
    """Every status and mark once: three columns, so that reported numbers stand below ours."""
    first, second, third = (column.label for column in COLUMNS)
    rows = (
        RowSpec(
            label="DMT* [15]",
            group="Others",
            reported_only=True,
            reported={first: reported(54.8, note="COCO initialisation"), second: reported(63.0)},
        ),
        RowSpec(
            label="Supervised | baseline",
            group="This work",
            reported={first: reported(45.40, 1.04), second: reported(56.08, 0.27)},
        ),
        RowSpec(
            label="IML",
            group="This work",
            reported={second: reported(61.25, protocol="cityscapes-512x1024")},
        ),
        RowSpec(label="RML", group="This work", reported={first: reported(58.25, 1.36)}),
    )
    runs = [
        *runs_of("Supervised | baseline", 0.45, 0.46, column=first),
        *runs_of("Supervised | baseline", 0.55, 0.56, column=second),
        *runs_of("IML", 0.5, column=first),
        recorded(f"IML-{first}-1", status="FAILED"),
        *runs_of("IML", 0.60, 0.61, column=second, protocol=OTHER_PROTOCOL),
        recorded(f"IML-{third}-0", status="KILLED"),
        recorded(f"IML-{third}-1", status="FAILED"),
        recorded(f"RML-{first}-0", 0.5825, dirty="true", start_ms=NOON + 86_400_000),
        recorded(f"RML-{first}-1", 0.5925, code_version="def5678", device="NVIDIA H100"),
        recorded(f"RML-{second}-0", status="RUNNING"),
        recorded(f"RML-{second}-1", status="RUNNING"),
        recorded(f"RML-{third}-0", float("nan")),
        recorded(f"RML-{third}-1", float("nan")),
        recorded(f"RML-{third}-1", float("nan"), mlflow_run_id="mlflow-again", start_ms=NOON - 1),
    ]
    caption = "mIoU in per cent.\nSmall profile."
    return table_of(
        runs,
        rows=rows,
        columns=COLUMNS,
        num_seeds=2,
        title="Varied amount of labels",
        caption=caption,
    )


def narrow_table() -> Table:
    """One column: reported numbers beside ours; one seed has no deviation; another scale and
    metric."""
    rows = tuple(
        RowSpec(label=label, reported={"accuracy": (ReportedNumber(mean=mean, source="paper"),)})
        for label, mean in (("IML", 0.9), ("RML", 0.85))
    )
    columns = (ColumnSpec(label="accuracy"),)
    runs = runs_of("IML", 0.5, column="accuracy")
    return table_of(
        runs,
        rows=rows,
        columns=columns,
        num_seeds=1,
        metric="final/accuracy",
        scale=1,
        digits=3,
        row_heading="Parts",
    )


TEXTS: dict[str, Callable[[], str]] = {
    "wide.md": lambda: markdown(wide_table()),
    "wide.csv": lambda: csv(wide_table()),
    "narrow.md": lambda: markdown(narrow_table()),
    "narrow.csv": lambda: csv(narrow_table()),
}


@pytest.mark.parametrize("name", TEXTS)
def test_text_is_the_golden_one(name: str) -> None:
    assert TEXTS[name]() == (GOLDENS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["wide.md", "narrow.md"])
def test_columns_of_a_markdown_table_line_up_and_none_is_torn(name: str) -> None:
    blocks: list[list[str]] = [[]]
    for line in TEXTS[name]().splitlines():
        if line.startswith("|"):
            blocks[-1].append(line)
        elif blocks[-1]:
            blocks.append([])
    tables = [block for block in blocks if block]
    assert len(tables) == 2  # the numbers, and the runs behind them
    for table in tables:
        bars = {
            tuple(i for i, c in enumerate(line) if c == "|" and line[i - 1] != "\\")
            for line in table
        }
        assert len(bars) == 1


def test_csv_has_one_line_per_cell_and_reads_back() -> None:
    lines = list(csv_module.DictReader(io.StringIO(csv(wide_table()))))
    assert [(line["row"], line["column"]) for line in lines] == [
        (e.row, e.column) for e in wide_table().cells()
    ]
    by_cell = {(line["row"], line["column"]): line for line in lines}
    line = by_cell["Supervised | baseline", "1/30 (100)"]
    assert (line["mean"], line["n"], line["n_expected"], line["status"]) == (
        "45.5",
        "2",
        "2",
        "complete",
    )
    assert float(line["std"]) == pytest.approx(0.5**0.5, abs=1e-6)
    line = by_cell["RML", "1/8 (372)"]
    assert (line["mean"], line["seeds"], line["states"]) == ("", "0 1", "running running")


def test_console_shows_the_same_texts_and_reads_no_markup_in_labels() -> None:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(console_table(wide_table()))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    for cell in (cell.text.strip() for line in grid(wide_table()).lines for cell in line):
        assert cell in shown
    assert "DMT* [15] (reported)" in shown
    assert "[1] COCO initialisation." in shown
    assert "warning: run RML-1/4 (744)-1 has 2 MLflow runs" in shown


@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_narrow_console_shows_every_entry_whole_in_several_tables(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(console_table(wide_table()))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert max(map(len, shown.splitlines())) <= width
    layout = grid(wide_table())
    for line in layout.lines:
        for cell in line[1:]:
            assert cell.text.strip() in shown
    assert shown.count(wide_table().spec.title) == 1
    assert shown.count("┏") == {30: 3, 40: 3, 60: 2}[width]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        (
            Entry(
                row="r",
                column="c",
                metric="m",
                status="complete",
                n=3,
                n_expected=3,
                mean=62.06,
                std=0.44,
            ),
            "62.1 ± 0.4 (3)",
        ),
        (
            Entry(
                row="r", column="c", metric="m", status="complete", n=1, n_expected=1, mean=62.06
            ),
            "62.1 (1)",
        ),
        (
            Entry(
                row="r",
                column="c",
                metric="m",
                status="partial",
                n=2,
                n_expected=3,
                mean=1.0,
                std=0.0,
                marks=(1, 4),
            ),
            "1.0 ± 0.0 (2 of 3) [1] [4]",
        ),
        (Entry(row="r", column="c", metric="m", status="failed", n_expected=3), "failed"),
        (
            Entry(row="r", column="c", metric="m", status="mixed", n=2, n_expected=2, marks=(1,)),
            "not averaged [1]",
        ),
        (Entry(row="r", column="c", metric="m", status="empty"), "–"),
        (Entry(row="r", column="c", metric="m", status="reported"), "–"),
    ],
)
def test_text_of_a_score(entry: Entry, text: str) -> None:
    assert score_text(entry, digits=1).text == text


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        (62.0, 60.5, "+1.5"),
        (60.0, 60.5, "−0.5"),
        (60.0, 60.04, "±0.0"),
        (60.0, 59.96, "±0.0"),
        (60.0, 60.0, "±0.0"),
    ],
)
def test_text_of_a_difference(ours: float, theirs: float, text: str) -> None:
    value = (ReportedNumber(mean=theirs),)
    entry = Entry(
        row="r",
        column="c",
        metric="m",
        status="complete",
        n=1,
        n_expected=1,
        mean=ours,
        reported=value,
    )
    assert difference_text(entry, digits=1) == text


def test_reported_numbers_keep_the_decimals_of_their_row() -> None:
    values = {"a": (ReportedNumber(mean=46.30),), "b": (ReportedNumber(mean=63.73, std=0.6),)}
    row = RowSpec(label="r", reported=values)
    texts = [
        reported_text(
            Entry(
                row="r", column=c, metric="m", status="reported", reported=v, reported_marks=((),)
            ),
            row,
        ).text
        for c, v in values.items()
    ]
    assert texts == ["46.30", "63.73 ± 0.60"]


def test_several_reported_numbers_stand_side_by_side() -> None:
    both = (ReportedNumber(mean=61.25), ReportedNumber(mean=61.53))
    row = RowSpec(label="r", reported={"c": both})
    entry = Entry(
        row="r",
        column="c",
        metric="m",
        status="reported",
        reported=both,
        reported_marks=((1,), (2,)),
    )
    assert reported_text(entry, row).text == "61.25 [1] / 61.53 [2]"


def test_a_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = write_text("old\n", tmp_path / "t.md")

    def refuse(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="No space left"):
        write_text("new\n", file)
    assert file.read_text() == "old\n"
    assert [path.name for path in tmp_path.iterdir()] == ["t.md"]


if __name__ == "__main__":
    for file_name, make in TEXTS.items():
        write_text(make(), GOLDENS / file_name)
