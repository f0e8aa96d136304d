"""`rml cancel`: ask the runs of a study to stop."""

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    Plugins,
    Profile,
    Storage,
    StudyFile,
)


def cancel(
    study: StudyFile,
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
) -> None:
    """Ask every running run of a study to stop at its next step report, wherever it runs; launching
    goes on with it."""
    from rml_platform.planning.plan_from_file import planned
    from rml_platform.run.run_folder import RunFolder

    plan = planned(study, set_, profile, out=out, data_root=data_root, is_local=False)
    folders = [RunFolder.of(storage or str(out), run.run_id) for run in plan.runs]
    running = [folder for folder in folders if folder.record().state == "running"]
    for folder in running:
        folder.request_cancel()
        typer.echo(f"asked to stop: {folder.run_id}")
    if not running:
        typer.echo("nothing is running")
