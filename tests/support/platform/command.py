"""The command line as a person uses it, in this process."""

from typer.testing import CliRunner

from rml_platform.cli import app


def rml(*arguments: object) -> str:
    """What `rml` prints, on a terminal of 300 columns; raises what it ends with where it fails."""
    done = CliRunner().invoke(app, [str(word) for word in arguments], env={"COLUMNS": "300"})
    if done.exception is not None:
        raise done.exception
    return done.output
