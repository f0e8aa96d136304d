"""A snapshot reads once, and no more than is asked for."""

from collections.abc import Collection

import pytest

from rml_dashboards.contract.metric_keys import FINAL_MIOU
from rml_dashboards.records.reader import Histories
from rml_dashboards.records.recorded_run import RecordedRun
from rml_dashboards.records.records import Records, records_of
from rml_dashboards.records.run_table import to_run_table
from rml_dashboards.records.snapshot import Snapshot, snapshot_of

SCORES = {FINAL_MIOU: 0.5, "final/iou/sky": 0.4, "train/loss": 0.1}


class Counted:
    """A reader of one run that keeps what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, frozenset[str] | None]] = []

    def records(
        self, run_ids: Collection[str] | None = None, metrics: Collection[str] | None = None
    ) -> Records:
        self.asked.append(("records", None if metrics is None else frozenset(metrics)))
        tags = {"rml.run_id": "a"}
        run = RecordedRun(
            experiment="s", status="FINISHED", start_ms=0, end_ms=1, tags=tags, scores=SCORES
        )
        return records_of(to_run_table([run]), (), metrics)

    def histories(self, run_ids: Collection[str], metrics: Collection[str]) -> Histories:
        self.asked.append(("histories", frozenset(metrics)))
        return Histories(values=self.records().scores, keys={})


def keys_of(records: Records) -> set[str]:
    return set(records.scores["metric"])


def test_results_are_read_without_what_was_measured_on_the_way() -> None:
    source = Counted()
    kept = Snapshot(source, {"a"})
    metrics: Collection[str] | None
    for metrics in ({FINAL_MIOU}, (), {"final/"}):
        assert keys_of(kept.records({"a"}, metrics)) == {FINAL_MIOU, "final/iou/sky"}
    assert source.asked == [("records", frozenset({"final/"}))]
    for also_more in ({"train/loss"}, None, {FINAL_MIOU}):
        assert keys_of(kept.records({"a"}, also_more)) == set(SCORES)
    assert source.asked[1:] == [("records", None)]


def test_other_runs_are_left_to_the_reader() -> None:
    source = Counted()
    Snapshot(source, {"a"}).records({"a", "b"}, {FINAL_MIOU})
    Snapshot(source, {"a"}).records(None, {FINAL_MIOU})
    assert source.asked == 2 * [("records", frozenset({FINAL_MIOU}))]


@pytest.mark.parametrize(
    ("later", "reads"), [({"train/loss"}, 1), ({"train/loss", "val/miou"}, 1), ({"train/lr"}, 2)]
)
def test_the_widest_histories_are_kept(later: set[str], reads: int) -> None:
    source = Counted()
    kept = Snapshot(source, {"a", "b"})
    kept.histories({"a", "b"}, {"train/loss", "val/miou"})
    kept.histories({"a"}, later)
    assert [what for what, _ in source.asked].count("histories") == reads


def test_a_snapshot_of_these_runs_is_taken_as_it_is() -> None:
    kept = Snapshot(Counted(), {"a", "b"})
    assert snapshot_of(kept, {"a"}) is kept
    assert snapshot_of(kept, {"a", "c"}) is not kept
