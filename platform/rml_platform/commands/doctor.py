"""`rml doctor`: what this machine has, what is wrong and how to mend it."""

import typer

from rml_platform.commands.options import DEFAULT_OUT, DataRoot, Out


def doctor(out: Out = DEFAULT_OUT, data_root: DataRoot = None) -> None:
    """Look at Python, torch, GPUs, Ray, MLflow, memory, disk and data; say what is wrong and how to
    mend it.

    Ends with exit code 1 when something is there that rml cannot work with.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from rml_platform.doctor import examine
    from rml_platform.environment import environment

    findings = examine(out, data_root)
    marks = {
        "ok": Text("ok", "green"),
        "note": Text("note", "yellow"),
        "problem": Text("problem", "bold red"),
    }
    table = Table(box=None, pad_edge=False, show_header=False)
    for finding in findings:
        table.add_row(marks[finding.state], Text(finding.name, "bold"), Text(finding.found))
        if finding.mend:
            table.add_row("", "", Text(f"→ {finding.mend}", "yellow"))
    facts = environment()
    console = Console(highlight=False)
    changed = " with local changes" if facts.code.dirty else ""
    console.print(
        Text(f"rml {facts.code.version}{changed} on {facts.host} ({facts.system})", "dim")
    )
    console.print(table)
    problems = sum(finding.state == "problem" for finding in findings)
    console.print(
        f"{problems} problems" if problems != 1 else "1 problem",
        style="red" if problems else "green",
    )
    if problems:
        raise typer.Exit(1)
