"""Every figure of a study, filled with what is recorded: those that it declares, or, where it
declares none, those that its records are good for."""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence

from rml_dashboards.contract.planned import PlannedFigure, StudyPlan
from rml_dashboards.diagrams.diagram import Material
from rml_dashboards.diagrams.kinds import DIAGRAMS
from rml_dashboards.diagrams.publish import drawn_diagram, not_drawn
from rml_dashboards.errors import DashboardError
from rml_dashboards.figures.curves import FilledFigure
from rml_dashboards.figures.publish import Drawn, drawn_curves, load_figures
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.records.records import Records
from rml_dashboards.records.snapshot import snapshot_of
from rml_dashboards.studies.cost import SECONDS_KEY, hours_by_run
from rml_dashboards.studies.figures import CURVES, curve_specs
from rml_dashboards.studies.plan import SUPERVISED
from rml_dashboards.studies.pseudo_labels import AFTER, BEFORE
from rml_dashboards.studies.table import cell_specs, table_spec
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.per_class import class_tables
from rml_dashboards.tables.publish import load_table

PSEUDO_LABELS = (
    "pseudo_labels",
    "Pseudo labels on the unlabelled images",
    {"after rectification": AFTER, "before": BEFORE},
)
LEARNING = (
    ("learning", "Scores during training", {"": "val/miou"}),
    ("loss", "Training loss", {"": "train/loss"}),
    PSEUDO_LABELS,
)
"""Name, title and metrics of the curves of a study that declares no figures."""
TITLES = {
    "scores": "Final scores",
    "classes": "IoU of classes",
    "ranks": "Mean ranks",
    "profile": "Performance profiles",
    "gain": "Gain by share of labels",
    "cost": "Score by time",
}
"""Of the diagrams of such a study."""


def _as_it_is(figure: FilledFigure) -> FilledFigure:
    return figure


def drawn_figures(
    plan: StudyPlan,
    reader: RecordReader,
    *,
    thin: Callable[[FilledFigure], FilledFigure] = _as_it_is,
    is_lenient: bool = False,
    with_pseudo_labels: bool = False,
) -> list[Drawn]:
    """The study's figures, in their order. One that has nothing to draw yet says so.

    Args:
        thin: takes points out of curves before they are drawn.
        is_lenient: a figure that asks for a metric which no run has says so in its place.
        with_pseudo_labels: also how right the pseudo labels were, where that is recorded and no
            figure of the study draws it.
    Raises:
        DashboardError: none of the recorded runs has a metric that a figure asks for.
    """
    source = _Source(plan, reader)
    figures = [*(plan.figures or source.defaults())]
    if with_pseudo_labels and not any(map(_draws_pseudo_labels, figures)):
        figures += source.curves([PSEUDO_LABELS])
    asked = [figure for figure in figures if figure.kind == CURVES]
    try:
        loaded = load_figures(curve_specs(plan, asked), source.reader)
        curves = iter([drawn_curves(thin(figure)) for figure in loaded])
    except DashboardError:
        if not is_lenient:
            raise
        curves = iter([_curves_or_why_not(plan, one, source.reader, thin) for one in asked])
    return [next(curves) if figure.kind == CURVES else source.diagram(figure) for figure in figures]


def _draws_pseudo_labels(figure: PlannedFigure) -> bool:
    return figure.kind == CURVES and bool({AFTER, BEFORE} & set(figure.keys_by_label.values()))


def _curves_or_why_not(
    plan: StudyPlan,
    figure: PlannedFigure,
    reader: RecordReader,
    thin: Callable[[FilledFigure], FilledFigure],
) -> Drawn:
    try:
        (filled,) = load_figures(curve_specs(plan, [figure]), reader)
    except DashboardError as error:
        return not_drawn(f"{figure.name}{plan.file_suffix}", figure.title or plan.title, str(error))
    return drawn_curves(thin(filled))


def figure_names(plan: StudyPlan, reader: RecordReader) -> list[str]:
    """Names of the study's figures, without drawing them."""
    return [figure.name for figure in plan.figures or _Source(plan, reader).defaults()]


def drawn_figure(plan: StudyPlan, reader: RecordReader, name: str) -> Drawn:
    """One of the study's figures. Raises DashboardError where there is none of this name."""
    source = _Source(plan, reader)
    figures = {figure.name: figure for figure in plan.figures or source.defaults()}
    if name not in figures:
        raise DashboardError(
            f"{plan.name}: no figure {name!r}; figures: {', '.join(figures) or 'none'}"
        )
    if figures[name].kind != CURVES:
        return source.diagram(figures[name])
    (filled,) = load_figures(curve_specs(plan, [figures[name]]), source.reader)
    return drawn_curves(filled)


class _Source:
    """What is recorded of a study, read once."""

    def __init__(self, plan: StudyPlan, reader: RecordReader) -> None:
        self._plan = plan
        self.reader = snapshot_of(reader, {run.run_id for run in plan.runs})
        self._diagrams_by_name: dict[str, Drawn] = {}
        self._tables: dict[tuple[tuple[str, ...], tuple[str, ...]], Table] = {}

    @functools.cached_property
    def _records(self) -> Records:
        return self.reader.records({run.run_id for run in self._plan.runs}, {SECONDS_KEY})

    def diagram(self, figure: PlannedFigure) -> Drawn:
        """A figure that is no curves, made once."""
        if figure.name not in self._diagrams_by_name:
            self._diagrams_by_name[figure.name] = self._diagram(figure)
        return self._diagrams_by_name[figure.name]

    def _diagram(self, figure: PlannedFigure) -> Drawn:
        name = f"{figure.name}{self._plan.file_suffix}"
        title = figure.title or self._plan.title
        try:
            diagram = DIAGRAMS[figure.kind](self._material(figure, title))
        except DashboardError as error:
            return not_drawn(name, title, str(error))
        return drawn_diagram(name, title, figure.caption, diagram)

    def defaults(self) -> list[PlannedFigure]:
        """Curves of what was recorded, and the diagrams that this table can have."""
        return [*self.curves(LEARNING), *self._diagrams()]

    def curves(self, wanted: Sequence[tuple[str, str, dict[str, str]]]) -> list[PlannedFigure]:
        """Those of some figures, given by name, title and metrics, that have something recorded."""
        keys = {key for _, _, metrics in wanted for key in metrics.values()}
        histories = self.reader.histories({run.run_id for run in self._plan.runs}, keys)
        recorded = frozenset().union(*histories.keys.values())
        found = []
        for name, title, metrics in wanted:
            known = {label: key for label, key in metrics.items() if key in recorded}
            if known:
                is_score = name != "loss"
                scale = self._plan.table.scale if is_score else 1.0
                found.append(
                    PlannedFigure(
                        name=self._free(name),
                        title=self._title(title),
                        metrics=known,
                        scale=scale,
                    )
                )
        return found

    def _diagrams(self) -> Iterator[PlannedFigure]:
        for kind in DIAGRAMS:
            title = self._title(TITLES[kind])
            figure = PlannedFigure(name=self._free(kind), kind=kind, title=title)
            if self.diagram(figure).chart is not None:
                yield figure

    def _title(self, title: str) -> str:
        """What a figure of a study that declares none is called."""
        own = self._plan.title
        return f"{own} {title}" if own.endswith(("?", "!", ".")) else f"{own}: {title}"

    def _free(self, name: str) -> str:
        """Files of the study's name are its table's."""
        return f"{name}_figure" if name == self._plan.name else name

    def _material(self, figure: PlannedFigure, title: str) -> Material:
        plan = self._plan
        rows = figure.rows or tuple(row.label for row in plan.rows)
        columns = figure.columns or tuple(column.label for column in plan.columns)
        spec = table_spec(plan)
        spec = dataclasses.replace(
            spec,
            rows=tuple(row for row in spec.rows if row.label in rows),
            columns=tuple(column for column in spec.columns if column.label in columns),
            imported=tuple(r for r in spec.imported if r.row in rows and r.column in columns),
            earlier=(),
            repeats=(),
        )
        cells = [cell for cell in cell_specs(plan) if cell.row in rows and cell.column in columns]
        classes = class_tables(spec, cells, self.reader) if figure.kind == "classes" else []
        if (rows, columns) not in self._tables:
            self._tables[rows, columns] = load_table(spec, cells, self.reader)
        return Material(
            table=self._tables[rows, columns],
            title=title,
            classes=tuple(classes),
            against=figure.against or self._supervised(rows),
            labelled_share=_labelled_shares(plan, columns),
            hours=self._hours(),
        )

    def _supervised(self, rows: Sequence[str]) -> str:
        """First row of the study whose runs are all supervised."""
        methods: dict[str, set[str]] = {}
        for cell, run in self._plan.cells:
            methods.setdefault(cell.row, set()).add(run.method)
        return next((row for row in rows if methods.get(row) == {SUPERVISED}), "")

    def _hours(self) -> dict[str, float]:
        return hours_by_run(self._records)


def _labelled_shares(plan: StudyPlan, columns: Sequence[str]) -> dict[str, float]:
    """Column → share of labelled images, where all its runs have the same."""
    found: dict[str, set[float]] = {}
    for cell, run in plan.cells:
        total = run.num_labelled + run.num_unlabelled
        found.setdefault(cell.column, set()).add(run.num_labelled / total)
    return {c: next(iter(own)) for c, own in found.items() if len(own) == 1 and c in columns}
