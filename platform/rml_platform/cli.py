"""The command line `rml`. Commands parse and call; each imports what it needs when it runs, so that
help is quick."""

import re
import shutil
import sys

import typer

from rml_platform.commands import (
    compare,
    doctor,
    export,
    launch,
    plan,
    predict,
    run,
)
from rml_platform.commands.groups import data, records, tracking
from rml_platform.commands.results import dashboard, figures, report, tables
from rml_platform.commands.running import cancel, status
from rml_platform.commands.trouble import chaos, replay
from rml_platform.plain_output import write_plainly
from rml_trainers.errors import RmlError, is_disk_full

NARROW = 60
"""Below so many columns a framed table of options would cut their names off."""

IN_THE_WAY = (IsADirectoryError, NotADirectoryError, FileExistsError, PermissionError)
"""What a wrong path in a command raises."""
NAMED_PATH = re.compile(r"'[^'\n]*/[^'\n]*'")
"""A path in what pyarrow says, whose errors do not have it apart."""

_COLUMNS = shutil.get_terminal_size().columns

app = typer.Typer(
    name="rml",
    help=(
        "Robust mutual learning: from a study in YAML to a table of mean ± std, on one machine "
        "or "
        "a Ray cluster."
    ),
    no_args_is_help=True,
    rich_markup_mode="rich" if _COLUMNS >= NARROW else None,
    pretty_exceptions_enable=False,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "terminal_width": _COLUMNS if _COLUMNS < NARROW else None,
    },
)
app.command("demo")(launch.demo)
app.add_typer(data.app, name="data")
app.command("run")(run.run)
app.command("plan")(plan.plan)
app.command("launch")(launch.launch)
app.command("status")(status.status)
app.command("cancel")(cancel.cancel)
app.command("prioritise")(cancel.prioritise)
app.command("tables")(tables.tables)
app.command("figures")(figures.figures)
app.command("dashboard")(dashboard.dashboard)
app.command("report")(report.report)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("compare")(compare.compare)
app.add_typer(tracking.app, name="tracking")
app.add_typer(records.app, name="records")
app.command("doctor")(doctor.doctor)
app.command("replay")(replay.replay)
app.command("chaos")(chaos.chaos)


def main() -> None:
    """Run the command line. An error that the user can mend is told in one message, without a
    traceback."""
    write_plainly()
    try:
        app()
    except Exception as error:
        if not (text := _for_a_person(error)):
            raise
        typer.echo(f"rml: {text}", err=True)
        sys.exit(error.exit_code if isinstance(error, RmlError) else 2)


def _for_a_person(error: Exception) -> str:
    """What is said of an RmlError, or the dashboards' own counterpart (they import nothing of ours;
    loaded only where it can occur), and of an error of the system that names what is in the way;
    nothing of one of the program."""
    dashboards = sys.modules.get("rml_dashboards.errors")
    is_theirs = dashboards is not None and isinstance(error, dashboards.DashboardError)
    if isinstance(error, RmlError) or is_theirs:
        return str(error)
    return _of_the_system(error) if isinstance(error, OSError) else ""


def _of_the_system(error: OSError) -> str:
    """What is said of a disk that is full, a storage that is away, and a path that is in the way;
    nothing of any other error."""
    from rml_dashboards.contract.uris import without_secrets
    from rml_platform.run.faults.outages import is_outage

    text = without_secrets(str(error))
    if is_disk_full(error):
        return text
    if is_outage(text):
        return f"{text}. The storage is away: see that it answers, and give the command again"
    if not isinstance(error, IN_THE_WAY):
        return ""
    file = error.filename2 or error.filename  # a file is put together beside its place
    if file is not None:
        return f"{file}: {error.strerror}"
    return text if NAMED_PATH.search(text) else ""
