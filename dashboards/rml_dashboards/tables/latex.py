r"""A filled table as LaTeX: booktabs for the rules, siunitx for the numbers. The same table, the
same bytes.

What follows a number, how many seeds it has and its marks, has a column of its own, so that numbers
stand one below the other. `\sisetup` holds until the table ends; its options are known to versions
2 and 3 of siunitx.
"""

import re

from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import legend
from rml_dashboards.tables.texts import Grid, Text, grid
from rml_dashboards.writing.latex_text import escape_latex, escape_part, note_latex
from rml_dashboards.writing.numbers import MINUS

NUMBER = re.compile(rf"[+{MINUS}]?\d+(?:\.\d+)?(?: ± \d+(?:\.\d+)?)?(?![\w/])")
"""A number with its spread, as `texts.py` writes them."""
MARKS = re.compile(r"((?: \[\d+\])+)")
"""The footnotes behind a number."""
EMPHASIS = {"best": r"\textbf{%s}", "second": r"\underline{%s}"}
PREAMBLE = "% needs \\usepackage{booktabs,siunitx}, \\usepackage[T1]{fontenc} and UTF-8"
SETUP = (
    # 62.1 ± 0.4 and not 62.1(4); the weight of the text around it; ± 0.0 is a finding
    r"\sisetup{separate-uncertainty=true, detect-all, retain-zero-uncertainty=true,"
    r" group-digits=false, retain-explicit-plus=true}"
)


def latex(table: Table) -> str:
    """A `table` environment: caption, label, rules, numbers, and footnotes below it."""
    layout = grid(table)
    tailed = _tailed(layout)
    columns = "".join(r"r@{\ }l" if has_tail else "r" for has_tail in tailed)
    header = [f"{{{escape_latex(layout.header[0])}}}"]
    header += [
        rf"\multicolumn{{2}}{{c}}{{{escape_latex(cell)}}}"
        if has_tail
        else f"{{{escape_latex(cell)}}}"
        for cell, has_tail in zip(layout.header[1:], tailed, strict=True)
    ]
    numbered = [
        rf"\textsuperscript{{{number}}} {note_latex(note)}"
        for number, note in enumerate(table.notes, start=1)
    ]
    lines = [
        PREAMBLE,
        r"\begin{table}",
        r"\centering",
        SETUP,
        _caption(table),
        rf"\label{{tab:{table.spec.name}}}",
        rf"\begin{{tabular}}{{l{columns}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *_lines(layout, tailed),
        r"\bottomrule",
        r"\end{tabular}",
        # footnotes are set as a paragraph: centred lines of different length are hard to read
        r"\par\smallskip\raggedright\footnotesize",
        *(rf"{note}\par" for note in [note_latex(legend(table)), *numbered]),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _caption(table: Table) -> str:
    """The title, which is also the short form for a list of tables, and the study's caption."""
    title = escape_latex(table.spec.title)
    said = note_latex(table.spec.caption.strip())
    if not said:
        return rf"\caption{{{title}}}"
    stop = "" if title.endswith((".", "?", "!", ":")) else "."
    return rf"\caption[{{{title}}}]{{{title}{stop} {said}}}"


def _tailed(layout: Grid) -> tuple[bool, ...]:
    """Of each column of numbers, whether something follows one of them."""
    columns = list(zip(*layout.lines, strict=True))[1:]
    return tuple(any(all(_parts(cell)) for cell in column) for column in columns)


def _spreads(layout: Grid) -> tuple[str, ...]:
    """Of each column of numbers the longest of what follows a `±`."""
    columns = list(zip(*layout.lines, strict=True))[1:]
    spreads = [[_parts(cell)[0].partition(" ± ")[2] for cell in column] for column in columns]
    return tuple(max(column, key=len, default="") for column in spreads)


def _lines(layout: Grid, tailed: tuple[bool, ...]) -> list[str]:
    """The body; a heading goes over all columns."""
    width = 1 + sum(2 if has_tail else 1 for has_tail in tailed)
    spreads = _spreads(layout)
    lines = []
    for number, line in enumerate(layout.lines):
        if line[0].kind == "group":
            space = [r"\addlinespace"] if number else []
            heading = rf"\multicolumn{{{width}}}{{l}}{{\emph{{{escape_latex(line[0].text)}}}}} \\"
            lines += [*space, heading]
            continue
        cells = [_label(line[0].text)]
        cells += [_cell(*parts) for parts in zip(line[1:], tailed, spreads, strict=True)]
        lines.append(" & ".join(cells) + r" \\")
    return lines


def _label(text: str) -> str:
    """The label of a row. A bracket or star that begins a line would be read as an argument of the
    line before it."""
    guard = "{}" if text.startswith(("[", "*")) else ""
    indent = r"\quad " if text.startswith(" ") else ""
    return f"{guard}{indent}{escape_latex(text)}"


def _cell(cell: Text, has_tail: bool, spread: str) -> str:
    """A score, whose number goes through siunitx; or a word, over both columns.

    Args:
        spread: what stands behind the `±` of others in the column; the room for it is left free, so
            that means stand below means.
    """
    number, tail = _parts(cell)
    if not number:
        return rf"\multicolumn{{2}}{{c}}{{{_tail(tail)}}}" if has_tail else _tail(tail)
    value = EMPHASIS.get(cell.kind, "%s") % rf"\num{{{_plain(number)}}}"
    if spread and "±" not in number:
        if tail.startswith("["):
            value += rf"\rlap{{{_tail(tail)}}}"
            tail = ""
        value += rf"\phantom{{${{}}\pm {spread}$}}"
    return f"{value} & {_tail(tail)}".rstrip() if has_tail else value


def _plain(number: str) -> str:
    """A number as siunitx reads it."""
    return number.replace(" ± ", r" \pm ").replace(MINUS, "-")


def _parts(cell: Text) -> tuple[str, str]:
    """The number that a cell begins with, and what follows it; either may be empty."""
    found = NUMBER.match(cell.text)
    number = found[0] if found else ""
    return number, cell.text[len(number) :].strip()


def _tail(text: str) -> str:
    """Seeds or words, and the footnotes raised."""
    pieces = MARKS.split(f" {text}")
    said = [_raised(p) if number % 2 else escape_part(p) for number, p in enumerate(pieces)]
    return "".join(said).strip()


def _raised(marks: str) -> str:
    numbers = ", ".join(re.findall(r"\d+", marks))
    return rf"\textsuperscript{{{numbers}}}"
