"""Reads a study's written plan, as far as tables and figures need it.

The platform writes the whole plan; keys that the contract does not name are left to it. Imports no
pandas, because commands that only look go by it.
"""

from dataclasses import dataclass
from pathlib import Path

import pydantic
from pyarrow import ArrowException, fs

from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.study_plan import FORMAT
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError


@dataclass(frozen=True)
class _Format:
    """What every version of the file states of itself."""

    format: int


SUPERVISED = "supervised"
"""Method that others are compared with, where nobody names a row."""
_PLAN = pydantic.TypeAdapter(StudyPlan)
_FORMAT = pydantic.TypeAdapter(_Format)


def check_no_search(plan: StudyPlan) -> None:
    """Raise DashboardError for a search: its results are in no table."""
    if plan.search is not None:
        raise DashboardError(
            f"{plan.name} is a search: its worse runs were stopped by their scores, so that "
            "what is left says nothing fair of its rows, and enters no table, figure or "
            "report. Launch what won as a study without `search`; runs that are done count "
            "there"
        )


def usual_reference(plan: StudyPlan) -> str:
    """The row that others are compared with where nobody names one: the first that is supervised
    throughout, else the first that is run; empty where none is."""
    methods: dict[str, set[str]] = {}
    for cell, run in plan.cells:
        methods.setdefault(cell.row, set()).add(run.method)
    run_rows = [row.label for row in plan.rows if row.label in methods]
    supervised = (row for row in run_rows if methods[row] == {SUPERVISED})
    return next(supervised, run_rows[0] if run_rows else "")


def plan_of_json(content: bytes, file: str) -> StudyPlan:
    """The plan in the content of a plan file.

    Raises:
        DashboardError: the content is no plan, or one of another format; names `file`.
    """
    try:
        known = _FORMAT.validate_json(content).format
        if known != FORMAT:
            raise DashboardError(
                f"{file}: written in format {known} by another version of rml; this one reads "
                f"format {FORMAT}. Use that version, or write the plan anew: rml plan STUDY.yaml"
            )
        return _PLAN.validate_json(content)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise DashboardError(
            f"{file} is no plan of a study, or a damaged one ({place or 'content'}: "
            f"{first['msg']}). `rml plan STUDY.yaml` writes one"
        ) from error


def read_plan(place: str | Path, file: str) -> StudyPlan | None:
    """The plan in a file below a folder (a path, or a URI that pyarrow understands); None where
    there is no such file.

    Raises:
        DashboardError: the folder cannot be opened, or see `plan_of_json`.
    """
    text = str(place)
    shown = without_secrets(f"{text.rstrip('/')}/{file}")
    try:
        where = text if "://" in text else str(Path(text).resolve())
        filesystem, path = fs.FileSystem.from_uri(where)
        with filesystem.open_input_stream(f"{path.rstrip('/')}/{file}") as stream:
            content = stream.read()
    except FileNotFoundError:
        return None
    except (ArrowException, OSError, ValueError) as error:
        raise DashboardError(without_secrets(f"{shown} cannot be read: {error}")) from error
    return plan_of_json(content, shown)
