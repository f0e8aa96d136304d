"""`rml status`: where the cells of a study stand."""

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


def status(
    study: StudyFile,
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
) -> None:
    """Show where every run of a study stands: step, loss, mIoU, age of its last sign of life, why
    it failed."""
    from rml_platform.planning.plan_from_file import planned
    from rml_platform.views.run_table import print_runs, print_summary, states_of

    made = planned(study, set_, profile, out=out, data_root=data_root, is_local=False)
    states = states_of(made, storage or str(out))
    print_runs(made, states)
    print_summary(made, states, is_local=False)
