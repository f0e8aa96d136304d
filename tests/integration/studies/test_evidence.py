"""The evidence is what its records say, and one command goes from a study to everything shown."""

from pathlib import Path

import pandas as pd
import pytest

from rml_benchmarks.evidence import RECORDS, main
from rml_benchmarks.processes.own_commands import ROOT
from rml_platform.run.files.record_archive import opened_records
from rml_platform.study.schema import load_study
from tests.support.dashboards.html_pages import Read

RESULTS = ROOT / "search_spaces" / "results"
STUDIES = sorted(archive.parent.name for archive in RESULTS.glob(f"*/{RECORDS}"))
"""Studies whose records are kept, each with its results in a folder of its own; a profile's name
stands behind `-`."""
AS_WRITTEN = (".md", ".tex")
REPORT = "report.html"
pytestmark = pytest.mark.timeout(600)


def written(folder: Path) -> dict[str, str]:
    """The files whose numbers are rounded for a person."""
    files = [file for file in folder.iterdir() if file.suffix in AS_WRITTEN]
    return {file.name: file.read_text() for file in files if file.name != "README.md"}


def assert_same_numbers(one: Path, two: Path) -> None:
    """All CSV files alike, but for what the order of a sum on another processor does."""
    names = sorted(file.name for file in one.glob("*.csv"))
    assert names and names == sorted(file.name for file in two.glob("*.csv"))
    for name in names:
        expected = pd.read_csv(two / name)
        pd.testing.assert_frame_equal(pd.read_csv(one / name), expected, rtol=1e-9, obj=name)


def assert_same_records(one: Path, two: Path) -> None:
    """The same files in the same order with the same bytes; how it packs them is the library's."""
    with opened_records(one) as first, opened_records(two) as second:
        assert first.namelist() == second.namelist()
        for name in first.namelist():
            assert first.read(name) == second.read(name), name


def chapters(report: Path) -> dict[str, list[str]]:
    """What a report says, element by element; how its figures are drawn is the library's."""
    found = Read(report.read_text())
    return {tag: found.texts(tag) for tag in ("h1", "h2", "h3", "p", "td", "th", "figcaption")}


def evidence(study: Path | str, to: Path, *words: str) -> None:
    code = main([str(study), "--to", str(to), "--out", str(to.with_name("out")), *words])
    assert code == 0


@pytest.mark.parametrize("study", STUDIES)
def test_what_is_shown_is_made_again_from_the_records(study: str, tmp_path: Path) -> None:
    kept = RESULTS / study
    assert (kept / RECORDS).stat().st_size < 2**20, "every clone has it"
    here = tmp_path / "here"
    here.mkdir()
    (here / RECORDS).write_bytes((kept / RECORDS).read_bytes())
    name, _, profile = study.partition("-")
    file = f"search_spaces/{name}.yaml"
    size = ("--profile", profile) if profile else ()
    evidence(file, here, "--write-only", *size)
    assert written(here) == written(kept), f"make evidence ARGS='{' '.join((file, *size))}'"
    assert_same_numbers(here, kept)
    assert_same_records(here / RECORDS, kept / RECORDS)
    assert (kept / REPORT).stat().st_size < 2**20, "every clone has it"
    assert chapters(here / REPORT) == chapters(kept / REPORT)


def test_a_packed_run_that_is_only_begun_here_is_not_lost(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = (RESULTS / "figure2" / RECORDS).read_bytes()
    here = tmp_path / "here"
    here.mkdir()
    archive = here / RECORDS
    archive.write_bytes(kept)
    with opened_records(archive) as packed:
        run_id = sorted(name.split("/")[1] for name in packed.namelist() if "runs/" in name)[0]
    begun = tmp_path / "out" / "runs" / run_id
    begun.mkdir(parents=True)
    (begun / "task.json").write_text("{}")
    words = ("--to", str(here), "--out", str(tmp_path / "out"), "--write-only")
    assert main(["search_spaces/figure2.yaml", *words]) != 0
    assert run_id in capfd.readouterr().err
    assert archive.read_bytes() == kept
    assert list(here.iterdir()) == [archive], "nothing is written of fewer runs"


@pytest.mark.long
def test_one_command_trains_what_is_missing_and_writes_everything(tmp_path: Path) -> None:
    study = ROOT / "search_spaces" / "evidence_scenes.yaml"
    first = tmp_path / "first"
    evidence(study, first, "--profile", "dry")
    table = (first / "evidence_scenes-dry.md").read_text()
    assert f"{len(load_study(study).rows)} runs" in table and "missing" not in table
    assert (first / "report.html").is_file() and (first / "rectification-dry.pdf").is_file()

    again = tmp_path / "elsewhere" / "again"
    again.mkdir(parents=True)
    (again / RECORDS).write_bytes((first / RECORDS).read_bytes())
    evidence(study, again, "--profile", "dry")
    assert written(again) == written(first), "nothing was left to train"
    assert_same_numbers(again, first)
