"""A score that no run records is refused when the study is read, in tables and in figures."""

from pathlib import Path

import pytest

from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.metrics import METRICS

BASE = "name: s\nbase:\n  data: {name: scenes}\n  split: {num_labelled: 4}\n  method: {name: rml}\n"
KNOWN = [
    *(f"final/{name}" for name in METRICS),
    "final/student_2/miou",
    "final/iou/road",
    "final/teacher_1/iou/traffic light",
    "holdout/miou",
    "final/seconds",
    "train/whatever_a_method_reports",
]


def study_with(folder: Path, text: str) -> Path:
    path = folder / "study.yaml"
    path.write_text(BASE + text)
    return path


@pytest.mark.parametrize("key", KNOWN)
def test_what_runs_record_can_be_asked_for(tmp_path: Path, key: str) -> None:
    load_study(study_with(tmp_path, f"table: {{metric: {key}}}\n"))
    load_study(study_with(tmp_path, f"figures: [{{name: f, metric: {key}}}]\n"))


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("table: {metric: final/mioo}\n", r"6: table\.metric"),
        ("columns: [{label: a, metric: final/student_1/mioo}]\n", r"6: columns\.0\.metric"),
        ("figures: [{name: f, metric: val/mioo}]\n", r"6: figures\.0\.metric"),
        ("figures: [{name: f, metrics: {a: val/mioo}}]\n", r"6: figures\.0\.metrics\.a"),
    ],
)
def test_what_no_run_records_is_named_with_its_line(tmp_path: Path, text: str, place: str) -> None:
    said = rf"study\.yaml:{place}: .*no run records the metric 'mioo'; did you mean 'miou'\?"
    with pytest.raises(ConfigError, match=said):
        load_study(study_with(tmp_path, text))
