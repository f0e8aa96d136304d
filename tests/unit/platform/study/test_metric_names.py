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


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("table: {aggregate: best_holdout}\n", r"6: table\.aggregate"),
        (
            "columns: [{label: a, aggregate: mean_of_last, metric: final/accuracy}]\n",
            r"6: columns\.0\.aggregate",
        ),
    ],
)
def test_a_final_score_has_no_curve_to_aggregate(tmp_path: Path, text: str, place: str) -> None:
    said = rf"study\.yaml:{place}: .*is one number at the end of a run; .*such as val/"
    with pytest.raises(ConfigError, match=said):
        load_study(study_with(tmp_path, text))


def test_columns_take_the_aggregate_of_the_table(tmp_path: Path) -> None:
    text = (
        "table: {metric: val/miou, aggregate: mean_of_last, last_k: 3, tolerance: 0.5}\n"
        "rows: [{label: r, tolerance: 1.0}]\n"
        "columns: [{label: a}, {label: b, aggregate: last}, {label: c, last_k: 4}]\n"
    )
    study = load_study(study_with(tmp_path, text))
    found = [(column.aggregate, column.last_k) for column in study.columns]
    assert found == [("mean_of_last", 3), ("last", 3), ("mean_of_last", 4)]
    assert (study.table.tolerance, study.rows[0].tolerance) == (0.5, 1.0)
    with pytest.raises(ConfigError, match=r"rows\.0\.tolerance = -1\.0: expected zero or more"):
        load_study(study_with(tmp_path, "rows: [{label: r, tolerance: -1.0}]\n"))
