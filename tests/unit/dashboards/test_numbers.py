"""Numbers as people read them: one minus, and no nought with a sign."""

import re

import pytest

from rml_dashboards.comparisons.cells import cell_statistics
from rml_dashboards.comparisons.text import statistics_markdown
from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.latex import latex
from rml_dashboards.tables.render import markdown
from rml_dashboards.tables.specification import RowSpec
from rml_dashboards.writing.numbers import number_text, signed_text
from tests.support.dashboards.small_tables import runs_of, table_of


@pytest.mark.parametrize(
    ("value", "digits", "plain", "signed"),
    [
        (62.14, 1, "62.1", "+62.1"),
        (-0.36, 1, "−0.4", "−0.4"),
        (-0.04, 1, "0.0", "±0.0"),
        (0.04, 1, "0.0", "±0.0"),
        (-0.0, 0, "0", "±0"),
        (-0.04, 2, "−0.04", "−0.04"),
        (1e-7, 1, "0.0", "±0.0"),
    ],
)
def test_numbers_have_one_minus_and_no_negative_nought(
    value: float, digits: int, plain: str, signed: str
) -> None:
    assert number_text(value, digits) == plain
    assert signed_text(value, digits) == signed


def below_nought() -> Table:
    """Scores such as a correlation or a gain has."""
    reported = {"1/8": (ReportedNumber(mean=-4.25, source="A"),)}
    rows = (RowSpec(label="IML", reported=reported), RowSpec(label="RML"), RowSpec(label="MT"))
    runs = runs_of("IML", -0.04, -0.05, -0.06)
    runs += runs_of("RML", -0.02, -0.03, -0.04) + runs_of("MT", -0.0004, -0.0004, -0.0004)
    return table_of(runs, rows=rows, emphasis="best_two")


def test_means_below_nought_are_numbers_in_every_format() -> None:
    table = below_nought()
    assert r"\underline{\num{-3.0 \pm 1.0}} & (3)" in latex(table)
    assert r"\textbf{\num{0.0 \pm 0.0}} & (3)" in latex(table)
    assert r"\num{-5.0 \pm 1.0} & (3) & \num{-4.25}" in latex(table)
    text = markdown(table)
    assert "<u>−3.0 ± 1.0 (3)</u>" in text and "**0.0 ± 0.0 (3)**" in text and "−4.25" in text
    told = statistics_markdown(table, cell_statistics(table))
    assert "−3.0" in told
    assert not re.search(r"(^|\s)-\d", text + told), "one minus everywhere"


def test_the_end_of_an_interval_that_rounds_to_nought_has_no_sign() -> None:
    table = table_of(runs_of("IML", -0.0004, -0.0004, -0.0004))
    assert "0.0 to 0.0" in statistics_markdown(table, cell_statistics(table))
