"""The benchmark `report`: its study is one that `rml report` takes for finished, and its table says
what the report cost."""

from pathlib import Path

import pytest

from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product import report
from rml_benchmarks.settings import SMALLEST


def test_the_part_measures_a_report_of_finished_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "SHAPES", ((2, 1, 2),))
    monkeypatch.setattr(report, "REPORTS", 20)
    monkeypatch.setattr(report, "PICTURE_PX", (32, 64))
    (table,) = report.run(Bench(setting=SMALLEST, folder=tmp_path, rounds=1))
    assert isinstance(table, Table)
    ((cells, shape, *numbers),) = table.rows
    assert (cells, shape) == (4, "2 × 1 × 2")
    assert all(isinstance(number, float) and number > 0 for number in numbers)
    page = (tmp_path / "2x1x2" / "report.html").read_text()
    assert "4 runs: 4 done." in page
    for name in ("learning", "loss", "pseudo_labels", "scores", "classes", "profile", "cost"):
        assert f"{name}: " in page
    assert 'class="prediction"' in page
