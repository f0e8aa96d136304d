"""Differences of rows against a named row, over the runs that both have of one split and seed.

Splits and seeds move both rows' scores the same way; their differences leave that out and are told
apart with fewer seeds than means are.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import pandas as pd

from rml_dashboards.errors import DashboardError
from rml_dashboards.statistics.aggregates import probability_of_improvement
from rml_dashboards.statistics.power import seeds_to_tell
from rml_dashboards.statistics.resampling import bootstrap_interval, strata_of
from rml_dashboards.statistics.significance import (
    MIN_TESTED,
    holm,
    sign_flip_p,
    stars,
    wilcoxon_p,
)
from rml_dashboards.statistics.summary import t_half_width
from rml_dashboards.statistics.ties import ROUNDING

Floats = npt.NDArray[np.float64]

PAIR = ("column", "split", "seed")
"""What two runs must share to be compared."""


def paired_runs(values: pd.DataFrame, against: str) -> pd.DataFrame:
    """One line per run that has its counterpart: row, column, split, seed, value, other, difference
    (value − other).

    Args:
        values: scored runs: row, column, split, seed, value.
        against: label of the row that the others are compared with.
    Raises:
        DashboardError: there is no such row, or a row has two runs of one column, split and seed.
    """
    known = list(dict.fromkeys(values["row"]))
    if against not in known:
        raise DashboardError(
            f"paired against {against!r}: no row of this name has a scored run; rows with scores: "
            f"{', '.join(map(str, known)) or 'none'}"
        )
    twice = values[values.duplicated(["row", *PAIR])]
    if len(twice):
        one = twice.iloc[0]
        raise DashboardError(
            f"row {one['row']!r}, column {one['column']!r} has two runs of seed {one['seed']} on "
            f"split {one['split'] or 'unknown'}: which of them to pair is not known"
        )
    wanted = values[["row", *PAIR, "value"]]
    other = wanted[wanted["row"] == against].drop(columns="row").rename(columns={"value": "other"})
    pairs = wanted[wanted["row"] != against].merge(other, on=list(PAIR), how="inner")
    return pairs.assign(difference=pairs["value"] - pairs["other"])


def paired_differences(
    values: pd.DataFrame, against: str, *, higher_is_better: Mapping[str, bool] | None = None
) -> pd.DataFrame:
    """One line per row and column that shares runs with the named row.

    Columns of the result: row, column, against, n (pairs), mean (of the differences, in the units
    of the scores), std (ddof 1), ci_low and ci_high (95 % t interval), boot_low and boot_high (95 %
    bootstrap, stratified by split), effect_size (mean / std of the differences, Cohen's d_z),
    improvement (how likely a run of the row beats one of the other row, paired or not),
    p_permutation, p_wilcoxon, p_holm (the former, corrected for all lines of this result), stars,
    seeds_to_tell_1 (pairs that tell a difference of 1 apart), and points (the differences
    themselves, by seed). Below five pairs nothing is tested.

    Args:
        higher_is_better: column → which of its scores win; default: the higher.
    Raises:
        DashboardError: see `paired_runs`.
    """
    better = higher_is_better or {}
    lines = [
        {
            "row": row,
            "column": column,
            "against": against,
            **_line(own, better.get(str(column), True)),
        }
        for row, column, own in _by_cell(values, against)
    ]
    frame = pd.DataFrame(lines, columns=COLUMNS)
    frame["p_holm"] = holm(frame["p_permutation"].to_numpy(dtype=np.float64))
    frame["stars"] = [stars(p) for p in frame["p_holm"]]
    return frame


def paired_means(values: pd.DataFrame, against: str) -> pd.DataFrame:
    """The same lines without what takes resamples: row, column, against, n, mean, std, ci_low and
    ci_high.

    Raises:
        DashboardError: see `paired_runs`.
    """
    lines = [
        {
            "row": row,
            "column": column,
            "against": against,
            **mean_line(own["difference"].to_numpy(dtype=np.float64)),
        }
        for row, column, own in _by_cell(values, against)
    ]
    return pd.DataFrame(lines, columns=MEAN_COLUMNS)


def _by_cell(values: pd.DataFrame, against: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Row, column and its pairs by seed."""
    pairs = paired_runs(values, against)
    for (row, column), own in pairs.groupby(["row", "column"], sort=False):
        yield str(row), str(column), own.sort_values(["seed", "split"], kind="stable")


MEAN_COLUMNS = ["row", "column", "against", "n", "mean", "std", "ci_low", "ci_high"]
COLUMNS = [
    *MEAN_COLUMNS,
    "boot_low",
    "boot_high",
    "effect_size",
    "improvement",
    "p_permutation",
    "p_wilcoxon",
    "p_holm",
    "stars",
    "seeds_to_tell_1",
    "points",
]


def mean_line(differences: Floats) -> dict[str, float]:
    """n, mean, std (ddof 1), ci_low and ci_high (95 % t interval) of at least one difference."""
    mean = float(differences.mean())
    std = float(differences.std(ddof=1)) if len(differences) > 1 else np.nan
    half = float(t_half_width(np.asarray([std]), np.asarray([len(differences)]))[0])
    ends = {"ci_low": mean - half, "ci_high": mean + half}
    return {"n": len(differences), "mean": mean, "std": std, **ends}


def _line(by_seed: pd.DataFrame, higher_is_better: bool) -> dict[str, object]:
    differences = by_seed["difference"].to_numpy(dtype=np.float64)
    line = mean_line(differences)
    std = line["std"]
    boot_low, boot_high = bootstrap_interval(strata_of(differences, list(by_seed["split"])))
    sign = 1.0 if higher_is_better else -1.0
    mine = sign * by_seed["value"].to_numpy(dtype=np.float64)
    theirs = sign * by_seed["other"].to_numpy(dtype=np.float64)
    return {
        **line,
        "boot_low": boot_low,
        "boot_high": boot_high,
        "effect_size": line["mean"] / std if std > ROUNDING else np.nan,
        "improvement": probability_of_improvement([mine], [theirs]),
        "p_permutation": sign_flip_p(differences),
        "p_wilcoxon": wilcoxon_p(differences),
        "seeds_to_tell_1": seeds_to_tell(std, 1.0, paired=True),
        "points": tuple(float(one) for one in differences),
    }


def is_tested(n: int) -> bool:
    """Whether so many pairs are tested at all, or shown as points instead."""
    return n >= MIN_TESTED
