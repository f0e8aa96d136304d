"""Scores that the study as it is, with this program, would not have: marked in every format, never
averaged with others, never best, and no pass of a check."""

import functools
import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.contract.tags import CURRENT_RESULTS
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.tables.check import check_golden, check_reported, check_text, is_passed
from rml_dashboards.tables.console import console_table
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.html import html
from rml_dashboards.tables.latex import latex
from rml_dashboards.tables.render import cell_frame, csv, markdown
from rml_dashboards.tables.specification import CellSpec, RowSpec
from rml_dashboards.tables.texts import grid, score_text
from rml_trainers import RESULT_VERSION
from tests.support.dashboards.html_pages import Read
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, notes_of, only, runs_of, table_of
from tests.support.recorded import recorded

MEANING = "†: stale, made by another version of the results or under settings that"
NOW = 2
EARLIER = tuple(
    CellSpec(row="IML", column="1/8", seed=seed, run_id=f"{when}-{seed}")
    for when in ("oldest", "older")
    for seed in range(3)
)


def console_text(table: Table) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(console_table(table))
    return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]


def html_text(table: Table) -> str:
    return " ".join(Read(html(table, lambda run: "")).texts("main"))


def latex_text(table: Table) -> str:
    """Without LaTeX's spelling of the letters that matter here."""
    text = latex(table)
    text = text.replace(r"\ensuremath{\dagger}", "†")
    text = re.sub(r"\\texttt\{(.*?)\}", r"`\1`", text)
    raised = re.compile(r"\\textsuperscript\{(.*?)\}")
    return raised.sub(lambda marks: f" [{marks[1].replace(', ', '] [')}]", text)


FORMATS: dict[str, Callable[[Table], str]] = {
    "markdown": markdown,
    "latex": latex_text,
    "html": html_text,
    "console": console_text,
}


def written(table: Table, form: str) -> str:
    """What a format says, however it breaks its lines."""
    return " ".join(FORMATS[form](table).split())


def of_old_results(*scores: float, row: str = "IML") -> list[RecordedRun]:
    return [
        recorded(f"{row}-1/8-{seed}", score, result_version="1")
        for seed, score in enumerate(scores)
    ]


def of_new_results(*scores: float, row: str = "RML") -> list[RecordedRun]:
    return [
        recorded(f"{row}-1/8-{seed}", score, result_version=str(NOW))
        for seed, score in enumerate(scores)
    ]


@functools.cache
def old_results() -> Table:
    return table_of(of_old_results(0.5, 0.5, 0.5), result_version=NOW)


@functools.cache
def dropped_settings() -> Table:
    """No run of the study has a score yet; three of an earlier plan have."""
    runs = [recorded(f"older-{seed}", 0.4 + seed / 100) for seed in range(3)]
    return table_of(runs, earlier=EARLIER)


@functools.cache
def some_dropped() -> Table:
    """Two of three runs have a score; of the third one only an earlier plan's."""
    runs = [*runs_of("IML", 0.5, 0.6), *(recorded(f"older-{seed}", 0.4) for seed in range(3))]
    return table_of(runs, earlier=EARLIER)


MARKED = {
    "old results": (old_results, "50.0 ± 0.0 (3) † [1]", "version 1 of the results; version 2 is"),
    "dropped settings": (dropped_settings, "missing, was 41.0 ± 1.0 (3) † [1]", "behind `was`"),
    "some dropped": (some_dropped, "55.0 ± 7.1 (2 of 3) † [1] [2]", "of seed 2 only runs of an"),
}


@pytest.mark.parametrize("made", MARKED)
def test_the_entry_is_marked_and_a_footnote_says_why(made: str) -> None:
    make, text, why = MARKED[made]
    table = make()
    entry = only(table)
    assert entry.is_stale
    assert score_text(entry, 1).text == text
    (stale,) = [note for note in notes_of(table, entry) if note.startswith("Stale: ")]
    assert why in stale


@pytest.mark.parametrize("shown", FORMATS)
@pytest.mark.parametrize("made", MARKED)
def test_every_format_has_the_mark_the_footnote_and_its_meaning(made: str, shown: str) -> None:
    make, text, why = MARKED[made]
    said = written(make(), shown)
    assert text[text.index(" †") :] in said
    assert why in said
    assert MEANING in said


@pytest.mark.parametrize("made", MARKED)
def test_csv_and_data_frame_say_so_in_a_column_of_its_own(made: str) -> None:
    table = MARKED[made][0]()
    (line,) = cell_frame(table).to_dict("records")
    assert line["stale"] is True
    assert "Stale: " in line["notes"]
    assert ",True," in csv(table)
    assert line["earlier_run_ids"] == " ".join(t.run_id for t in only(table).earlier)


def test_nothing_is_marked_where_nothing_is_stale() -> None:
    table = table_of(
        [
            *of_new_results(0.5, 0.5, 0.5, row="IML"),
            *(recorded(f"older-{s}", 0.4) for s in range(3)),
        ],
        earlier=EARLIER,
        result_version=NOW,
    )
    assert not only(table).is_stale and table.notes == ()
    assert all("†" not in written(table, form) for form in FORMATS)
    assert not cell_frame(table)["stale"].any()


def test_an_earlier_score_is_never_a_part_of_a_number() -> None:
    entry = only(dropped_settings())
    assert (entry.mean, entry.n, entry.status) == (None, 0, "missing")
    assert only(some_dropped()).mean == pytest.approx(55.0)
    assert (dropped_settings().values["state"] == "missing").all()


def test_of_several_earlier_plans_the_latest_with_a_score_counts() -> None:
    runs = [recorded("oldest-0", 0.3), recorded("oldest-1", 0.3), recorded("older-1", 0.4)]
    runs.append(recorded("older-0", status="FAILED"))
    earlier = only(table_of(runs, earlier=EARLIER)).earlier
    assert [(trace.seed, trace.run_id) for trace in earlier] == [(0, "oldest-0"), (1, "older-1")]


def test_earlier_scores_of_several_protocols_are_listed_and_not_averaged() -> None:
    runs = [recorded("older-0", 0.4), recorded("older-1", 0.6, protocol=OTHER_PROTOCOL)]
    text = score_text(only(table_of(runs, earlier=EARLIER)), 1).text
    assert text == "missing, was 40.0, 60.0 † [1]"


def test_runs_that_state_no_version_are_of_the_first() -> None:
    assert only(table_of(runs_of("IML", 0.5), result_version=NOW)).is_stale
    assert not only(table_of(runs_of("IML", 0.5), result_version=1)).is_stale


def test_a_stale_score_is_not_ranked_with_others() -> None:
    rows = (RowSpec(label="IML"), RowSpec(label="RML"))
    mixed = of_old_results(0.6, 0.6, 0.6) + of_new_results(0.5, 0.5, 0.5)
    assert not any(e.best for e in table_of(mixed, rows=rows, result_version=NOW).cells())
    alike = of_old_results(0.6, 0.6, 0.6) + of_old_results(0.5, 0.5, 0.5, row="RML")
    table = table_of(alike, rows=rows, result_version=NOW)
    assert [entry.best for entry in table.cells()] == [True, False]


def test_several_versions_of_the_code_in_a_cell_are_a_note_and_not_stale() -> None:
    runs = [recorded(f"IML-1/8-{seed}", 0.5, code_version=f"code{seed}") for seed in range(3)]
    table = table_of(runs)
    entry = only(table)
    assert not entry.is_stale
    assert notes_of(table, entry) == ["Made by several versions of the code."]
    for form in FORMATS:
        said = written(table, form)
        assert "Made by several versions of the code." in said
        assert "several versions of the code (code0, code1, code2)" in said
    assert cell_frame(table)["code_versions"].tolist() == ["code0 code1 code2"]


def test_several_versions_of_the_code_in_a_table_stand_in_its_legend() -> None:
    rows = (RowSpec(label="IML"), RowSpec(label="RML"))
    runs = [recorded(f"{r.label}-1/8-0", 0.5, code_version=r.label) for r in rows]
    table = table_of(runs, rows=rows, num_seeds=1)
    assert table.notes == ()
    for form in FORMATS:
        assert "several versions of the code (IML, RML)" in written(table, form)


def test_numbers_of_threads_stand_in_the_legend_where_runs_on_the_cpu_differ() -> None:
    said = "threads of a worker 1 (2 of the runs), 2 (1 of the runs), which round differently"
    several = [
        recorded(f"IML-1/8-{seed}", 0.5, threads=threads) for seed, threads in enumerate("121")
    ]
    on_gpus = [
        recorded(f"IML-1/8-{seed}", 0.5, threads=str(seed + 1), device="NVIDIA H100")
        for seed in range(3)
    ]
    alike = [recorded(f"IML-1/8-{seed}", 0.5, threads="1") for seed in range(3)]
    for form in FORMATS:
        assert said in written(table_of(several), form)
        assert "threads" not in written(table_of(on_gpus), form)
        assert "threads" not in written(table_of(alike), form)


def test_every_run_of_an_earlier_plan_is_traced() -> None:
    text = markdown(dropped_settings())
    for seed in range(3):
        (line,) = [line for line in text.splitlines() if f"older-{seed} " in line]
        assert "of an earlier plan" in line
    assert "done, stale" in markdown(old_results())


def test_a_stale_number_passes_no_check(tmp_path: Path) -> None:
    """However near it is."""
    golden = tmp_path / "golden.csv"
    golden.write_text("row,column,mean\nIML,1/8,50\n")
    value = {"1/8": (ReportedNumber(mean=50.0),)}
    rows = (RowSpec(label="IML", reported=value, tolerance=100.0),)
    old = table_of(of_old_results(0.5, 0.5, 0.5), rows=rows, result_version=NOW)
    dropped = table_of([recorded("older-0", 0.5)], rows=rows, earlier=EARLIER)
    runs = [*runs_of("IML", 0.5), recorded("older-1", 0.5)]
    some = table_of(runs, rows=rows, earlier=EARLIER)
    for table, reason in (
        (old, "stale: made by another version of the results"),
        (dropped, "no score: missing, was of an earlier plan"),
        (some, "no score: 1 of 3 runs have a score, others are of an earlier plan"),
    ):
        for lines in (check_reported(table), check_golden(table, golden)):
            assert not is_passed(lines)
            assert reason in check_text(lines, digits=1)


def test_a_check_tells_of_several_versions_of_the_code() -> None:
    value = {"1/8": (ReportedNumber(mean=50.0),)}
    rows = (RowSpec(label="IML", reported=value, tolerance=1.0),)
    runs = [recorded(f"IML-1/8-{seed}", 0.5, code_version=f"code{seed}") for seed in range(3)]
    (line,) = check_reported(table_of(runs, rows=rows))
    assert (line.verdict, line.reason) == ("within", "several versions of the code")


def test_todays_results_are_those_of_the_trainer() -> None:
    assert CURRENT_RESULTS == RESULT_VERSION, (
        "RESULT_VERSION has changed: change CURRENT_RESULTS in rml_dashboards/contract/tags.py, "
        "too, so that tables mark what older versions made"
    )


def test_the_grid_names_what_is_stale_for_styles() -> None:
    assert grid(old_results()).lines[0][1].kind == "stale"
