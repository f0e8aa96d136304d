"""A table as LaTeX: what it says, that labels cannot become commands, and that LaTeX takes it."""

import shutil
import subprocess
from pathlib import Path
from subprocess import PIPE

import pytest

from rml_dashboards.contract.planned import ReportedNumber
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.latex import latex
from rml_dashboards.tables.specification import RowSpec
from rml_dashboards.writing.latex_text import escape_latex, note_latex
from tests.support.dashboards.small_tables import OTHER_PROTOCOL, runs_of, table_of

LETTERED = "λ = 0.5, σ₂ → x², φ̂ ≥ ŷ × 10⁻³, Å, ﬁ, 语"
HOSTILE = r"50 % & $x_1$ #2 {~^} \input{secret} <a|b> `c` [15]"
DOCUMENT = r"""\documentclass{article}
\usepackage[paperwidth=60cm]{geometry}
\usepackage[T1]{fontenc}
\usepackage[utf8]{inputenc}
\usepackage{textcomp,booktabs,siunitx}
\begin{document}
%s
\end{document}
"""


needs_latex = pytest.mark.skipif(
    shutil.which("pdflatex") is None,
    reason="compiles the tables with pdflatex, which is not on the path (Debian: apt-get install "
    "texlive-latex-extra texlive-science)",
)


def hostile_table() -> Table:
    reported = {"1/8": (ReportedNumber(mean=51.25, std=0.4, source="A & B_1", note="C % D"),)}
    above = {"1/8": (ReportedNumber(mean=60.5, source="A & B_1"),)}
    runs = runs_of(HOSTILE, 0.5, 0.51, 0.52) + runs_of("[RML]", 0.6, 0.61, 0.62)
    rows = (
        RowSpec(label=HOSTILE, reported=reported, group="a & b"),
        RowSpec(label="[RML]", reported=above),
        RowSpec(label=LETTERED, group="λ_1"),
    )
    runs += runs_of(LETTERED, 0.4, 0.4, 0.4)
    title = f"{LETTERED} {HOSTILE}"
    return table_of(
        runs, rows=rows, emphasis="best_two", title=title, caption="`a_b` of 5 % λ", name="a_b"
    )


def test_numbers_go_through_siunitx_and_stand_out() -> None:
    text = latex(hostile_table())
    assert "separate-uncertainty=true, detect-all" in text
    assert r"\textbf{\num{61.0 \pm 1.0}} & (3) & " in text
    assert r"\underline{\num{51.0 \pm 1.0}} & (3) & " in text
    assert r"\num{51.25 \pm 0.40} & \textsuperscript{1} & \num{-0.2} \\" in text
    assert r"\num{60.5}\phantom{${}\pm 0.40$} & & \num{+0.5} \\" in text
    assert r"{}[RML] & " in text, "no line begins with a bracket"


def test_only_the_best_of_one_protocol_is_bold() -> None:
    rows = (RowSpec(label="IML"), RowSpec(label="RML"))
    alike = runs_of("IML", 0.5, 0.5, 0.5) + runs_of("RML", 0.6, 0.6, 0.6)
    other = runs_of("IML", 0.5, 0.5, 0.5) + runs_of("RML", 0.6, protocol=OTHER_PROTOCOL)
    assert latex(table_of(alike, rows=rows)).count(r"\textbf{") == 1
    assert r"\textbf{" not in latex(table_of(other, rows=rows))


def test_caption_and_label_are_the_study_s() -> None:
    text = latex(table_of(runs_of("IML", 0.5), title="Labels of λ", caption="One % of `x_1`."))
    title = r"Labels of \ensuremath{\lambda}"
    assert rf"\caption[{{{title}}}]{{{title}. One \% of \texttt{{x\_1}}.}}" in text
    assert r"\label{tab:t}" in text
    assert r"\caption{T}" in latex(table_of(runs_of("IML", 0.5)))


def test_labels_are_text() -> None:
    assert escape_latex("a_b & 5 %\n\\x") == r"a\_b \& 5 \% \textbackslash{}x"
    assert escape_latex("λ₁ → ŷ") == (
        r"\ensuremath{\lambda}\textsubscript{1} \ensuremath{\rightarrow} \^{y}"
    )
    assert escape_latex("--lr ’") == "-{}-lr '"
    assert escape_latex("语") == "U+8BED"
    assert note_latex("as `a_b` says, 5 %") == r"as \texttt{a\_b} says, 5 \%"
    assert note_latex("one ` alone") == r"one \textasciigrave{} alone"
    assert r"\input" not in latex(hostile_table())


def printed(document: str, folder: Path) -> str:
    """What a compiled document says."""
    (folder / "t.tex").write_text(DOCUMENT % document, encoding="utf-8")
    done = subprocess.run(
        ["pdflatex", "-halt-on-error", "-interaction=nonstopmode", "t.tex"],
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
    if shutil.which("pdftotext") is None:
        pytest.skip(
            "what the compiled document says is read with pdftotext, which is not on the path "
            "(Debian: apt-get install poppler-utils)"
        )
    text = subprocess.run(
        ["pdftotext", "-layout", "t.pdf", "-"], cwd=folder, stdout=PIPE, check=True
    )
    return text.stdout.decode()


@needs_latex
def test_latex_takes_it_and_prints_numbers_as_markdown_does(tmp_path: Path) -> None:
    said = "".join(printed(latex(hostile_table()), tmp_path).split())
    assert "61.0±1.0(3)" in said and "51.25±0.40" in said and "40.0±0.0(3)" in said
    assert "0.2" in said and "+0.5" in said
    assert "λ=0.5,σ" in said and "U+8BED" in said and r"$x_1$#2{~^}\input{secret}<a|b>" in said


@needs_latex
def test_latex_takes_every_letter(tmp_path: Path) -> None:
    """Letters of Latin and Greek, signs, arrows and mathematics: none stops the compiler."""
    blocks = ((0x20, 0x600), (0x1D00, 0x2800), (0xFB00, 0xFB07), (0x1D400, 0x1D7FF))
    letters = [chr(code) for begin, end in blocks for code in range(begin, end)]
    lines = [letters[i : i + 40] for i in range(0, len(letters), 40)]
    text = "\n\n".join(" ".join(escape_latex(f"x{letter}") for letter in line) for line in lines)
    assert "x" in printed(text, tmp_path)
