"""A written plan as the dashboards read it from its file."""

from collections.abc import Sequence
from pathlib import Path

from rml_dashboards.studies.plan import StudyPlan, plan_of_json
from rml_platform.planning.plan_file.find_plan import find_plan
from rml_platform.planning.plan_file.written_plan import PLAN, WrittenPlan


def study_plan(plan: WrittenPlan) -> StudyPlan:
    """What tables, figures and reports go by, also of a plan that was not written down."""
    return plan_of_json(PLAN.encode(plan), f"the plan of {plan.name}")


def find_study_plans(
    studies: Sequence[str],
    overrides: Sequence[str] | None,
    plugins: Sequence[str] | None,
    profile: str | None,
    *,
    out: Path,
    storage: str | None,
    data_root: Path | None,
) -> list[StudyPlan]:
    """The plans that a command goes by; see `find_plan`. Raises DashboardError for a search."""
    found = [
        find_plan(
            study,
            overrides=overrides,
            plugins=plugins,
            profile=profile,
            out=out,
            storage=storage,
            data_root=data_root,
        )
        for study in studies
    ]
    plans = [study_plan(plan) for plan in found]
    for plan in plans:
        plan.check_no_search()
    return plans
