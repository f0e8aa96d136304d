"""`rml plan`: every cell of a study before anything is started."""

from rml_platform.commands.options import DEFAULT_OUT, Address, DataRoot, Out, Overrides, Profile, Storage, StudyFile


def plan(
    study: StudyFile,
    set_: Overrides = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
    address: Address = None,
) -> None:
    """List every cell of a study: done, running, failed or to do, what is left and how long it takes.

    Checks everything a run will need (settings, data, splits, cores and GPUs) and prepares the data; starts nothing.
    """
    from rml_platform.commands.planning import planned
    from rml_platform.commands.states import print_cells, print_summary, states_of

    made = planned(study, set_, profile, out=out, data_root=data_root, is_local=address is None)
    states = states_of(made, storage or str(out))
    print_cells(made, states)
    print_summary(made, states, is_local=address is None)
