"""`rml records`: the records of a study's runs as one small file, back, and made again."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Plugins,
    Storage,
    StudiesOrNames,
)
from rml_platform.commands.plan_options import PlanOptions, takes_plan_options

if TYPE_CHECKING:
    from rml_platform.planning.plan_file.written_plan import WrittenPlan

app = typer.Typer(
    help="Records of finished runs in one small file, without networks; back, and made again.",
    no_args_is_help=True,
)


@app.command()
@takes_plan_options
def pack(
    studies: StudiesOrNames,
    to: Annotated[Path, typer.Option(metavar="FILE.zip", help="The file that is written.")],
    asked: PlanOptions = PlanOptions(),
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="With the pictures that a report shows: of one run of each row and column.",
        ),
    ] = False,
) -> None:
    """Write what was recorded of the studies' finished runs, and their plans, to one zip file.

    It holds configurations, every value that was measured and the scores; no networks. Whoever has
    it can write every table, figure and report again. The same records give the same bytes.
    """
    from rml_dashboards.contract.study_plan import plan_file
    from rml_platform.planning.plan_file.written_plan import content_of
    from rml_platform.run.files.record_archive import pack_records

    plans = [asked.plan_of(study) for study in studies]
    packed = pack_records(
        asked.place,
        [run.run_id for plan in plans for run in plan.runs],
        [(plan_file(plan.name, plan.profile), content_of(plan, asked.place)) for plan in plans],
        to,
        pictures_of=[cell for plan in plans for cell in _cells_of(plan)] if pictures else (),
    )
    size = to.stat().st_size / 1e6
    typer.echo(f"{to}: {len(packed.runs)} runs, {size:.1f} MB")
    for run_id in packed.left:
        typer.echo(f"not done, left out: {run_id}")


def _cells_of(plan: "WrittenPlan") -> list[list[str]]:
    """Ids of the runs of each row and column, by seed as the study has them."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for run in plan.runs:
        for cell in run.cells:
            found.setdefault((cell.row, cell.column), {})[cell.seed] = run.run_id
    return [[own[seed] for seed in plan.seeds if seed in own] for own in found.values()]


@app.command()
def unpack(
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `pack` wrote.")],
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
) -> None:
    """Lay the records of an archive where tables, figures and launches look for them.

    Runs that are here already stay as they are; one that was cut off while it was unpacked is
    completed. A launch of the study trains the runs that are neither here nor in the archive.
    """
    from rml_platform.run.files.record_archive import unpack_records

    done = unpack_records(archive, out, storage or str(out))
    typer.echo(f"{storage or out}: {len(done.runs)} runs unpacked")
    if done.left:
        typer.echo(f"left as they are here: {', '.join(done.left)}")


@app.command()
def reproduce(
    archive: Annotated[Path, typer.Argument(metavar="FILE.zip", help="What `pack` wrote.")],
    run_ids: Annotated[
        list[str],
        typer.Argument(metavar="RUN_ID…", help="Runs of the archive, as tables name them."),
    ],
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    data_root: DataRoot = None,
) -> None:
    """Train recorded runs again and compare every value that was recorded, to the bit; times and
    what the machine was busy with apart.

    Below --out, in a folder of its own; what is cut off goes on by the same command. Equal bits
    need the libraries and the kind of processor that the run was recorded with. Exit code 1: a
    value is another.
    """
    from rich.console import Console

    from rml_platform.launch.stop_signals import exit_code_of
    from rml_platform.planning.plan_from_file import preparing
    from rml_platform.views.reproduction import recorded_runs, told
    from rml_platform.views.reproduction import reproduce as train_again

    console = Console(stderr=True)
    same = True
    with contextlib.ExitStack() as stack:
        with preparing(console) as tell:
            asked = recorded_runs(archive, run_ids, out=out, data_root=data_root, on_prepare=tell)
            recorded = stack.enter_context(asked)
        for one in recorded:
            try:
                run = train_again(one, out=out, data_root=data_root, console=console)
            except KeyboardInterrupt as stop:
                typer.echo("stopped; the same command goes on", err=True)
                raise typer.Exit(exit_code_of(stop)) from None
            typer.echo(told(run))
            same = same and run.is_same
    if not same:
        raise typer.Exit(1)
