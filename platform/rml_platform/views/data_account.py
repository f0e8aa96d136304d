"""The account of a prepared data set on the console."""

import typer

from rml_trainers.data.prepared.cache import PreparedData


def print_account(data: PreparedData) -> None:
    """Everything that the set holds and leaves out, then what is probably not as it was meant.

    On stderr: what a script reads is the line that says where the set lies.
    """
    account = data.account()
    if account is None:
        typer.echo("  prepared before accounts were kept; --fresh makes one", err=True)
        return
    for line in account.lines():
        typer.echo(f"  {line}", err=True)
    for warning in account.warnings():
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
