"""A study that is a search: which runs it stops, that they stay stopped, and count for nobody."""

import errno
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from rich.console import Console
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.launch.claiming import LaunchClaims
from rml_platform.launch.launch import launch
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.run_queue import RunQueue
from rml_platform.launch.scheduling.search import BY_THE_SEARCH, Searches
from rml_platform.launch.scheduling.turns import Turns
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.run.metric_log import MetricLog
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_platform.study.retry_config import RetryConfig
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import SMALLEST, write_study

HEAD = """\
name: wide
execution: direct
search: {first_step: 2, keep_one_of: 2}
"""
REST = """\
  schedule: {warm_up_steps: 5, stage_steps: []}
seeds: [0, 1, 2]
"""
STUDY = HEAD + SMALLEST + REST


class Wide:
    """A search over three runs, of which scores are reported by hand."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = write_study(folder, STUDY)
        self.plan: Plan = make_plan(
            load_study(self.file), data_root=None, cache_root=folder / "cache"
        )
        self.ids = [run.run_id for run in self.plan.runs]
        self.folders = {run_id: RunFolder.of(str(folder), run_id) for run_id in self.ids}
        self.notes: list[str] = []

    def searches(self, *others: Plan) -> Searches:
        plans = (self.plan, *others)
        return Searches(plans, str(self.folder), self.folders, self.notes.append)

    def report(self, index: int, score: float, step: int = 2) -> None:
        log = MetricLog(self.folders[self.ids[index]].folder)
        log.add(step, {"val/miou": score, "train/loss": 9.0})
        log.close_piece(step)

    def launch(self) -> tuple[LaunchReport, list[str]]:
        """A launch that notes what it is handed and trains nothing."""
        handed: list[str] = []

        def carry_out(tasks: Sequence[RunTask], *, turns: Turns, **rest: Any) -> Mapping[str, str]:
            queue = RunQueue(tasks, RetryConfig(lost=0), self.notes.append, turns)
            while (task := queue.next()) is not None:
                handed.append(task.run_id)
                queue.ended(task.run_id, "")
            return {}

        report = launch(
            self.plan,
            layout=OutputLayout(root=self.folder, storage=str(self.folder)),
            data_root=None,
            tracking_uri="none",
            console=Console(file=io.StringIO()),
            carry_out=carry_out,
        )
        return report, handed


@pytest.fixture
def wide(tmp_path: Path) -> Wide:
    return Wide(tmp_path)


def test_the_worse_run_stops_at_its_next_checkpoint_and_stays_stopped(wide: Wide) -> None:
    searches = wide.searches()
    for index, score in enumerate((0.5, 0.4, 0.6)):
        wide.report(index, score)
        searches.look(wide.ids)
    wishes = [wide.folders[run_id].stop_requested() for run_id in wide.ids]
    assert wishes == ["never", "checkpoint", "never"]
    why = "stopped by the search at step 2: val/miou 0.4, 0.5 goes on"
    assert wide.folders[wide.ids[1]].why_stopped() == why
    again = wide.searches()
    assert [again.why_stopped(run_id) for run_id in wide.ids] == ["", why, ""]
    report, handed = wide.launch()
    assert handed == [wide.ids[0], wide.ids[2]]
    assert report.held_back == {wide.ids[1]: why}
    assert (list(report.by_the_search), report.over_budget) == ([wide.ids[1]], {})


@pytest.mark.parametrize("broken", [(Folder, "write"), (RunFolder, "request_cancel")])
def test_a_run_that_an_outage_kept_from_being_asked_to_stop_is_asked_again(
    wide: Wide, monkeypatch: pytest.MonkeyPatch, broken: tuple[type, str]
) -> None:
    searches = wide.searches()
    for index, score in enumerate((0.5, 0.4)):
        wide.report(index, score)
    with monkeypatch.context() as patch:
        away = OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        patch.setattr(*broken, Mock(side_effect=away))
        with pytest.raises(OSError, match="Stale"):
            searches.look(wide.ids)
    assert wide.notes == []
    for under_way in ([], wide.ids):
        searches.look(under_way)
    why = "stopped by the search at step 2: val/miou 0.4, 0.5 goes on"
    assert wide.notes == [f"{wide.ids[1]}: {why}"]
    assert wide.folders[wide.ids[1]].stop_requested() == "checkpoint"
    assert wide.searches().why_stopped(wide.ids[1]) == why


def test_launches_of_one_search_keep_what_the_other_decides(wide: Wide) -> None:
    first = wide.searches()
    second = wide.searches()
    wide.report(0, 0.5)
    first.look(wide.ids[:1])
    wide.report(1, 0.4)
    first.look(wide.ids[1:2])
    assert second.why_stopped(wide.ids[1]) == ""
    second.take_in()  # as once it has claimed what the first one left
    second.look(wide.ids[:2])
    assert second.why_stopped(wide.ids[1]).startswith(BY_THE_SEARCH)
    wide.report(2, 0.3)
    second.look(wide.ids[2:])
    again = wide.searches()
    assert [bool(again.why_stopped(run_id)) for run_id in wide.ids] == [False, True, True]


def test_a_verdict_that_another_launch_overwrote_is_written_again(wide: Wide) -> None:
    searches = wide.searches()
    for index, score in enumerate((0.5, 0.4)):
        wide.report(index, score)
        searches.look(wide.ids)
    file = wide.folder / "studies" / "wide" / "search.json"
    file.write_text("{}")  # as on object storage, which knows no locks
    searches.look(())
    searches.look(())
    assert wide.searches().why_stopped(wide.ids[1]).startswith(BY_THE_SEARCH)
    assert len(wide.notes) == 1


def test_a_launch_asks_what_was_decided_since_it_began(
    wide: Wide, monkeypatch: pytest.MonkeyPatch
) -> None:
    claim = LaunchClaims.take

    def decided_meanwhile(self: LaunchClaims, run_ids: Sequence[str]) -> list[str]:
        other = wide.searches()
        for index, score in enumerate((0.5, 0.4)):
            wide.report(index, score)
            other.look(wide.ids)
        return claim(self, run_ids)

    monkeypatch.setattr(LaunchClaims, "take", decided_meanwhile)
    report, handed = wide.launch()
    assert handed == [wide.ids[0], wide.ids[2]]
    assert list(report.by_the_search) == [wide.ids[1]]


def test_what_was_reported_before_is_compared_with(wide: Wide) -> None:
    wide.report(0, 0.9)
    wide.report(1, 0.1)
    searches = wide.searches()
    assert not any(searches.why_stopped(run_id) for run_id in wide.ids)
    wide.report(2, 0.2)
    searches.look([wide.ids[2]])
    assert searches.why_stopped(wide.ids[2]).startswith(BY_THE_SEARCH)


def test_a_run_that_another_study_wants_whole_is_never_stopped(wide: Wide) -> None:
    whole = replace(wide.plan, study=replace(wide.plan.study, name="whole", search=None))
    searches = wide.searches(whole)
    for index, score in enumerate((0.5, 0.4, 0.3)):
        wide.report(index, score)
        searches.look(wide.ids)
    assert not any(searches.why_stopped(run_id) for run_id in wide.ids)


def test_a_damaged_memory_is_named(wide: Wide) -> None:
    file = wide.folder / "studies" / "wide" / "search.json"
    file.parent.mkdir(parents=True)
    file.write_text("[]")
    with pytest.raises(ConfigError, match=r"search\.json.*Delete it"):
        wide.searches()


def test_a_search_enters_no_table_figure_or_report(wide: Wide) -> None:
    for command in ("tables", "figures", "report"):
        words = [command, str(wide.file), "--out", str(wide.folder), "--tracking-uri", "none"]
        done = CliRunner().invoke(app, words)
        assert "wide is a search" in str(done.exception), (command, done.output)


@pytest.mark.parametrize(
    ("search", "said"),
    [
        ("{first_step: 0}", "first_step"),
        ("{first_step: 5, keep_one_of: 1}", "keep_one_of"),
        ("{first_step: 5, metric: final/miou}", "metric"),
    ],
)
def test_what_is_no_search_is_refused(tmp_path: Path, search: str, said: str) -> None:
    text = STUDY.replace("{first_step: 2, keep_one_of: 2}", search)
    with pytest.raises(ConfigError, match=f"search.{said}"):
        load_study(write_study(tmp_path, text))
