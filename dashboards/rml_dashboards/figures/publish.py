"""From recorded runs to figure files, in one call: what `rml figures` uses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.chart import Chart
from rml_dashboards.figures.curve_chart import curve_chart, seeds_text
from rml_dashboards.figures.curves import FilledFigure, build_figure
from rml_dashboards.figures.drawing import pictures
from rml_dashboards.figures.specification import FigureSpec
from rml_dashboards.figures.tidy import TIDY
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.writing.files import write_bytes, write_text
from rml_dashboards.writing.pipe_table import NOTHING, escape, one_line, pipe_table, without_column

MLFLOW_RUN = "MLflow run id"
"""Heading of a column that runs read from their folders do not have."""


def load_figures(specs: Sequence[FigureSpec], reader: RecordReader) -> list[FilledFigure]:
    """The filled figures; one of which no run has reported anything has no curves.

    Raises DashboardError when the records cannot be read, or when no run has a metric that a figure
    asks for.
    """
    wanted = frozenset().union(*(spec.run_ids for spec in specs))
    metrics = {metric.key for spec in specs for metric in spec.metrics}
    # What figures draw comes from the histories; of the records they show the states only.
    records = reader.records(wanted, metrics=())
    histories = reader.histories(wanted, metrics)
    return [build_figure(spec, records, histories) for spec in specs]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A figure of any kind, ready to be written or shown."""

    name: str
    """Of its files, without suffix."""
    title: str
    chart: Chart | None
    """What it shows; None where there is nothing to draw yet."""
    values: Callable[[], str]
    """What is drawn, as CSV."""
    says: tuple[str, ...]
    """Sentences: what the marks are, and what must be known."""
    chapter: Callable[[], Sequence[str]]
    """Markdown of the index: what the marks are, footnotes, the runs behind them."""


def drawn_curves(figure: FilledFigure) -> Drawn:
    """Curves as a figure of any kind."""
    return Drawn(
        name=figure.spec.name,
        title=figure.spec.title,
        chart=curve_chart(figure) if figure.curves else None,
        values=lambda: figure.values[list(TIDY)].to_csv(index=False, lineterminator="\n"),
        says=tuple(figure.notes),
        chapter=lambda: _chapter(figure),
    )


def write_figures(
    specs: Sequence[FigureSpec], reader: RecordReader, out_dir: Path, *, index_name: str = "figures"
) -> list[Path]:
    """Write the files of every figure and an index of all; see `write_drawn`."""
    figures = [drawn_curves(figure) for figure in load_figures(specs, reader)]
    return write_drawn(figures, out_dir, index_name=index_name)


def write_drawn(
    figures: Sequence[Drawn], out_dir: Path, *, index_name: str = "figures"
) -> list[Path]:
    """Write `<name>.svg`, `.png`, `.pdf` and `.csv` of every figure and an index of all; returns
    the paths, the index last.

    Raises DashboardError when there is nothing to draw in any of the figures.
    """
    paths = []
    for figure in figures:
        if figure.chart is None:
            continue
        for kind, content in pictures(figure.chart).items():
            paths.append(write_bytes(content, out_dir / f"{figure.name}.{kind}"))
        paths.append(write_text(figure.values(), out_dir / f"{figure.name}.csv"))
    if not paths:
        names = ", ".join(figure.name for figure in figures)
        raise DashboardError(
            f"nothing to draw yet for {names}: no run has reported anything. Launch the study first"
        )
    return [*paths, write_text(index(figures), out_dir / f"{index_name}.md")]


def index(figures: Sequence[Drawn]) -> str:
    """Markdown: every figure with what is drawn, its footnotes, and the runs behind it."""
    parts = ["# Figures", *(part for figure in figures for part in figure.chapter())]
    return "\n\n".join(parts) + "\n"


def _chapter(figure: FilledFigure) -> list[str]:
    spec = figure.spec
    parts = [f"## {spec.name}: {one_line(spec.title)}"]
    if not figure.curves:
        parts.append("Nothing to draw yet.")
    else:
        parts += [f"![{one_line(spec.title)}]({spec.name}.png)", _what_is_drawn(figure)]
    if spec.caption:
        parts.insert(1, spec.caption.strip())
    if figure.notes:
        parts.append("\n".join(f"- {one_line(note)}" for note in figure.notes))
    if figure.warnings:
        parts.append(
            "\n".join(["**Warnings**", "", *(f"- {one_line(text)}" for text in figure.warnings)])
        )
    return [*parts, _runs(figure)]


def _what_is_drawn(figure: FilledFigure) -> str:
    spec = figure.spec
    metrics = ", ".join(f"`{m.key}`" + (f" ({m.label})" if m.label else "") for m in spec.metrics)
    sentences = [
        f"{metrics}{f' × {spec.scale:g}' if spec.scale != 1 else ''} against the {spec.x_label}."
    ]
    sentences.append(
        "Line: mean over seeds on their common steps; band: ± sample standard deviation, none for "
        "n = 1."
    )
    if spec.smoothing > 1:
        sentences.append(
            f"Each seed's curve is a centred moving average over {spec.smoothing} reports."
        )
    counts = [
        f"{row} {seeds_text(own)}"
        for row in spec.rows
        if (own := [c for c in figure.curves if c.row == row])
    ]
    sentences.append(f"{'; '.join(counts)}.")
    files = f"[SVG]({spec.name}.svg), [PDF]({spec.name}.pdf), [values as recorded]({spec.name}.csv)"
    return " ".join([*(one_line(sentence) for sentence in sentences), files])


def _runs(figure: FilledFigure) -> str:
    """One line per run: the way from a curve back to what was recorded."""
    header = ["Row", "Column", "Seed", "State", "Values", "Run id", MLFLOW_RUN, "Code"]
    counts = figure.values.groupby(["row", "column", "seed"]).size()
    lines = []
    for run in figure.runs.itertuples(index=False):
        code = f"{run.code_version}{' + changes' if run.dirty else ''}"
        count = counts.get((run.row, run.column, run.seed), 0)
        fields = [
            run.row,
            run.column,
            run.seed,
            run.state,
            count,
            run.run_id,
            run.mlflow_run_id,
            code,
        ]
        lines.append([escape(str(field)) or NOTHING for field in fields])
    if not figure.runs["mlflow_run_id"].any():
        header, lines = without_column(header, lines, MLFLOW_RUN)
    return pipe_table(header, lines)
