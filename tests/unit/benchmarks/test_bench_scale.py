"""A launch of hundreds of cells on simulated nodes: everything ends, and what is read per run does
not grow with the number of runs."""

import io
from collections import Counter
from pathlib import Path

import pytest
from rich.console import Console

from rml_benchmarks.parts.product.scale import NUM_NODES, study_text
from rml_benchmarks.parts.product.simulated_fleet import SimulatedFleet
from rml_platform.launch import launch as module
from rml_platform.launch import live_view
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.planning.plan import make_plan
from rml_platform.run import task
from rml_platform.run.faults.claims import ClaimBoard
from rml_platform.run.run_folder import RunFolder
from rml_platform.study.schema import load_study
from tests.support.platform.studies import write_study

NEVER_S = 3600.0
SIZES = (100, 200)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often records and claims of runs are read; what looks at them by the clock is still."""
    counts = Counter[str]()
    for module_with_pauses in (module, live_view):
        monkeypatch.setattr(module_with_pauses, "poll_seconds", lambda runs: NEVER_S)
    read_record = RunFolder.record
    read_claim = ClaimBoard.newest

    def record(self: RunFolder, now: float | None = None) -> object:
        counts["record"] += 1
        return read_record(self, now)

    def newest(self: ClaimBoard) -> object:
        counts["claim"] += 1
        return read_claim(self)

    monkeypatch.setattr(RunFolder, "record", record)
    monkeypatch.setattr(ClaimBoard, "newest", newest)
    return counts


def carried_out(folder: Path, num_cells: int) -> None:
    study = load_study(write_study(folder, study_text(num_cells)))
    plan = make_plan(study, data_root=None, cache_root=folder / "cache")
    assert len(plan.runs) == num_cells
    report = module.launch(
        plan,
        layout=OutputLayout(root=folder, storage=str(folder)),
        data_root=None,
        tracking_uri="none",
        console=Console(file=io.StringIO()),
        carry_out=SimulatedFleet(NUM_NODES).carry_out,
    )
    assert len(report.done) == num_cells


def test_the_reads_of_a_launch_are_in_proportion_to_its_runs(
    tmp_path: Path, reads: Counter[str]
) -> None:
    per_run = []
    for num_cells in SIZES:
        reads.clear()
        folder = tmp_path / str(num_cells)
        folder.mkdir()
        carried_out(folder, num_cells)
        per_run.append({what: count / num_cells for what, count in reads.items()})
    small, large = per_run
    for what, count in large.items():
        assert count <= 12, (what, per_run)
        assert count <= 1.2 * small[what], (what, per_run)


def test_no_configuration_is_decoded_for_each_run_of_a_launch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes twenty kilobytes and a millisecond; the plan has them all."""

    def refuse(text: str, source: str) -> None:
        pytest.fail(f"{source} is decoded")

    monkeypatch.setattr(task, "config_from_json", refuse)
    carried_out(tmp_path, 40)
