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
    data; starts nothing. Writes the plan down (OUT/studies/<study>/plan.json) for `rml status`,
    `cancel`, `tables` and `figures`. Without the images it lists the cells and their cost, and
    says what is missing. Of several studies it also says which runs they share.
    """
    from rml_platform.planning.plan_file.writing import write_down
    from rml_platform.planning.plan_file.written_plan import WrittenPlan
    from rml_platform.planning.plan_from_file import planned_even_without_images
    from rml_platform.planning.plan_without_images import PlanWithoutImages
    from rml_platform.run.many_runs import records_of
    from rml_platform.views.plan_table import print_plan_without_images, print_together
    from rml_platform.views.run_table import Records, print_cells, print_summary

    place = storage or str(out)
    is_local = address is None
    shown = list[tuple[WrittenPlan | PlanWithoutImages, Records]]()
    for study in studies:
        made = planned_even_without_images(
            study, set_, profile, out=out, data_root=data_root, is_local=is_local
        )
        if len(studies) > 1:
            typer.secho(f"{study}: {made.study.title}", bold=True)
        if isinstance(made, PlanWithoutImages):
            print_plan_without_images(made)
            shown.append((made, {}))
            continue
        written = write_down(made, set_, out, place)
        records = records_of(place, (run.run_id for run in written.runs))
        print_cells(written, records)
        print_summary(written, records, is_local=is_local)
        shown.append((written, records))
    if len(shown) > 1:
        print_together(shown)
