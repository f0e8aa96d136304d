"""Counts per state, order of cells and what is undefined for a single seed."""

import math

import pandas as pd
import pytest

from rml_dashboards.contract.states import TABLE_STATES
from rml_dashboards.statistics.summary import summarise


def seeds(*runs: tuple[str, str, float]) -> pd.DataFrame:
    """(cell, state, value) per run."""
    return pd.DataFrame(list(runs), columns=["cell", "state", "value"])


def test_one_seed_has_a_mean_and_no_spread() -> None:
    row = summarise(seeds(("a", "done", 62.5)), ["cell"]).loc["a"]
    assert (row["n"], row["mean"], row["minimum"], row["maximum"]) == (1, 62.5, 62.5, 62.5)
    assert row[["std", "ci_low", "ci_high"]].isna().all()


def test_no_seed_has_no_number() -> None:
    row = summarise(seeds(("a", "failed", 62.5), ("a", "missing", math.nan)), ["cell"]).loc["a"]
    assert (row["n"], row["n_expected"]) == (0, 2)
    assert row[["mean", "std", "minimum", "maximum", "ci_low", "ci_high"]].isna().all()


@pytest.mark.parametrize("state", [state for state in TABLE_STATES if state != "done"])
def test_a_run_that_is_not_done_is_counted_and_its_value_ignored(state: str) -> None:
    row = summarise(
        seeds(("a", "done", 1.0), ("a", state, 99.0), ("a", "done", 3.0)), ["cell"]
    ).loc["a"]
    assert (row["n"], row["n_expected"], row["mean"], row["maximum"]) == (2, 3, 2.0, 3.0)
    assert {s: row[s] for s in TABLE_STATES if row[s]} == {"done": 2, state: 1}


def test_cells_keep_their_order_and_their_own_runs() -> None:
    summary = summarise(seeds(("b", "done", 1.0), ("a", "done", 5.0), ("b", "done", 2.0)), ["cell"])
    assert list(summary.index) == ["b", "a"]
    assert list(summary["mean"]) == [1.5, 5.0]
    assert list(summary["done"]) == [2, 1]
