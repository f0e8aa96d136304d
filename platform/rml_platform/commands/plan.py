"""`rml plan`: every cell of a study before anything is started."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    Address,
    DataRoot,
    Out,
    Overrides,
    Plugins,
    Profile,
    StorageToWrite,
    StudyFiles,
)

if TYPE_CHECKING:
    from rml_platform.planning.costs.forecast import Price, RunForecast
    from rml_platform.planning.costs.measured import Probe
    from rml_platform.planning.plan import Plan, PlannedRun
    from rml_platform.planning.plan_file.written_plan import WrittenPlan
    from rml_platform.study.study_file import ResourcesConfig
    from rml_platform.views.run_table import Records

PriceOption = Annotated[
    str | None,
    typer.Option(metavar="AMOUNT/h", help="Of one GPU (or core): 2.5/h, '2 EUR/h'."),
]
ProbeOption = Annotated[
    bool,
    typer.Option(
        "--probe",
        help="Train 20 steps of each kind of run that nothing is known of, on this machine.",
    ),
]
AtOnce = Annotated[
    int | None,
    typer.Option(min=1, help="Runs at the same time; default: what the machine or cluster holds."),
]


def plan(
    studies: StudyFiles,
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: StorageToWrite = None,
    data_root: DataRoot = None,
    address: Address = None,
    price: PriceOption = None,
    probe: ProbeOption = False,
    at_once: AtOnce = None,
) -> None:
    """List every cell of a study: done, running, failed or to do, and what is left in device-hours,
    wall time, storage and money.

    Checks everything a run will need (settings, data, splits, cores and GPUs) and prepares the
    data; starts nothing. Writes the plan down (OUT/studies/<study>/plan.json) for `rml status`,
    `cancel`, `tables` and `figures`. Without the images it lists the cells and their cost, and
    says what is missing. Of several studies it also says which runs they share.
    """
    from rml_platform.planning.costs.forecast import Price
    from rml_platform.planning.plan_file.writing import write_down
    from rml_platform.planning.plan_file.written_plan import WrittenPlan
    from rml_platform.planning.plan_from_file import planned_even_without_images
    from rml_platform.planning.plan_without_images import PlanWithoutImages
    from rml_platform.run.many_runs import records_of
    from rml_platform.views.plan_table import print_plan_without_images, print_together
    from rml_platform.views.run_table import Records, print_cells, print_counts
    from rml_trainers.errors import ConfigError

    place = storage or str(out)
    is_local = address is None
    if probe and address is not None:
        raise ConfigError(
            f"--probe measures this machine, and the runs are for the cluster at {address}: probe "
            "on a machine of its kind with the same --out and no --address, or go without, since "
            "runs that have been trained tell the same"
        )
    paid = Price.parse(price) if price is not None else None
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
        print_counts(written, records)
        _print_costs(made, written, records, out, place, address, at_once, paid, probe=probe)
        shown.append((written, records))
    if len(shown) > 1:
        print_together(shown)


def _print_costs(
    made: "Plan",
    written: "WrittenPlan",
    records: "Records",
    out: Path,
    place: str,
    address: str | None,
    at_once: int | None,
    price: "Price | None",
    *,
    probe: bool,
) -> None:
    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.launch.sizing import room_for
    from rml_platform.planning.costs.forecast import Devices, forecast
    from rml_platform.planning.costs.measured import bytes_of_kinds
    from rml_platform.planning.costs.probe import gpu_kinds_here, probes_of
    from rml_platform.views.runs.cost_table import print_costs

    if all(records[run.run_id].result is not None for run in written.runs):
        return  # nothing is left that could cost something
    room = room_for(made, OutputLayout(root=out, storage=place), address, at_once)
    kinds = room.gpu_kinds if address is not None else gpu_kinds_here()
    uses_cpu = all(run.config.runtime.device == "cpu" for run in made.runs)
    devices = Devices.of(written.resources, room.gpus, kinds, uses_cpu=uses_cpu)
    probes = probes_of(
        written,
        out,
        is_local=address is None,
        gpu_kinds=None if devices.unit == "core" else room.gpu_kinds,
    )
    sizes = bytes_of_kinds(place, written.runs, records)

    def left() -> "list[RunForecast]":
        return forecast(written, records, probes=probes, bytes_of_kind=sizes, devices=devices)

    if probe:
        known = ("its own pace", "runs of its kind", "probe")
        wanted = {run.run_id for run in left() if run.source not in known}
        runs = [run for run in made.runs if run.run_id in wanted]
        probes = dict(probes) | _probed(runs, written.resources, out)
    print_costs(written, left(), devices, at_once=room.at_once, where=room.where, price=price)


def _probed(
    runs: "Sequence[PlannedRun]", resources: "ResourcesConfig", out: Path
) -> "dict[str, Probe]":
    """Probe each kind of run; on a GPU that no launch of this user has meanwhile."""
    from rml_platform.launch.direct import own_gpu
    from rml_platform.planning.costs.probe import needs_gpu, probe_all

    def tell(text: str) -> None:
        typer.echo(text, err=True)

    with own_gpu(needs_gpu(runs, resources), lambda: True, tell) as index:
        return probe_all(runs, resources, out, tell, index or 0)
