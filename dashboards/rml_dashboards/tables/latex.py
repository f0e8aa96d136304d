"""A filled table as LaTeX: booktabs for the rules, siunitx for the numbers. The same table, the
same bytes."""

import re

from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.texts import Text, grid
from rml_dashboards.writing.pipe_table import one_line

SPECIAL = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\ensuremath{<}",
    ">": r"\ensuremath{>}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    '"': r"\textquotedbl{}",
    "±": r"\ensuremath{\pm}",
    "−": r"\ensuremath{-}",
    "–": "--",
    "↳": r"\ensuremath{\hookrightarrow}",
    "×": r"\ensuremath{\times}",
    "·": r"\ensuremath{\cdot}",
    "†": r"\ensuremath{\dagger}",
}
NUMBER = re.compile(r"[+−]?\d+(?:\.\d+)?(?: ± \d+(?:\.\d+)?)?(?![\w/])")
"""A number with its spread, as `texts.py` writes them."""
EMPHASIS = {"best": r"\textbf{%s}", "second": r"\underline{%s}", "group": r"\emph{%s}"}
PREAMBLE = "% needs \\usepackage{booktabs,siunitx}, \\usepackage[T1]{fontenc} and UTF-8"


def latex(table: Table) -> str:
    """A `table` environment: caption, rules, numbers, and footnotes below it."""
    layout = grid(table)
    header = " & ".join(f"{{{escape_latex(cell)}}}" for cell in layout.header)
    columns = "l" + "r" * (len(layout.header) - 1)
    body = [" & ".join(map(_cell, line)) + r" \\" for line in layout.lines]
    notes = [legend(table), *(f"[{i}] {note}" for i, note in enumerate(table.notes, start=1))]
    lines = [
        PREAMBLE,
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape_latex(table.spec.title)}}}",
        rf"\label{{tab:{table.spec.name}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        header + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {escape_latex(note)}" for note in notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def escape_latex(text: str) -> str:
    """Text on one line in which nothing is a command of LaTeX."""
    return "".join(SPECIAL.get(letter, letter) for letter in one_line(text))


def _cell(cell: Text) -> str:
    """Labels as text; of a score the number goes through siunitx."""
    if cell.kind in ("label", "group"):
        text = escape_latex(cell.text)
    else:
        found = NUMBER.match(cell.text)
        number = found[0] if found else ""
        plain = number.replace(" ± ", r" \pm ").replace("−", "-")
        # siunitx leaves out a plus, which tells a gain from a score.
        option = "[retain-explicit-plus]" if plain.startswith("+") else ""
        text = (rf"\num{option}{{{plain}}}" if number else "") + escape_latex(
            cell.text[len(number) :]
        )
        if number and cell.text[len(number) :].startswith(" "):
            text = text.replace("}", "} ", 1)
    # A bracket that begins a line would be read as an argument of the line before it.
    guarded = f"{{}}{text}" if text.startswith(("[", "*")) else text
    return EMPHASIS.get(cell.kind, "%s") % guarded if guarded else ""
