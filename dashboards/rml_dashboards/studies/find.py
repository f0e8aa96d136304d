"""Which written plan is meant by a study's file, by its name, or by the plan's own path."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.study_plan import plan_file, source_hash
from rml_dashboards.errors import DashboardError
from rml_dashboards.studies.plan import read_plan


def find_plan(study: str | Path, *, places: Sequence[str], profile: str | None) -> StudyPlan:
    """The plan of a study.

    Args:
        study: path of the study file, path of its `plan.json`, or its name.
        places: output folder and storage, where the plan may lie.
    Raises:
        DashboardError: there is no such plan, it is damaged, or it is not that of the file as it
            is now.
    """
    path = Path(study)
    if path.suffix == ".json":
        plan = read_plan(path.parent, path.name)
        if plan is None:
            raise DashboardError(f"{path}: no such file; `rml plan STUDY.yaml` writes a plan")
        return plan
    if path.suffix in (".yaml", ".yml"):
        return _of_file(path, places, profile)
    return _of_name(str(study), places, profile)


def study_name(study: str | Path) -> str:
    """Name of a study by its file, or the name itself. Raises DashboardError."""
    path = Path(study)
    return str(_content(path)[1]["name"]) if path.suffix in (".yaml", ".yml") else str(study)


def _of_name(name: str, places: Sequence[str], profile: str | None) -> StudyPlan:
    file = plan_file(name, profile)
    found = [read_plan(place, file) for place in dict.fromkeys(places)]
    plans = [plan for plan in found if plan is not None]
    if not plans:
        where = " or ".join(dict.fromkeys(places))
        raise DashboardError(
            f"{name}: no plan {file} under {where}; `rml plan STUDY.yaml` writes one"
        )
    return max(plans, key=lambda one: one.written_at)


def _of_file(path: Path, places: Sequence[str], profile: str | None) -> StudyPlan:
    """The plan of a study file, where it is the plan of that file: numbers of another study are
    never shown silently."""
    content, values = _content(path)
    name = str(values["name"])
    plan = _of_name(name, places, profile)
    options = f" --profile {profile}" if profile else ""
    if source_hash(content, path, values) != plan.source_hash:
        raise DashboardError(
            f"{path} has changed since its plan was written ({plan.written_at}). Write it anew, "
            f"`rml plan {path}{options}`, or give the name, {name!r}, to see the plan as it was"
        )
    if plan.overrides:
        raise DashboardError(
            f"{path}: its plan was written with --set {', '.join(plan.overrides)}. Write it anew, "
            f"`rml plan {path}{options}`, or give the name, {name!r}, to see the plan as it was"
        )
    return plan


def _content(path: Path) -> tuple[bytes, dict[str, Any]]:
    """Content of a study file, as bytes and as values, with a name among them."""
    try:
        content = path.read_bytes()
        values = _texts(content) or {}
        name = values.get("name")
    except FileNotFoundError as error:
        raise DashboardError(f"{path}: no such file") from error
    except (OSError, AttributeError, RecursionError, yaml.YAMLError) as error:
        raise DashboardError(f"{path}: cannot be read as a study ({error})") from error
    if not isinstance(name, str):
        raise DashboardError(f"{path}: has no `name`, so it is no study")
    return content, values


def _texts(content: bytes) -> Any:
    """What a YAML file says, every value as its text: whether it is sound, and what it stands for,
    is for who makes the plan to say."""
    loader = yaml.BaseLoader(content)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
