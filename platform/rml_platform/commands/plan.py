"""`rml plan`: every cell of a study before anything is started."""

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    Address,
    DataRoot,
    Out,
    Overrides,
    Plugins,
    Profile,
    Storage,
    StudyFiles,
)


def plan(
    studies: StudyFiles,
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
    address: Address = None,
) -> None:
    """List every cell of a study: done, running, failed or to do, what is left and how long it
    takes.

    Checks everything a run will need (settings, data, splits, cores and GPUs) and prepares the
    data; starts nothing. Without the images it lists the cells and their cost, and says what is
    missing. Of several studies it also says which runs they share.
    """
    from rml_platform.planning.plan_from_file import planned_or_outlined
    from rml_platform.planning.plan_without_images import Outline
    from rml_platform.run.run_folder import RunRecord
    from rml_platform.views.plan_table import print_outline, print_together
    from rml_platform.views.run_table import print_cells, print_summary, states_of

    shown = []
    for study in studies:
        made = planned_or_outlined(
            study, set_, profile, out=out, data_root=data_root, is_local=address is None
        )
        if len(studies) > 1:
            typer.secho(f"{study}: {made.study.title}", bold=True)
        states: dict[str, RunRecord] = {}
        if isinstance(made, Outline):
            print_outline(made)
        else:
            states = states_of(made, storage or str(out))
            print_cells(made, states)
            print_summary(made, states, is_local=address is None)
        shown.append((made, states))
    if len(shown) > 1:
        print_together(shown)
