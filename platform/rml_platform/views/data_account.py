"""The account of a prepared data set on the console."""

import typer

from rml_trainers.data.prepared.cache import PreparedData


def print_account(data: PreparedData) -> None:
    """Everything that the set holds and leaves out, then what is probably not as it was meant."""
    account = data.account()
    if account is None:
        typer.echo("  prepared before accounts were kept; --fresh makes one")
        return
    for line in account.lines():
        typer.echo(f"  {line}")
    for warning in account.warnings():
        typer.secho(f"warning: {warning}", fg="yellow", err=True)
