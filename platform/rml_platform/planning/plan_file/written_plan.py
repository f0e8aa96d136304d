"""The plan of a study as a file, `studies/<study>/plan.json`: what `rml status`, `cancel`, `tables`
and `figures` go by.

It holds everything that they need, so that they work without images and study file, on any machine
that reaches the file and the records of the runs. Nothing in it depends on where the output folder
lies. Reading it imports no torch.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rml_dashboards.contract.planned import (
    PlannedEarlier,
    PlannedRepeat,
    PlannedRow,
    PlannedRun,
    StudyPlan,
)
from rml_dashboards.contract.study_plan import (
    FORMAT,
    STUDIES,
    plan_file,
    plan_file_name,
)
from rml_platform.planning.cost import StageCost
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunId, StudyName
from rml_platform.study.shown.figure_config import FigureConfig
from rml_platform.study.shown.others_config import ImportedConfig
from rml_platform.study.shown.question_config import QuestionConfig
from rml_platform.study.study_file import (
    CostConfig,
    ReportedConfig,
    ResourcesConfig,
    SearchConfig,
    TableConfig,
)
from rml_trainers.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class WrittenRow(PlannedRow):
    """One row of the study's table."""

    reported: Mapping[str, tuple[ReportedConfig, ...]]
    max_gpu_hours: float | None = None
    """What its runs may take over all launches."""


@dataclass(frozen=True, kw_only=True)
class WrittenPlugin:
    """A plug-in that a run of the study needs. Where it lay is left out: that is one machine's."""

    name: str
    hash: str
    """Of the content of its files."""


@dataclass(frozen=True, kw_only=True)
class WrittenRun(PlannedRun):
    """One run, whichever cells it fills."""

    run_id: RunId
    prepared_folder: str
    """Folder of the prepared images, relative to the output folder."""
    stages: tuple[StageCost, ...]
    kind: str = ""
    """Equal for runs that take equally long per step; empty in plans of an earlier version."""

    @property
    def num_steps(self) -> int:
        return self.stages[-1].last_step


@dataclass(frozen=True, kw_only=True)
class WrittenEarlier(PlannedEarlier):
    """A run that an earlier plan of the study had in a cell where there is another one now."""

    run_id: RunId


@dataclass(frozen=True, kw_only=True)
class WrittenRepeat(PlannedRepeat):
    """A run that repeats the run of a cell with other rounding."""

    run_id: RunId
    repeat_id: RunId


@dataclass(frozen=True, kw_only=True)
class WrittenPlan(StudyPlan):
    """Every run of a study, each once, in the order of the table, and how its results are shown:
    what the dashboards read, and what launches and their budgets go by."""

    format: Literal[1] = 1
    plugins: tuple[WrittenPlugin, ...]
    name: StudyName
    execution: Literal["auto", "train", "direct"]
    resources: ResourcesConfig
    rows: tuple[WrittenRow, ...]
    split_seeds: tuple[int, ...] | None
    table: TableConfig
    figures: tuple[FigureConfig, ...]
    cost: CostConfig | None
    imported: tuple[ImportedConfig, ...] = ()
    runs: tuple[WrittenRun, ...]
    max_gpu_hours: float | None = None
    """What its runs may take over all launches."""
    search: SearchConfig | None = None
    earlier: tuple[WrittenEarlier, ...] = ()
    repeats: tuple[WrittenRepeat, ...] = ()
    questions: tuple[QuestionConfig, ...] = ()


PLAN = Codec[WrittenPlan](WrittenPlan)


def write_plan(plan: WrittenPlan, place: str | Path) -> None:
    """Write the plan below an output folder or storage (a path or URI), whole or not at all; it
    takes the place of the one before it."""
    folder = Folder.open(place).child(STUDIES, plan.name)
    folder.write(plan_file_name(plan.profile), PLAN.encode(plan))


def read_plan(place: str | Path, study: str, profile: str | None) -> WrittenPlan | None:
    """The plan below an output folder or storage; None where none was written.

    Raises:
        ConfigError: the file is damaged, or was written by another version of the program; names
            the file and says what to do.
    """
    content = _content(place, study, profile)
    return None if content is None else _decoded(content, place, study, profile)


def _content(place: str | Path, study: str, profile: str | None) -> bytes | None:
    return Folder.open(place).child(STUDIES, study).read(plan_file_name(profile))


def _decoded(content: bytes, place: str | Path, study: str, profile: str | None) -> WrittenPlan:
    file = f"{place}/{plan_file(study, profile)}"
    try:
        return PLAN.decode(content, file)
    except DamagedFileError as error:
        known = _format_of(content)
        if known not in (None, FORMAT):
            raise ConfigError(
                f"{file}: written in format {known} by another version of rml; this one reads "
                f"format {FORMAT}. Use that version, or write the plan anew: rml plan STUDY.yaml"
            ) from error
        raise ConfigError(
            f"{error}. Unless another version of rml wrote it, write it anew: rml plan STUDY.yaml"
        ) from error


def content_of(plan: WrittenPlan, place: str | Path) -> bytes:
    """The plan's file as it lies below an output folder or storage, byte for byte; anew where there
    is none, or another plan."""
    there = _content(place, plan.name, plan.profile)
    if there is None or _decoded(there, place, plan.name, plan.profile) != plan:
        return PLAN.encode(plan)
    return there


def planned_studies(place: str | Path) -> tuple[str, ...]:
    """Studies, each with its profile, whose plans lie below an output folder or storage: as a
    person names them to a command."""
    folder = Folder.open(place).child(STUDIES)
    return tuple(
        study if profile is None else f"{study} --profile {profile}"
        for study in folder.folders()
        for profile in _profiles(folder.child(study).files())
    )


def _profiles(files: Sequence[str]) -> list[str | None]:
    """Profiles that have a plan among the files of a study's folder."""
    stems = [name.removesuffix(".json") for name in files if name.endswith(".json")]
    return [
        stem.removeprefix("plan-") if stem != "plan" else None
        for stem in stems
        if stem == "plan" or stem.startswith("plan-")
    ]


def _format_of(content: bytes) -> object:
    """Version of the format that a file states, None where it states none."""
    try:
        value = json.loads(content)
    except ValueError:
        return None
    return value.get("format") if isinstance(value, dict) else None
