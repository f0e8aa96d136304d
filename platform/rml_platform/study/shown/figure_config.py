"""The `figures` of a study file: curves of recorded metrics and diagrams of the table, as
docs/studies.md documents them."""

from collections.abc import Iterator, Sequence
from dataclasses import fields

from rml_dashboards.contract.planned import PlannedFigure
from rml_platform.study.yaml_document import KeyPath
from rml_trainers.configuration import configuration, require, suggest

MAX_METRICS = 4
"""There are four line styles that can be told apart."""


ONLY_OF_CURVES = (
    *("metric", "metrics", "from_stage", "to_stage", "scale", "y_label", "smoothing"),
    *("x_range", "y_range", "log_y"),
)


@configuration
class FigureConfig(PlannedFigure):
    """One figure, checked as a study file has it."""

    def __post_init__(self) -> None:
        plain = self.name != "" and all(
            c.isascii() and (c.isalnum() or c in "_-") for c in self.name
        )
        require(plain, "name", self.name, "letters, digits, - and _ (it names files)")
        if self.kind != "curves":
            self._check_diagram()
            return
        require(self.against == "", "against", self.against, "nothing: it is of kind `gain`")
        one = (self.metric is None) == bool(self.metrics) and self.metric != ""
        require(one, "metric", self.metric, "either metric or metrics, and not both")
        require(
            len(self.metrics) <= MAX_METRICS,
            "metrics",
            list(self.metrics),
            f"at most {MAX_METRICS}",
        )
        self._check_labels()
        require(self.from_stage >= 0, "from_stage", self.from_stage, "zero or more")
        ordered = self.to_stage is None or self.to_stage >= self.from_stage
        require(
            ordered, "to_stage", self.to_stage, f"from_stage ({self.from_stage}) or a later one"
        )
        require(self.scale > 0, "scale", self.scale, "a positive number")
        odd = self.smoothing >= 1 and self.smoothing % 2 == 1
        require(odd, "smoothing", self.smoothing, "an odd number, 1 or more")
        for key, ends in (("x_range", self.x_range), ("y_range", self.y_range)):
            require(
                ends is None or ends[0] < ends[1], key, ends, "two numbers, the smaller one first"
            )
        positive = not self.log_y or self.y_range is None or self.y_range[0] > 0
        require(positive, "y_range", self.y_range, "positive numbers, because of log_y")

    def _check_diagram(self) -> None:
        """A diagram shows the table, whose metric, scale and digits are the table's to say."""
        defaults = {one.name: one.default for one in fields(self)}
        for key in (key for key in ONLY_OF_CURVES if key != "metrics"):
            value = getattr(self, key)
            require(value == defaults[key], key, value, f"nothing: a figure of kind {self.kind}")
        require(not self.metrics, "metrics", self.metrics, f"nothing: it is of kind {self.kind}")
        is_gain = self.kind == "gain" or self.against == ""
        require(is_gain, "against", self.against, f"nothing: it is of kind {self.kind}")
        self._check_labels()

    def _check_labels(self) -> None:
        for key in ("rows", "columns"):
            require(
                getattr(self, key) != (), key, [], "at least one label; leave it out to draw all"
            )


def figure_problems(
    study: str,
    figures: Sequence[FigureConfig],
    run_rows: Sequence[str],
    quoted_rows: Sequence[str],
    columns: Sequence[str],
) -> Iterator[tuple[KeyPath, str]]:
    """Names given twice or taken, and labels that the study does not have, each with the key path
    it is about.

    `run_rows` are the labels of the rows that are run, after multiplication by the axes;
    `quoted_rows` of the others.
    """
    names = [figure.name for figure in figures]
    for i, figure in enumerate(figures):
        if figure.against and figure.against not in run_rows:
            yield (
                ("figures", i, "against"),
                f"{figure.against!r}: no such row that is run; {suggest(figure.against, run_rows)}",
            )
        if figure.name in names[:i]:
            yield ("figures", i, "name"), f"{figure.name!r}: name given twice"
        if figure.name == study:
            yield (
                ("figures", i, "name"),
                f"{figure.name!r}: files of the study's name are its table's; choose another",
            )
        for j, label in enumerate(figure.rows or ()):
            if label in quoted_rows:
                yield (
                    ("figures", i, "rows", j),
                    f"{label!r}: only reported, there is no run to draw",
                )
            elif label not in run_rows:
                yield (
                    ("figures", i, "rows", j),
                    f"{label!r}: no such row; {suggest(label, run_rows)}",
                )
        for j, label in enumerate(figure.columns or ()):
            if label not in columns:
                yield (
                    ("figures", i, "columns", j),
                    f"{label!r}: no such column; {suggest(label, columns)}",
                )
