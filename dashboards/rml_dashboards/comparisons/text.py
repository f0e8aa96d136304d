"""Statistics of cells and comparisons of rows as Markdown that also reads well raw."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from rml_dashboards.comparisons.cells import left_out
from rml_dashboards.comparisons.compare import Comparison
from rml_dashboards.statistics.paired import is_tested
from rml_dashboards.statistics.power import power_line
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import floor_sentence
from rml_dashboards.writing.numbers import MINUS, number_text, signed_text
from rml_dashboards.writing.pipe_table import NOTHING, escape, one_line, pipe_table

QUESTIONS_TOLD = (
    "Differences of runs of the same split and seed, in the units of the table. p: exact sign-flip "
    "test of the mean, two-sided, from five pairs on. p Holm: corrected for all lines of the "
    "question, those that cannot be tested yet too (* below 0.05, ** below 0.01, *** below 0.001). "
    "beyond: the difference in that column is subtracted, run by run."
)


def statistics_markdown(table: Table, cells: pd.DataFrame) -> str:
    """Every cell with its intervals; with fewer than five seeds also the scores themselves.

    Args:
        cells: see `cell_statistics`.
    """
    digits = table.spec.digits
    header = [table.spec.row_heading, "Column", "n", "mean", "sd", "95 % t", "95 % bootstrap"]
    lines = [
        [
            *(str(line["row"]), str(line["column"]), str(line["n"])),
            *(_number(line["mean"], digits), _number(line["std"], digits)),
            _interval(line["ci_low"], line["ci_high"], digits),
            _interval(line["boot_low"], line["boot_high"], digits),
            NOTHING
            if is_tested(line["n"])
            else " ".join(_number(point, digits) for point in line["points"]),
        ]
        for line in cells.to_dict("records")
    ]
    parts = [f"# {one_line(table.spec.title)}: statistics of cells"]
    parts.append(_pipes([*header, "scores"], lines) if lines else "No run has a score yet.")
    parts.append(
        "sd: sample standard deviation (divisor n − 1). Scores are listed where there are fewer "
        "than five."
    )
    if table.spec.repeats:
        parts.append(f"{floor_sentence(table)}{_close_rows(table)}")
    spread = _pooled(cells["std"], cells["n"])
    parts.append(power_line(spread, paired=False))
    notes = [f"- Left out of the profiles: {one_line(text)}." for text in left_out(table)]
    parts += ["\n".join(notes)] if notes else []
    return "\n\n".join(parts) + "\n"


def _close_rows(table: Table) -> str:
    """Pairs of rows whose means are within the noise floor, each once."""
    places = {row.label: place for place, row in enumerate(table.spec.rows)}
    pairs = [
        f"{entry.row} and {other} ({entry.column})"
        for entry in table.cells()
        for other in entry.close_to
        if places[entry.row] < places[other]
    ]
    return f" No further apart than that: {'; '.join(pairs)}." if pairs else ""


def comparison_markdown(comparison: Comparison) -> str:
    """Paired differences, what is said over all columns, ranks, and what is left out."""
    spec = comparison.table.spec
    parts = [f"# {one_line(spec.title)}: against {one_line(comparison.against)}"]
    parts += _differences(comparison)
    parts += _overall(comparison)
    parts += _ranks(comparison)
    if comparison.notes:
        parts.append("\n".join(f"- {one_line(note)}" for note in comparison.notes))
    return "\n\n".join(parts) + "\n"


def questions_markdown(table: Table, lines: pd.DataFrame) -> str:
    """What the study asks, with the answers so far.

    Args:
        lines: see `questions.answers`.
    """
    parts = [f"# {one_line(table.spec.title)}: what is asked"]
    for question in table.spec.questions:
        own = lines[lines["question"].eq(question.title)]
        parts.append(f"## {one_line(question.title)}")
        parts += [f"Asked: {one_line(question.asked)}"] if question.asked else []
        parts.append(_pipes(*question_table(own, table.spec.digits)))
        notes = [f"- {note}" for note in question_notes(own)]
        parts += ["\n".join(notes)] if notes else []
    parts.append(QUESTIONS_TOLD)
    return "\n\n".join(parts) + "\n"


def question_table(lines: pd.DataFrame, digits: int) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the answers to one question, as texts."""
    header = ["Difference", "Column", "n", "mean ± sd", "95 % t", "above 0", "p", "p Holm"]
    return [*header, "pairs to tell 1"], [
        _answer_line(line, digits) for line in lines.to_dict("records")
    ]


def question_notes(lines: pd.DataFrame) -> list[str]:
    """What was left out of the comparisons of one question, each once."""
    return [one_line(note) for note in dict.fromkeys(lines["note"]) if note]


def _answer_line(line: Mapping[Any, Any], digits: int) -> list[str]:
    n = int(line["n"])
    beyond = f", beyond {line['beyond']}" if line["beyond"] else ""
    spread = f" ± {_number(line['std'], digits)}" if n > 1 else ""
    seeds = line["seeds_to_tell_1"]
    return [
        f"{line['row']} {MINUS} {line['against']}",
        f"{line['column']}{beyond}",
        f"{n} of {line['n_expected']}",
        f"{_signed(line['mean'], digits)}{spread}" if n else NOTHING,
        _interval(line["ci_low"], line["ci_high"], digits),
        f"{line['above']} of {n}" if n else NOTHING,
        _p(line["p_permutation"]),
        f"{_p(line['p_holm'])}{line['stars']}",
        NOTHING if seeds is None or pd.isna(seeds) else f"{int(seeds)}",
    ]


def difference_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Headings and lines of the paired differences, as texts."""
    spec = comparison.table.spec
    header = [spec.row_heading, "Column", "n", "difference", "95 % t", "95 % bootstrap"]
    header += ["effect size", "improvement", "p permutation", "p Wilcoxon", "p Holm"]
    header += ["pairs to tell 1"]
    frame = comparison.differences
    return header, [_difference_line(line, spec.digits) for line in frame.to_dict("records")]


def _differences(comparison: Comparison) -> list[str]:
    frame = comparison.differences
    spec = comparison.table.spec
    if frame.empty:
        return ["No run can be paired."]
    header, lines = difference_table(comparison)
    told = [
        "Differences of runs of the same split and seed, in the units of the table. Effect size: "
        "mean / sd of the differences. Improvement: how likely a run of the row beats one of "
        f"{one_line(comparison.against)}. p Holm: of the permutation test, corrected for all lines "
        "(* below 0.05, ** below 0.01, *** below 0.001).",
    ]
    if not all(is_tested(n) for n in frame["n"]):
        told.append("Fewer than five pairs are listed and not tested.")
    if comparison.floor is not None:
        told.append(
            f"≈: no larger than what rounding alone does, {comparison.floor.shown(spec.digits)} "
            f"({comparison.floor.source})."
        )
    power = power_line(_pooled(frame["std"], frame["n"]), paired=True)
    return [_pipes(header, lines), " ".join(told), power]


def _difference_line(line: Mapping[Any, Any], digits: int) -> list[str]:
    n = int(line["n"])
    mean = _signed(line["mean"], digits) + (" ≈" if line["below_floor"] else "")
    if is_tested(n):
        shown = f"{mean} ± {_number(line['std'], digits)}"
    else:
        shown = f"{mean} ({' '.join(_signed(point, digits) for point in line['points'])})"
    seeds = line["seeds_to_tell_1"]
    return [
        *(str(line["row"]), str(line["column"]), str(n), shown),
        _interval(line["ci_low"], line["ci_high"], digits),
        _interval(line["boot_low"], line["boot_high"], digits),
        *(_number(line["effect_size"], 2), _number(line["improvement"], 2)),
        *(_p(line["p_permutation"]), _p(line["p_wilcoxon"])),
        f"{_p(line['p_holm'])}{line['stars']}",
        NOTHING if seeds is None or pd.isna(seeds) else f"{int(seeds)}",
    ]


def _overall(comparison: Comparison) -> list[str]:
    frame = comparison.overall
    if frame.empty:
        return []
    spec = comparison.table.spec
    header = [spec.row_heading, "columns", "n", "IQM", "95 % bootstrap", "improvement"]
    lines = [
        [
            *(str(line.row), str(line.num_columns), str(line.n), _number(line.iqm, spec.digits)),
            _interval(line.iqm_low, line.iqm_high, spec.digits),
            _number(line.improvement, 2),
            _interval(line.improvement_low, line.improvement_high, 2),
        ]
        for line in frame.itertuples()
    ]
    told = (
        "IQM: interquartile mean over all runs of these columns. Improvement: how likely a run "
        f"beats one of {one_line(comparison.against)}, mean over columns."
    )
    return ["## Over all columns", _pipes([*header, "95 % bootstrap of it"], lines), told]


def _ranks(comparison: Comparison) -> list[str]:
    ranking = comparison.ranking
    if ranking is None:
        return []
    lines = [[str(row), f"{rank:.2f}"] for row, rank in ranking.mean_ranks.items()]
    groups = "; ".join(", ".join(group) for group in ranking.groups) or "none"
    told = (
        f"Over {ranking.num_columns} columns. Friedman's test that all rank alike: p = "
        f"{_p(ranking.friedman_p)}. Nemenyi's critical difference at 0.05: "
        f"{ranking.critical_difference:.2f}; not told apart: {one_line(groups)}."
    )
    return ["## Mean ranks", _pipes([comparison.table.spec.row_heading, "mean rank"], lines), told]


def _pooled(stds: pd.Series, ns: pd.Series) -> float:
    """Standard deviation within cells: the root of the mean variance, weighted by n − 1."""
    freedom = ns.to_numpy(dtype=np.float64) - 1
    variances = stds.to_numpy(dtype=np.float64) ** 2
    known = (freedom > 0) & np.isfinite(variances)
    if not known.any():
        return np.nan
    return float(np.sqrt(np.average(variances[known], weights=freedom[known])))


def _pipes(header: list[str], lines: list[list[str]]) -> str:
    return pipe_table([escape(one) for one in header], [[escape(c) for c in one] for one in lines])


def _number(value: Any, digits: int) -> str:
    if value is None or pd.isna(value):
        return NOTHING
    return number_text(float(value), digits)


def _signed(value: Any, digits: int) -> str:
    return signed_text(float(value), digits)


def _interval(low: Any, high: Any, digits: int) -> str:
    if low is None or pd.isna(low):
        return NOTHING
    return f"{_number(low, digits)} to {_number(high, digits)}"


def _p(value: Any) -> str:
    number = float(value)
    if np.isnan(number):
        return NOTHING
    return "<0.001" if number < 0.001 else f"{number:.3f}"
