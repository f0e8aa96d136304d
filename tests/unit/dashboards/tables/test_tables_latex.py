"""A table as LaTeX: what it says, that labels cannot become commands, and that LaTeX takes it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.latex import escape_latex, latex
from rml_dashboards.tables.specification import RowSpec
from tests.support.dashboards.small_tables import runs_of, table_of

HOSTILE = r"50 % & $x_1$ #2 {~^} \input{secret} <a|b> `c` [15]"
DOCUMENT = r"""\documentclass{article}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,booktabs,siunitx}
\begin{document}
%s
\end{document}
"""


def hostile_table() -> Table:
    reported = {"1/8": (ReportedNumber(mean=51.25, std=0.4, source="A & B_1", note="C % D"),)}
    above = {"1/8": (ReportedNumber(mean=60.5, source="A & B_1"),)}
    runs = runs_of(HOSTILE, 0.5, 0.51, 0.52) + runs_of("[RML]", 0.6, 0.61, 0.62)
    rows = (
        RowSpec(label=HOSTILE, reported=reported, group="a & b"),
        RowSpec(label="[RML]", reported=above),
    )
    return table_of(runs, rows=rows, emphasis="best_two")


def test_numbers_go_through_siunitx_and_stand_out() -> None:
    text = latex(hostile_table())
    assert r"\textbf{\num{61.0 \pm 1.0} (3)}" in text
    assert r"\underline{\num{51.0 \pm 1.0} (3)}" in text
    assert r"\num{51.25 \pm 0.40}" in text and r"\num{-0.2}" in text
    assert r"\num[retain-explicit-plus]{+0.5}" in text
    assert r"{}[RML] & " in text, "no line begins with a bracket"


def test_labels_are_text() -> None:
    assert escape_latex("a_b & 5 %\n\\x") == r"a\_b \& 5 \% \textbackslash{}x"
    assert r"\input" not in latex(hostile_table())


@pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="compiles the tables with pdflatex, which is not installed here",
)
def test_latex_takes_it(tmp_path: Path) -> None:
    (tmp_path / "t.tex").write_text(DOCUMENT % latex(hostile_table()), encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    assert (tmp_path / "t.pdf").stat().st_size > 10_000
