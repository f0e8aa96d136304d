"""The `questions` of a study file: differences of rows that are tested together, as docs/studies.md
documents them."""

from collections.abc import Iterator, Mapping, Sequence

from rml_dashboards.contract.planned import PlannedDifference, PlannedQuestion
from rml_platform.study.yaml_document import KeyPath
from rml_trainers.configuration import configuration, require, suggest


@configuration
class DifferenceConfig(PlannedDifference):
    """A row and the one that is subtracted from it."""

    def __post_init__(self) -> None:
        require(self.row != self.against, "against", self.against, "another row than `row`")


@configuration
class QuestionConfig(PlannedQuestion):
    """One family of differences, checked as a study file has it."""

    differences: tuple[DifferenceConfig, ...]

    def __post_init__(self) -> None:
        require(self.title.strip() != "", "title", self.title, "the question, in words")
        require(
            len(self.differences) >= 1,
            "differences",
            [],
            "at least one, as [{row: RML, against: IML}]",
        )
        for key in ("columns", "seeds"):
            require(
                getattr(self, key) != (), key, [], "at least one; leave it out to ask about all"
            )
        is_other = self.beyond not in (self.columns or ())
        require(is_other, "beyond", self.beyond, "a column that is not among `columns`")


def question_problems(
    questions: Sequence[QuestionConfig],
    rows: Sequence[str],
    columns: Mapping[str, str],
) -> Iterator[tuple[KeyPath, str]]:
    """Labels that the study does not have, and titles given twice, each with the key path it is
    about. (Seeds change with `--set` and profiles: those that are not there have no pairs.)

    Args:
        rows: labels of the rows that are run or imported, after multiplication by the axes.
        columns: label → metric.
    """
    titles = [question.title for question in questions]
    for i, question in enumerate(questions):
        if question.title in titles[:i]:
            yield ("questions", i, "title"), f"{question.title!r}: title given twice"
        for j, difference in enumerate(question.differences):
            for key in ("row", "against"):
                label = getattr(difference, key)
                if label not in rows:
                    yield (
                        ("questions", i, "differences", j, key),
                        f"{label!r}: no such row that has runs; {suggest(label, rows)}",
                    )
        named: dict[KeyPath, str] = {
            ("columns", j): label for j, label in enumerate(question.columns or ())
        }
        if question.beyond:
            named["beyond",] = question.beyond
        for path, label in named.items():
            if label not in columns:
                yield (
                    ("questions", i, *path),
                    f"{label!r}: no such column; {suggest(label, columns)}",
                )
        there = columns.get(question.beyond)
        for label in (question.columns or columns) if there else ():
            if columns.get(label, there) != there:
                yield (
                    ("questions", i, "beyond"),
                    f"{question.beyond!r} shows {there}, and {label!r} shows {columns[label]}: "
                    "only those of one metric are subtracted; name the `columns` that have it",
                )
