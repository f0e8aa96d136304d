"""Plans as commands that read them get them: written, and read again."""

from collections.abc import Sequence
from pathlib import Path

from rml_platform.planning.plan import Plan, make_plan
from rml_platform.planning.plan_file.writing import to_written
from rml_platform.planning.plan_file.written_plan import WrittenPlan, read_plan, write_plan
from rml_platform.study.cells import Study


def written(study: Study, out: Path, overrides: Sequence[str] = ()) -> WrittenPlan:
    """The plan of a study whose images are at hand, by way of its file below `out`."""
    plan = make_plan(study, data_root=None, cache_root=out / "cache")
    return by_file(plan, out, overrides)


def by_file(plan: Plan, out: Path, overrides: Sequence[str] = ()) -> WrittenPlan:
    """A plan by way of its file below `out`."""
    write_plan(to_written(plan, overrides, out), out)
    found = read_plan(out, plan.study.name, plan.study.profile)
    assert found is not None
    return found
