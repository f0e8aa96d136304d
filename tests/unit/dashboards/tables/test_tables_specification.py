"""A specification or a cell that cannot be is refused with its name."""

from typing import Any

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.errors import DashboardError
from rml_dashboards.tables.specification import CellSpec, ColumnSpec, RowSpec, TableSpec


def spec(**changes: Any) -> TableSpec:
    parts: dict[str, Any] = {
        "name": "table4",
        "title": "Ablation",
        "rows": (RowSpec(label="IML"), RowSpec(label="DMT [15]", reported_only=True)),
        "columns": (
            ColumnSpec(label="1/8"),
            ColumnSpec(label="student 2", metric="val/student_2/miou"),
        ),
    }
    return TableSpec(**{**parts, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "../table"}, r"'\.\./table' is not a plain file name"),
        ({"name": ""}, "not a plain file name"),
        ({"rows": ()}, "no rows"),
        ({"columns": ()}, "no columns"),
        ({"rows": (RowSpec(label="IML"), RowSpec(label="IML"))}, "row labels occur twice: IML"),
        (
            {"columns": (ColumnSpec(label="1/8"), ColumnSpec(label="1/8"))},
            "column labels occur twice: 1/8",
        ),
        (
            {"rows": (RowSpec(label="IML", reported={"1/9": (ReportedNumber(mean=1.0),)}),)},
            r"row 'IML': reported numbers for unknown columns \['1/9'\]",
        ),
        ({"digits": -1}, "digits = -1"),
    ],
)
def test_a_wrong_specification_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DashboardError, match=message):
        spec(**changes)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([("IM", "1/8", 0)], "row 'IM', column '1/8', seed 0.*has no place in the table"),
        ([("IML", "1/4", 0)], "has no place in the table"),
        ([("DMT [15]", "1/8", 0)], "only reported"),
        ([("IML", "1/8", 0), ("IML", "1/8", 0)], "this seed is already there"),
    ],
)
def test_a_cell_without_a_place_is_refused(cells: list[tuple[str, str, int]], message: str) -> None:
    with pytest.raises(DashboardError, match=message):
        spec().check_cells([CellSpec(row=r, column=c, seed=s, run_id="a-1") for r, c, s in cells])


def test_a_column_may_have_its_own_metric() -> None:
    table = spec()
    assert [table.metric_of(column) for column in table.columns] == [
        "final/miou",
        "val/student_2/miou",
    ]


@pytest.mark.parametrize(
    ("stated", "ours", "comparable"),
    [
        ("", "camvid-360x480/teacher_1/last", True),
        ("camvid-360x480", "camvid-360x480/teacher_1/last", True),
        ("camvid-360x480/teacher_1/last", "camvid-360x480/teacher_1/last", True),
        ("camvid-360x48", "camvid-360x480/teacher_1/last", False),
        ("cityscapes-512x1024", "camvid-360x480/teacher_1/last", False),
        ("camvid-360x480/teacher_1/last", "camvid-360x480", False),
    ],
)
def test_which_protocols_may_be_compared(stated: str, ours: str, comparable: bool) -> None:
    assert ReportedNumber(mean=1.0, protocol=stated).comparable_with(ours) is comparable
