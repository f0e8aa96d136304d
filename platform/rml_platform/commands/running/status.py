"""`rml status`: where the cells of a study stand."""

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    PluginsForPlanning,
    Profile,
    Storage,
    StudyOrName,
)


def status(
    study: StudyOrName,
    set_: Overrides = None,
    plugin: PluginsForPlanning = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
) -> None:
    """Show where every run of a study stands: step, loss, mIoU, age of its last sign of life, why
    it failed.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_platform.planning.plan_file.find_plan import find_plan
    from rml_platform.run.many_runs import records_of
    from rml_platform.views.run_table import print_runs, print_summary

    plan = find_plan(
        study,
        overrides=set_,
        plugins=plugin,
        profile=profile,
        out=out,
        storage=storage,
        data_root=data_root,
    )
    records = records_of(storage or str(out), (run.run_id for run in plan.runs))
    print_runs(plan, records)
    print_summary(plan, records, is_local=False)
