"""From a study file to a Plan, with a progress bar while data are prepared and warnings on
stderr."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import OnPrepare, Plan, make_plan
from rml_platform.planning.plan_without_images import PlanWithoutImages, plan_without_images
from rml_platform.study.schema import load_study
from rml_trainers.errors import DataMissingError


def planned(
    study_file: Path,
    overrides: Sequence[str] | None,
    profile: str | None,
    *,
    out: Path,
    data_root: Path | None,
    is_local: bool = True,
    tell_data: bool = False,
) -> Plan:
    """The plan of a study; `is_local` checks it against this machine, `tell_data` says what its
    data sets hold and leave out. Raises ConfigError or DataError."""
    study = load_study(study_file, overrides or (), profile)
    console = Console(stderr=True)
    machine = Machine.here() if is_local else None
    with preparing(console) as on_prepare:
        plan = make_plan(
            study,
            data_root=data_root,
            cache_root=out / "cache",
            machine=machine,
            on_prepare=on_prepare,
        )
    for account in plan.accounts if tell_data else ():
        console.print(account, markup=False, highlight=False, soft_wrap=True)
    for warning in plan.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    return plan


def planned_even_without_images(
    study_file: Path,
    overrides: Sequence[str] | None,
    profile: str | None,
    *,
    out: Path,
    data_root: Path | None,
    is_local: bool = True,
) -> Plan | PlanWithoutImages:
    """The plan of a study; what can be said of it without images where they are not at hand.

    Raises ConfigError or DataError.
    """
    try:
        return planned(
            study_file,
            overrides,
            profile,
            out=out,
            data_root=data_root,
            is_local=is_local,
            tell_data=True,
        )
    except DataMissingError as error:
        study = load_study(study_file, overrides or (), profile)
        return plan_without_images(study, str(error), data_root)


@contextmanager
def preparing(console: Console) -> Iterator[OnPrepare]:
    """Progress bar for the decoding of images; nothing at all is shown when there is nothing to
    prepare."""
    columns = (
        TextColumn("preparing {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with ExitStack() as stack:
        bars: dict[str, TaskID] = {}
        progress = Progress(
            *columns, console=console, transient=True, disable=not console.is_terminal
        )

        def tell(name: str, done: int, total: int) -> None:
            if not bars:
                stack.enter_context(progress)
            if name not in bars:
                bars[name] = progress.add_task(name, total=total)
            progress.update(bars[name], completed=done, total=total)

        yield tell
