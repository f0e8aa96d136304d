"""The protocol of each number in a table, and numbers of several protocols in one column."""

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.contract.protocols import protocol_of, recorded_key
from rml_dashboards.tables.specification import ColumnSpec, RowSpec
from tests.support.dashboards.small_tables import notes_of, only, runs_of, table_of
from tests.support.recorded import recorded

RECORDED = "voc-505/student_1/best_holdout"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("final/miou", RECORDED),
        ("final/iou/sky", RECORDED),
        ("final/student_1/miou", RECORDED),
        ("final/student_2/miou", "voc-505/student_2/best_holdout"),
        ("final/teacher_2/iou/sky", "voc-505/teacher_2/best_holdout"),
        ("final/ensemble/miou", "voc-505/ensemble/best_holdout"),
        ("val/miou", "voc-505/student_1/last"),
        ("val/teacher_1/miou", "voc-505/teacher_1/last"),
        ("train/loss", RECORDED),
    ],
)
def test_the_protocol_of_a_metric(metric: str, expected: str) -> None:
    assert protocol_of(RECORDED, metric) == expected


def test_a_run_that_says_nothing_stays_unknown() -> None:
    assert protocol_of("", "final/student_2/miou") == ""
    assert protocol_of("old", "final/student_2/miou") == "old"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("final/student_1/miou", "final/miou"),
        ("val/student_1/iou/sky", "val/iou/sky"),
        ("final/student_2/miou", "final/student_2/miou"),
        ("final/miou", "final/miou"),
        ("final/iou/student_1", "final/iou/student_1"),
    ],
)
def test_the_first_networks_scores_are_recorded_without_its_name(
    metric: str, expected: str
) -> None:
    assert recorded_key(RECORDED, metric) == expected


PAIR = (
    ColumnSpec(label="first", metric="final/student_1/miou"),
    ColumnSpec(label="second", metric="final/student_2/miou"),
)


def pair(row: str, first: str, protocol: str) -> list[object]:
    """One run per column; `first` is the network that the run lists first."""
    other = "student_2" if first == "student_1" else "student_1"
    scores = {f"final/{other}/miou": 0.6}
    return [
        recorded(f"{row}-{column.label}-0", 0.5, scores=scores, protocol=protocol)
        for column in PAIR
    ]


def test_both_students_of_a_pair_have_columns_of_their_own() -> None:
    """Each column holds one network's scores, however the runs list their networks."""
    runs = pair("A", "student_1", "c-1x1/student_1/last") + pair(
        "B", "student_2", "c-1x1/student_2/last"
    )
    rows = (RowSpec(label="A"), RowSpec(label="B"))
    table = table_of(runs, rows=rows, columns=PAIR, num_seeds=1)  # type: ignore[arg-type]
    assert [entry.mean for entry in table.cells()] == pytest.approx([50.0, 60.0, 60.0, 50.0])
    assert [entry.protocols for entry in table.cells()] == [
        ("c-1x1/student_1/last",),
        ("c-1x1/student_2/last",),
    ] * 2
    assert table.notes == (), "the network differs between the columns, not within one"


@pytest.mark.parametrize(
    "other",
    [
        "voc-original/teacher_1/last",
        "voc-505/teacher_1/best_val",
        "voc-505/student_1/last",
        "voc-505-x/teacher_1/last",
    ],
)
def test_any_difference_in_data_inference_network_or_moment_is_marked(other: str) -> None:
    mine = "voc-505/teacher_1/last"
    runs = runs_of("A", 0.5, protocol=mine) + runs_of("B", 0.6, protocol=other)
    table = table_of(runs, rows=(RowSpec(label="A"), RowSpec(label="B")), num_seeds=1)
    for entry, protocol in zip(table.cells(), (mine, other), strict=True):
        assert notes_of(table, entry)[0].startswith(
            f"Protocol `{protocol}`. This column holds scores of several"
        )
        assert not entry.best


@pytest.mark.parametrize(
    ("stated", "ours", "comparable"),
    [
        ("voc-505", "voc-505/teacher_1/last", True),
        ("voc-505", "voc-original/teacher_1/last", False),
        ("cityscapes-1024x2048-slide", "cityscapes-1024x2048-slide/student_1/best_val", True),
        ("cityscapes-1024x2048-slide", "cityscapes-512x1024/teacher_1/last", False),
        ("cityscapes-1024x2048", "cityscapes-1024x2048-slide/teacher_1/last", False),
        ("cityscapes-512x1024/student_1/best_val", "cityscapes-512x1024/student_1/last", False),
    ],
)
def test_a_reported_number_is_compared_on_data_and_inference(
    stated: str, ours: str, comparable: bool
) -> None:
    reported = {"1/8": (ReportedNumber(mean=48.0, source="paper", protocol=stated),)}
    rows = (RowSpec(label="IML", reported=reported),)
    entry = only(table_of(runs_of("IML", 0.5, protocol=ours), rows=rows, num_seeds=1))
    assert entry.difference == (pytest.approx(2.0) if comparable else None)
    assert (entry.reported_marks == ((),)) == comparable


def test_reported_numbers_are_marked_against_each_other_while_none_of_ours_is_there() -> None:
    def reported(protocol: str) -> dict[str, tuple[ReportedNumber, ...]]:
        return {"1/8": (ReportedNumber(mean=70.0, source="paper", protocol=protocol),)}

    rows = (
        RowSpec(label="CutMix", reported=reported("c-512x1024"), reported_only=True),
        RowSpec(label="UniMatch", reported=reported("c-1024x2048-slide"), reported_only=True),
        RowSpec(label="Unknown", reported=reported(""), reported_only=True),
    )
    table = table_of([], rows=rows)
    marks = [
        [[table.notes[i - 1] for i in group] for group in entry.reported_marks]
        for entry in table.cells()
    ]
    others = "not comparable with others of this column."
    assert marks == [
        [[f"Reported under protocol `c-512x1024`: {others}"]],
        [[f"Reported under protocol `c-1024x2048-slide`: {others}"]],
        [[]],
    ]
    alike = (rows[0], RowSpec(label="DMT", reported=reported("c-512x1024"), reported_only=True))
    assert table_of([], rows=alike).notes == ()
