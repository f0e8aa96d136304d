"""`rml launch` and `rml demo`: all runs of studies on Ray, then their tables."""

import functools
import time
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
    TrackingUri,
)
from rml_trainers.runtime.loading import loading

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from rml_platform.launch.outcomes import LaunchReport
    from rml_platform.launch.output_layout import OutputLayout
    from rml_platform.launch.scheduling.budgets import Terms
    from rml_platform.planning.plan_file.written_plan import WrittenPlan

MaxConcurrent = Annotated[
    int | None,
    typer.Option(min=1, help="Most runs at the same time; default: what cores and GPUs allow."),
]
Ship = Annotated[
    bool,
    typer.Option(
        "--ship", help="Send this version of the code, plug-ins too, along to the cluster's nodes."
    ),
]

WithoutRay = Annotated[
    bool,
    typer.Option(
        "--without-ray",
        help="One run after the other in this process, each with all cores; needs no Ray.",
    ),
]

MaxGpuHours = Annotated[
    float | None,
    typer.Option(
        min=0, help="GPU-hours (core-hours without GPUs) that this launch may spend at most."
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="Start nothing that would end later, and stop what runs: 6h, 90m, 2026-12-01T08:00.",
    ),
]

Notify = Annotated[
    list[str] | None,
    typer.Option(
        metavar="URL",
        help="POST JSON (Slack's or any) here when a study ends, a run fails for good, or nothing "
        "has moved for an hour. May be repeated.",
    ),
]


SystemMetrics = Annotated[
    bool,
    typer.Option(
        "--system-metrics",
        help="Runs also record what they use of their machine: CPU, memory, disk, network, GPU.",
    ),
]


def launch(
    studies: StudyFiles,
    set_: Overrides = None,
    plugin: Plugins = None,
    profile: Profile = None,
    out: Out = DEFAULT_OUT,
    storage: StorageToWrite = None,
    data_root: DataRoot = None,
    tracking_uri: TrackingUri = None,
    address: Address = None,
    max_concurrent: MaxConcurrent = None,
    without_ray: WithoutRay = False,
    ship: Ship = False,
    max_gpu_hours: MaxGpuHours = None,
    deadline: Deadline = None,
    notify: Notify = None,
    system_metrics: SystemMetrics = False,
) -> None:
    """Train every run of a study that is not done yet, track it, and print the study's table.

    What is finished is left alone and what was cut off goes on from its checkpoint: launch again as
    often as you like. Several studies are checked first, all of them, and then trained in one
    queue, in turns; a run that they share is trained once. Exit code 1: a run failed; 2: it could
    not start; 3: budget or deadline left runs; 75: Ray died; 130, 143: Ctrl-C, SIGTERM.
    """
    with loading():
        from rich.console import Console

        from rml_platform.launch.launch import launch as carry_out
        from rml_platform.launch.output_layout import OutputLayout
        from rml_platform.planning.plan_file.writing import write_down
        from rml_platform.planning.plan_from_file import planned

    console = Console()
    layout = OutputLayout(root=out, storage=storage or str(out))
    terms = _terms(max_gpu_hours, deadline)
    studies = _checked(studies, set_, profile)
    _check_asked(address, max_concurrent, notify, tracking_uri, ship=ship, with_ray=not without_ray)
    plan_of = functools.partial(planned, out=out, data_root=data_root, tell_data=True)
    plans = [plan_of(one, set_, profile, is_local=address is None) for one in studies]
    written = [write_down(plan, set_, out, layout.storage) for plan in plans]
    for plan in plans:
        console.print(f"{plan.study.title}: {len(plan.runs)} runs", markup=False, highlight=False)
    report = carry_out(
        plans,
        layout=layout,
        data_root=data_root,
        tracking_uri=tracking_uri,
        address=address,
        max_concurrent=max_concurrent,
        ship=ship,
        with_ray=not without_ray,
        terms=terms,
        notify=notify or (),
        system_metrics=system_metrics,
        console=console,
    )
    _print(report, dict(zip(studies, written, strict=True)), layout, tracking_uri, console)
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _checked(studies: "Sequence[Path]", set_: list[str] | None, profile: str | None) -> list[Path]:
    """Each study file once. Raises ConfigError for an error in any of them, and where two have one
    name: the plan of one would be written over that of the other."""
    from rml_platform.launch.sizing import check_names
    from rml_platform.study.schema import load_study

    once = list(dict.fromkeys(studies))
    check_names([load_study(one, set_ or (), profile) for one in once])
    return once


def _check_asked(
    address: str | None,
    max_concurrent: int | None,
    notify: list[str] | None,
    tracking_uri: str | None,
    *,
    ship: bool,
    with_ray: bool,
) -> None:
    """Raises ConfigError or TrackingError for what a launch would refuse later: data are prepared
    and plans written only for what can be launched."""
    from rml_platform.launch.direct import check_is_for_one_process
    from rml_platform.launch.on_ray.carrying_out import check_ship
    from rml_platform.launch.scheduling.notices import check_urls
    from rml_platform.tracking.reaching import check_reachable

    check_urls(notify or ())
    if with_ray:
        check_ship(address, ship=ship)
    else:
        # What studies ask for counts where there is something to train.
        check_is_for_one_process(None, address=address, ship=ship, max_concurrent=max_concurrent)
    check_reachable(tracking_uri)


def _print(
    report: "LaunchReport",
    studies: "Mapping[Path, WrittenPlan]",
    layout: "OutputLayout",
    tracking_uri: str | None,
    console: "Console",
) -> None:
    """What became of each study, and its table."""
    from rml_platform.views.summary import print_launch  # pandas: the runs need not wait for it

    for study, plan in studies.items():
        own = report.of({run.run_id for run in plan.runs})
        print_launch(plan, own, layout, tracking_uri, study, console)


def _terms(max_gpu_hours: float | None, deadline: str | None) -> "Terms":
    from rml_platform.launch.scheduling.budgets import Terms, parse_deadline

    until = parse_deadline(deadline, time.time()) if deadline is not None else None
    return Terms(max_gpu_hours=max_gpu_hours, deadline=until)


def demo(
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    tracking_uri: TrackingUri = None,
    address: Address = None,
) -> None:
    """Run the embedded demo study end to end: three methods, two seeds, pictures that the program
    draws itself."""
    launch([demo_study()], set_=set_, out=out, tracking_uri=tracking_uri, address=address)


def demo_study() -> Path:
    """The demo's file: in the installed package, or in the checkout that it is installed from."""
    import rml_platform
    from rml_trainers.errors import ConfigError

    package = Path(rml_platform.__file__).parent
    places = (
        package / "search_spaces" / "demo.yaml",
        package.parents[1] / "search_spaces" / "demo.yaml",
    )
    for place in places:
        if place.is_file():
            return Path(_shortest(place))
    raise ConfigError(
        f"demo.yaml is missing from this installation (looked at {', '.join(map(str, places))})"
    )


def _shortest(path: Path) -> str:
    """Path relative to the working folder where that is a part of it, for commands a person can
    copy."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
