"""What rows and columns have changed of the study's base: recorded with the plan, said once."""

import dataclasses
from pathlib import Path
from typing import Any

import yaml

import rml_dashboards as rd
from rml_dashboards.studies.differences import Difference, base_differences
from tests.support.platform.plan_on_disk import OWN_IMAGES, PlanOnDisk


def differences(folder: Path, **changes: Any) -> list[Difference]:
    there = PlanOnDisk.make(folder)
    there.study.write_text(yaml.safe_dump(yaml.safe_load(OWN_IMAGES) | changes, sort_keys=False))
    there.write()
    return base_differences(rd.study("own", out=there.out, tracking_uri="none").plan)


BASE = {
    **yaml.safe_load(OWN_IMAGES)["base"],
    "optimiser": {"lr": 0.5},
    "method": {"name": "rml", "temperature": 0.25},
}
ROWS = [
    {"label": "RML", "set": {"optimiser.lr": 0.125}},
    {"label": "Supervised", "set": {"method": {"name": "supervised"}, "optimiser.lr": 0.125}},
    {"label": "Hot", "set": {"method.temperature": 1.5, "optimiser.lr": 0.125}},
]
COLUMNS = [{"label": "2 labels"}, {"label": "3 labels", "set": {"split.num_labelled": 3}}]


def test_each_place_has_exactly_what_it_changed(tmp_path: Path) -> None:
    found = differences(tmp_path, base=BASE, rows=ROWS, columns=COLUMNS)
    assert found == [
        Difference("every run", "optimiser.lr", 0.5, (0.125,)),
        Difference("Supervised", "method.name", "rml", ("supervised",)),
        Difference("Supervised", "method.temperature", 0.25, (None,)),
        Difference("Hot", "method.temperature", 0.25, (1.5,)),
        Difference("3 labels", "split.num_labelled", 2, (3,)),
    ]


def test_a_row_that_takes_back_what_the_base_set_is_told(tmp_path: Path) -> None:
    base = {**BASE, "optimiser": {"momentum": 0.5}}
    rows = [{"label": "A", "set": {"optimiser.momentum": 0.9}}]  # the default
    (found,) = differences(tmp_path, base=base, rows=rows)
    assert found == Difference("every run", "optimiser.momentum", 0.5, (0.9,))


def test_what_row_and_column_decide_together_is_told_by_cell(tmp_path: Path) -> None:
    rows = [{"label": "A"}, {"label": "B", "set": {"method.temperature": 1.5}}]
    columns = [{"label": "x"}, {"label": "y", "set": {"method.temperature": 2.5}}]
    found = differences(tmp_path, base=BASE, rows=rows, columns=columns)
    assert [(one.where, one.values) for one in found] == [
        ("A, y", (2.5,)),
        ("B, x", (1.5,)),
        ("B, y", (2.5,)),
    ]


def test_a_study_that_only_repeats_its_base_differs_in_nothing(tmp_path: Path) -> None:
    assert differences(tmp_path, base=BASE, rows=[{"label": "A"}]) == []


def test_a_base_that_is_no_whole_configuration_is_not_compared(tmp_path: Path) -> None:
    base = {key: value for key, value in BASE.items() if key != "data"}
    rows = [{"label": "A", "set": {"data": BASE["data"]}}]
    there = PlanOnDisk.make(tmp_path)
    changed = yaml.safe_load(OWN_IMAGES) | {"base": base, "rows": rows}
    there.study.write_text(yaml.safe_dump(changed, sort_keys=False))
    assert there.write().base is None
    plan = rd.study("own", out=there.out, tracking_uri="none").plan
    assert base_differences(plan) == []
    assert base_differences(dataclasses.replace(plan, base={})) != []
