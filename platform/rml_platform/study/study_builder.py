"""From the validated keys of a study file to a Study: labels checked, profile laid over, rows
multiplied by axes."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from rml_platform.study.cells import (
    AxisValue,
    Column,
    NoiseFloor,
    Row,
    Study,
    multiply_rows,
)
from rml_platform.study.layers import Layer, layer
from rml_platform.study.overrides import StudyOverrides
from rml_platform.study.shown.figure_config import FigureConfig, figure_problems
from rml_platform.study.shown.metric_names import metric_problems
from rml_platform.study.shown.others import read_imported, read_published
from rml_platform.study.shown.others_config import ImportedConfig
from rml_platform.study.shown.others_rows import Others
from rml_platform.study.shown.question_config import QuestionConfig, question_problems
from rml_platform.study.study_file import (
    ColumnConfig,
    ProfileConfig,
    RowConfig,
    StudyConfig,
    TableConfig,
)
from rml_platform.study.validation import shown
from rml_platform.study.yaml_document import Document, KeyPath, dotted
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError

NO_PROFILE = ProfileConfig()


def build_study(
    document: Document, config: StudyConfig, profile: str | None, overrides: StudyOverrides
) -> Study:
    """Join a study file's parts and the overrides of its settings. Raises ConfigError."""
    builder = _Builder(document, config, profile, overrides.of_base)
    if problems := tuple(dict.fromkeys(builder.problems())):
        raise ConfigError("\n".join(problems))
    return Study(
        name=config.name,
        title=builder.title(),
        description=config.description,
        source=document.source,
        source_hash=document.source_hash,
        profile=profile,
        profiles=tuple(config.profiles),
        execution=config.execution,
        resources=config.resources,
        retry=config.retry,
        base=builder.base(),
        rows=(*builder.shown_rows(), *builder.imported_rows()),
        columns=builder.columns(),
        seeds=config.seeds,
        split_seeds=config.split_seeds,
        table=builder.table(),
        cost=config.cost if profile is None else config.profiles[profile].cost,
        max_gpu_hours=config.max_gpu_hours,
        figures=builder.figures(),
        imported=builder.imported(),
        search=config.search,
        noise_floor=builder.noise_floor(),
        questions=builder.questions(),
        overrides=overrides.of_cells,
    )


class _Builder:
    """Rows, columns and axes of one study file under one profile."""

    def __init__(
        self, document: Document, config: StudyConfig, profile: str | None, of_base: Layer
    ) -> None:
        self._document = document
        self._of_base = of_base
        self._config = config
        self._profile = NO_PROFILE if profile is None else config.profiles[profile]
        self._profile_path: KeyPath = ("profiles", str(profile))
        # A study without rows or columns has one of each; axes alone name the rows by their values.
        self._rows = config.rows or (RowConfig(label=config.name),)
        self._columns = config.columns or (
            ColumnConfig(label=config.table.metric.rpartition("/")[2]),
        )

        shows_others = self._profile is NO_PROFILE or self._profile.keep_reported
        folder = Path(document.source).parent
        self._others = Others(
            read_published(config.publications if shows_others else (), folder),
            read_imported(config.imports if shows_others else (), folder),
        )

    def _layer(self, mapping: Mapping[str, Any], path: KeyPath) -> Layer:
        return layer(mapping, self._document.places, path, self._document.source)

    def title(self) -> str:
        config = self._config
        return self._profile.title or config.title or config.table.title or config.name

    def table(self) -> TableConfig:
        title = self._profile.title
        return replace(self._config.table, title=title, caption="") if title else self._config.table

    def figures(self) -> tuple[FigureConfig, ...]:
        """Titles and captions that are about another size or other data are left out, as the
        table's are."""
        if not self._profile.title:
            return self._config.figures
        own = {name: changes.keys() for name, changes in self._profile.figures.items()}
        return tuple(
            replace(
                figure,
                title=figure.title if "title" in own.get(figure.name, ()) else "",
                caption=figure.caption if "caption" in own.get(figure.name, ()) else "",
            )
            for figure in self._config.figures
        )

    def questions(self) -> tuple[QuestionConfig, ...]:
        """When something was asked is left out where other runs than the study's answer it."""
        if not self._profile.title:
            return self._config.questions
        return tuple(replace(question, asked="") for question in self._config.questions)

    def base(self) -> tuple[Layer, ...]:
        laid_over = self._layer(self._profile.base, (*self._profile_path, "base"))
        return (self._layer(self._config.base, ("base",)), laid_over, self._of_base)

    def rows(self) -> tuple[Row, ...]:
        labels = tuple(column.label for column in self._columns)
        keep = self._profile is NO_PROFILE or self._profile.keep_reported
        rows = []
        for i, row in enumerate(self._rows):
            more = self._profile.rows.get(row.label, {})
            layers = (
                self._layer(row.set, ("rows", i, "set")),
                self._layer(more, (*self._profile_path, "rows", row.label)),
            )
            label = "" if self._config.axes and not self._config.rows else row.label
            columns = () if row.reported_only else labels if row.columns is None else row.columns
            reported = row.reported if keep else {}
            rows.append(
                Row(
                    label=label,
                    layers=layers,
                    columns=columns,
                    reported=reported,
                    group=row.group,
                    priority=row.priority,
                    max_gpu_hours=row.max_gpu_hours,
                    tolerance=row.tolerance,
                )
            )
        return tuple(rows)

    def shown_rows(self) -> tuple[Row, ...]:
        """Every row that is run or quoted, multiplied, with what publications say of it."""
        return self._others.quoted(multiply_rows(self.rows(), self.axes()))

    def imported_rows(self) -> tuple[Row, ...]:
        return self._others.imported_rows()

    def imported(self) -> tuple[ImportedConfig, ...]:
        return self._others.imported

    def columns(self) -> tuple[Column, ...]:
        columns = []
        for i, column in enumerate(self._columns):
            more = self._profile.columns.get(column.label, {})
            layers = (
                self._layer(column.set, ("columns", i, "set")),
                self._layer(more, (*self._profile_path, "columns", column.label)),
            )
            table = self._config.table
            is_higher_better = column.higher_is_better
            if is_higher_better is None and column.metric in (None, table.metric):
                is_higher_better = table.higher_is_better
            columns.append(
                Column(
                    label=column.label,
                    layers=layers,
                    metric=column.metric or table.metric,
                    higher_is_better=is_higher_better,
                    aggregate=column.aggregate or table.aggregate,
                    last_k=column.last_k or table.last_k,
                )
            )
        return tuple(columns)

    def noise_floor(self) -> NoiseFloor | None:
        """The run that is repeated, by its labels."""
        config = self._config.noise_floor
        if config is None:
            return None
        first = next((row for row in self._drawn_rows() if row.label == config.row), None)
        columns = first.columns if first else ()
        path: KeyPath = ("noise_floor", "repeats")
        return NoiseFloor(
            row=config.row,
            column=config.column or (columns[0] if columns else ""),
            seed=self._config.seeds[0] if config.seed is None else config.seed,
            repeats=tuple(
                tuple(
                    replace(one, path=("runtime", *one.path))
                    for one in self._layer(settings, (*path, number))
                )
                for number, settings in enumerate(config.repeats)
            ),
        )

    def _drawn_rows(self) -> tuple[Row, ...]:
        return multiply_rows(self.rows(), self.axes())

    def _noise_floor_problems(self) -> Iterator[str]:
        floor = self.noise_floor()
        if floor is None:
            return
        rows = {row.label: row.columns for row in self._drawn_rows() if row.columns}
        if floor.row not in rows:
            about = f"no row that is run has this label; {suggest(floor.row, rows)}"
            yield self._problem(("noise_floor", "row"), f"{shown(floor.row)}: {about}")
        elif floor.column not in rows[floor.row]:
            about = f"no column of that row; {suggest(floor.column, rows[floor.row])}"
            yield self._problem(("noise_floor", "column"), f"{shown(floor.column)}: {about}")
        if floor.seed not in self._config.seeds:
            about = f"none of the study's seeds {shown(list(self._config.seeds))}"
            yield self._problem(("noise_floor", "seed"), f"{floor.seed}: {about}")

    def axes(self) -> dict[str, tuple[AxisValue, ...]]:
        return {
            key: tuple(
                AxisValue(value, self._layer({key: value}, ("axes", key, i)))
                for i, value in enumerate(values)
            )
            for key, values in self._config.axes.items()
        }

    def problems(self) -> Iterator[str]:
        """What validation of single keys cannot see: labels, lengths and settings that do not go
        together."""
        config = self._config
        columns = [column.label for column in self._columns]
        rows = [row.label for row in self._rows]
        yield from self._twice("rows", rows)
        yield from self._twice("columns", columns)
        for i, row in enumerate(self._rows):
            yield from self._unknown(("rows", i, "columns"), row.columns or (), columns, "column")
            yield from self._unknown(("rows", i, "reported"), row.reported, columns, "column")
        for name, profile in config.profiles.items():
            yield from self._unknown(("profiles", name, "rows"), profile.rows, rows, "row")
            yield from self._unknown(
                ("profiles", name, "columns"), profile.columns, columns, "column"
            )
            names = [figure.name for figure in config.figures]
            yield from self._unknown(
                ("profiles", name, "figures"), profile.figures, names, "figure"
            )
        if config.split_seeds is not None and len(config.split_seeds) != len(config.seeds):
            lengths = (
                f"{len(config.split_seeds)} split seeds for {len(config.seeds)} seeds; give "
                "one for each"
            )
            yield self._problem(("split_seeds",), f"{shown(list(config.split_seeds))}: {lengths}")
        yield from self._seeds_elsewhere()
        for path, text in metric_problems(config):
            yield self._problem(path, text)
        yield from self._noise_floor_problems()
        drawn = self._drawn_rows()
        run = [row.label for row in drawn if row.columns]
        quoted = [row.label for row in drawn if not row.columns]
        yield from self._others.problems(drawn, self.columns(), self.table().scale)
        for path, text in figure_problems(config.name, config.figures, run, quoted, columns):
            yield self._problem(path, text)
        scored = [*run, *(one.row for one in self.imported())]
        metrics = {column.label: column.metric for column in self.columns()}
        for path, text in question_problems(config.questions, scored, metrics):
            yield self._problem(path, text)

    def _seeds_elsewhere(self) -> Iterator[str]:
        parts: tuple[Row | Column, ...] = (*self.rows(), *self.columns())
        layers = [*self.base(), *(one for part in parts for one in part.layers)]
        layers += [value.layer for values in self.axes().values() for value in values]
        for assignment in (a for one in layers for a in one):
            if assignment.path == ("seed",):
                yield (
                    f"{assignment.place}: seed: the cells of a study differ by seed; give "
                    "`seeds: [...]` instead"
                )
            if assignment.path == ("split", "seed") and self._config.split_seeds is not None:
                yield (
                    f"{assignment.place}: split.seed: `split_seeds` gives it already; keep one "
                    "of the two"
                )

    def _twice(self, key: str, labels: list[str]) -> Iterator[str]:
        for i, label in enumerate(labels):
            if label in labels[:i]:
                yield self._problem((key, i, "label"), f"{shown(label)}: label given twice")

    def _unknown(self, path: KeyPath, labels: Any, known: list[str], what: str) -> Iterator[str]:
        for label in labels:
            if label not in known:
                yield self._problem((*path, label), f"no such {what}; {suggest(label, known)}")

    def _problem(self, path: KeyPath, text: str) -> str:
        return f"{self._document.place(path)}: {dotted(path)}: {text}"
