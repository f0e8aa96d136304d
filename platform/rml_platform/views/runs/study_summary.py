"""A study's table, report and figures as its tracker shows them: one summary run per study."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.contract.store_uri import tracking_uri_or_default
from rml_dashboards.tables.entries import Table
from rml_dashboards.tables.render import TRACES, markdown
from rml_dashboards.tables.texts import grid

PICTURES = (".svg", ".png")


def send_summary(
    plan: StudyPlan,
    table: Table,
    files: Sequence[Path],
    *,
    out: Path,
    tracking_uri: str | None,
    on_note: Callable[[str], None],
) -> None:
    """Bring the study's summary run in the tracker up to date; where that cannot be done, say so
    and go on: what it shows lies beside it as files.

    Args:
        files: what was written just now; reports and figures that lie in the study's folder below
            `out` go along.
        tracking_uri: as given; nothing is sent where it is `none`, or has no run of the study.
    """
    uri = tracking_uri_or_default(tracking_uri, out)
    recorded = any(trace.mlflow_run_id for entry in table.cells() for trace in entry.traces)
    if uri == NO_TRACKER or not recorded:
        return
    from rml_platform.tracking.mlflow_store import MlflowStore  # loads MLflow
    from rml_platform.tracking.reaching import check_reachable
    from rml_platform.tracking.shown.saved_views import publish_views
    from rml_platform.tracking.shown.summary_run import StudySummary, publish_summary
    from rml_platform.tracking.tracker import TrackingError

    layout = grid(table)
    summary = StudySummary(
        study=plan.name,
        name=f"{plan.name}{plan.file_suffix}",
        source=plan.source,
        code_version=plan.code_version,
        description=markdown(table).partition(f"\n{TRACES}")[0],
        header=layout.header,
        lines=[[cell.text for cell in line] for line in layout.lines],
        files=_places(plan, files, out),
    )
    try:
        check_reachable(uri)
        store = MlflowStore(uri, out / "mlartifacts")
        publish_views(store, plan, publish_summary(store, summary))
    except TrackingError as error:
        on_note(f"{error}. The summary of {plan.name} in MLflow is as it was before")


def _places(plan: StudyPlan, files: Sequence[Path], out: Path) -> dict[Path, str | None]:
    """Files and their folders of artifacts: those given, the report, and figures."""
    folder = out / "studies" / plan.name
    report = folder / f"report{plan.file_suffix}.html"
    known: dict[Path, str | None] = {file: None for file in (*files, report) if file.is_file()}
    pictures = sorted(folder.glob("*")) if folder.is_dir() else []
    return known | {file: "figures" for file in pictures if file.suffix in PICTURES}
