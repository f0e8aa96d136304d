"""`rml cancel`: ask the runs of a study to stop."""

import typer

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


def cancel(
    study: StudyOrName,
    set_: Overrides = None,
    plugin: PluginsForPlanning = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
) -> None:
    """Ask every running run of a study to stop at its next step report, wherever it runs; launching
    goes on with it.

    Goes by the plan that `rml plan` or `rml launch` wrote: needs no images.
    """
    from rml_platform.planning.plan_file.find_plan import find_plan
    from rml_platform.run.many_runs import records_of
    from rml_platform.run.run_folder import RunFolder

    plan = find_plan(
        study,
        overrides=set_,
        plugins=plugin,
        profile=profile,
        out=out,
        storage=storage,
        data_root=data_root,
    )
    place = storage or str(out)
    records = records_of(place, (run.run_id for run in plan.runs))
    running = [run_id for run_id, record in records.items() if record.state == "running"]
    for run_id in running:
        RunFolder.of(place, run_id).request_cancel()
        typer.echo(f"asked to stop: {run_id}")
    if not running:
        typer.echo("nothing is running")
