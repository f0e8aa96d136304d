"""What a person reads when a launch has come to its end: what became of it, the table, and what to
type next."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.text import Text

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.contract.uris import has_secrets, without_secrets
from rml_dashboards.records.opening import open_records
from rml_dashboards.studies.table import cell_specs, table_spec
from rml_dashboards.tables.console import console_table
from rml_dashboards.tables.publish import load_table, write_table
from rml_platform.launch.live_view import duration
from rml_platform.launch.outcomes import LaunchReport
from rml_platform.launch.output_layout import DEFAULT_OUT, OutputLayout
from rml_platform.launch.scheduling.wishes import CANCELLED
from rml_platform.planning.plan import PlannedRun
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.many_runs import records_of
from rml_platform.run.run_folder import RunRecord
from rml_platform.tracking.opening import tracking_uri_or_default
from rml_platform.views.runs.study_summary import send_summary

BEST_OF_A_SEARCH = 5


def print_launch(
    plan: WrittenPlan,
    report: LaunchReport,
    layout: OutputLayout,
    tracking_uri: str | None,
    study_file: Path,
    console: Console,
) -> None:
    """Outcome, failures, table, and where everything is."""
    console.print(Text(_outcome(report)))
    for run_id, failure in report.failed.items():
        console.print(Text(f"failed: {run_id}: {failure.kind}: {failure.message}", style="red"))
    if report.untracked:
        note = (
            f"not in MLflow yet, it could not be reached: {', '.join(report.untracked)}; the table "
            "is made from the run folders, which hold everything"
        )
        console.print(Text(note, style="yellow"), soft_wrap=True)
    if plan.search is not None:
        _print_search(plan, layout, console)
    source = NO_TRACKER if report.untracked else tracking_uri
    files = [] if plan.search else _print_table(plan, layout, source, console)
    _print_places(layout, tracking_uri, files, console)
    where = f"{_of_study(plan)}{_places(layout)}{_tracking(tracking_uri)}"
    if report.untracked:
        command = f"rml tracking sync {shlex.quote(str(study_file))}{where}"
        _print_next(command, "send them once MLflow is back; a further launch does, too", console)
    if plan.figures and files:
        command = f"rml figures {shlex.quote(str(study_file))}{where}"
        _print_next(command, f"draw {', '.join(figure.name for figure in plan.figures)}", console)
    cancelled = [i for i, reason in report.held_back.items() if reason == CANCELLED]
    for limit, reasons in _by_limit(report.over_budget).items():
        left = f"{len(reasons)} run{'s' if len(reasons) > 1 else ''} left"
        console.print(Text(f"{left} by {limit}: {reasons[0]}", style="yellow"), soft_wrap=True)
    if cancelled:
        command = f"rml cancel {shlex.quote(str(study_file))}{_of_study(plan)}{_places(layout)}"
        count = f"{len(cancelled)} cancelled run{'s' if len(cancelled) > 1 else ''}"
        _print_next(f"{command} --undo", f"take {count} back, then launch again", console)
    held_back = len(cancelled) + len(report.by_the_search)
    if len(report.left) > held_back or report.failed or report.running_elsewhere:
        command = f"rml launch {shlex.quote(str(study_file))}{where}"
        _print_next(command, "finish what is left", console)


def _by_limit(over_budget: Mapping[str, str]) -> dict[str, list[str]]:
    """What each limit says of the runs that it left."""
    limits: dict[str, list[str]] = {}
    for why in over_budget.values():
        limit, _, reason = why.rpartition(": ")
        limits.setdefault(limit or "the deadline", []).append(reason)
    return limits


def print_run(
    run: PlannedRun,
    record: RunRecord,
    layout: OutputLayout,
    tracking_uri: str | None,
    console: Console,
) -> None:
    """Outcome of one run."""
    if record.result is not None:
        scores = ", ".join(f"{e.network} {100 * e.miou:.1f}" for e in record.result.evaluations)
        took = duration(record.result.seconds)
        console.print(Text(f"done: {run.run_id}: mIoU {scores} (per cent); {took}", style="green"))
    elif record.failure is not None:
        failure = record.failure
        console.print(
            Text(f"{record.state}: {run.run_id}: {failure.kind}: {failure.message}", style="red")
        )
    _print_places(layout, tracking_uri, [], console, run.run_id)
    if record.result is not None:
        _print_next(
            f"rml predict {run.run_id} IMAGE…{_places(layout)}",
            "masks and overlays of your own images",
            console,
        )


def _outcome(report: LaunchReport) -> str:
    cancelled = [reason for reason in report.held_back.values() if reason == CANCELLED]
    counts = (
        (len(report.done), "finished"),
        (len(report.done_elsewhere), "finished by another launch"),
        (len(report.done_before), "done before"),
        (len(report.running_elsewhere), "running in another launch"),
        (len(report.failed), "failed"),
        (len(report.left) - len(cancelled) - len(report.by_the_search), "left"),
        (len(cancelled), "cancelled"),
        (len(report.by_the_search), "stopped by the search"),
    )
    parts = ", ".join(f"{count} {what}" for count, what in counts if count)
    others = (report.done_elsewhere, report.failed, report.left, report.running_elsewhere)
    if not (report.done or any(others)):
        return f"nothing to do: all {len(report.done_before)} runs are done"
    stopped = "stopped; " if report.stopped_with is not None else ""
    return f"{stopped}{parts} ({duration(report.seconds)})"


def _print_search(plan: WrittenPlan, layout: OutputLayout, console: Console) -> None:
    """The best of the runs that a search let come to their end; no table, which would be unfair to
    the others."""
    records = records_of(layout.storage, (run.run_id for run in plan.runs))
    results = [(records[run.run_id].result, run) for run in plan.runs]
    done = [(result.evaluations[0].miou, run) for result, run in results if result is not None]
    done.sort(key=lambda pair: pair[0], reverse=True)
    for miou, run in done[:BEST_OF_A_SEARCH]:
        text = f"{100 * miou:6.1f} mIoU  {run.cells[0].name}  ({run.run_id})"
        console.print(Text(text), soft_wrap=True)
    note = "a search: its results enter no table. Launch what won as a study without `search`"
    console.print(Text(note, style="yellow"), soft_wrap=True)


def _print_table(
    plan: WrittenPlan, layout: OutputLayout, tracking_uri: str | None, console: Console
) -> list[Path]:
    reader = open_records(
        tracking_uri_or_default(tracking_uri, layout.root),
        storage=layout.storage,
        ledger_folder=layout.root / "ledger",
    )
    table = load_table(table_spec(plan), cell_specs(plan), reader)
    files = write_table(table, layout.root / "studies" / plan.name)
    send_summary(
        plan,
        table,
        files,
        out=layout.root,
        tracking_uri=tracking_uri,
        on_note=lambda text: console.print(Text(f"note: {text}", style="yellow")),
    )
    console.print()
    console.print(console_table(table))
    console.print()
    return files


def _print_places(
    layout: OutputLayout,
    tracking_uri: str | None,
    tables: list[Path],
    console: Console,
    run_id: str = "",
) -> None:
    uri = tracking_uri_or_default(tracking_uri, layout.root)
    places = {
        "table": ", ".join(str(path) for path in tables),
        "tracking": "" if uri == NO_TRACKER else without_secrets(uri),
    }
    places["runs"] = (
        f"{without_secrets(layout.storage).rstrip('/')}/runs/{run_id}".rstrip("/")
        + " (checkpoints, logs, results)"
    )
    for name, place in places.items():
        if place:
            console.print(Text.assemble((f"{name:<9}", "bold"), place), soft_wrap=True)
    if tracking_uri is None:
        _print_next(
            f"rml tracking serve{_out(layout)}",
            "compare runs in a browser",
            console,
        )


def _of_study(plan: WrittenPlan) -> str:
    """Options that lead a further command to the same cells."""
    profile = f" --profile {plan.profile}" if plan.profile else ""
    return profile + "".join(f" --set {shlex.quote(text)}" for text in plan.overrides)


def _places(layout: OutputLayout) -> str:
    """Options that lead a further command to the same folders; a storage with a password in it must
    be given again by hand."""
    out = _out(layout)
    if layout.storage == str(layout.root) or has_secrets(layout.storage):
        return out
    return f"{out} --storage {shlex.quote(layout.storage)}"


def _out(layout: OutputLayout) -> str:
    return "" if layout.root == DEFAULT_OUT else f" --out {shlex.quote(str(layout.root))}"


def _tracking(tracking_uri: str | None) -> str:
    """The option that leads a further command to the same records; a password is never printed, so
    with one it must be given again by hand."""
    if tracking_uri is None or has_secrets(tracking_uri):
        return ""
    return f" --tracking-uri {shlex.quote(tracking_uri)}"


def _print_next(command: str, why: str, console: Console) -> None:
    console.print(
        Text.assemble(("next     ", "bold"), (command, "cyan"), f"  # {why}"), soft_wrap=True
    )
