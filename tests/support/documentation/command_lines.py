"""Command lines of the documentation: read as a shell reads them, and checked without running."""

import re
import shlex
from collections.abc import Sequence
from typing import Any
from unittest import mock

import typer

from rml_platform.cli import app
from rml_platform.commands import options
from tests.support.documentation.pages import ROOT, Block


class UnknownCommandError(Exception):
    """A documented command that cannot be what it says."""


VARIABLE = re.compile(r"[A-Z_]+=")
"""What `make` is given beside its targets."""


def commands(block: Block) -> list[list[str]]:
    """Words of every command of an sh block, without comments and without `NAME=value` before
    it."""
    joined = block.text.replace("\\\n", " ")
    lines = [shlex.split(line, comments=True) for line in joined.splitlines()]
    return [words for words in map(_without_variables, lines) if words]


def _without_variables(words: list[str]) -> list[str]:
    while words and re.match(r"^[A-Z_]+=", words[0]):
        words = words[1:]
    return words


def check(words: Sequence[str]) -> None:
    """Parse a command as its program would. Raises UnknownCommandError for unknown programs,
    commands, options and arguments."""
    program, *rest = words
    if program == "rml":
        _check_click(typer.main.get_command(app), "rml", rest)
    elif program == "mlflow":
        from mlflow.cli import cli

        _check_click(cli, "mlflow", rest)
    elif program == "ray":
        from ray.scripts.scripts import cli as ray_cli

        _check_click(ray_cli, "ray", rest)
        if "--" in rest:  # what a job runs
            check(rest[rest.index("--") + 1 :])
    elif program == "make":
        rest = [word for word in rest if not VARIABLE.match(word)]
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        targets = set(re.findall(r"^([a-z-]+):", makefile, flags=re.MULTILINE))
        if not rest or set(rest) - targets:
            raise UnknownCommandError(f"make has no target {' '.join(rest)}")
    elif list(words[:3]) == ["python", "-m", "rml_benchmarks"]:
        _check_benchmark(rest[2:])
    elif program not in ("export", "source"):
        raise UnknownCommandError(f"{program}: teach tests/support/documentation this program")


def _check_click(command: Any, name: str, words: list[str]) -> None:
    """Let click parse the words without calling the command, and without looking at a storage:
    those of the documentation are nowhere. Typer's copy of click has classes of its own, so errors
    are known by what they offer."""
    command, words = _innermost(command, name, words)
    if "--help" in words:
        return
    try:
        with mock.patch.object(options, "check_storage"):
            command.make_context(name, words)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        raise UnknownCommandError(f"{name}: {error.format_message()}") from error


def _innermost(command: Any, name: str, words: list[str]) -> tuple[Any, list[str]]:
    """Command of a command of a group, and the words that are left for it."""
    while hasattr(command, "get_command") and words and not words[0].startswith("-"):
        found = command.get_command(command.context_class(command), words[0])
        if found is None:
            raise UnknownCommandError(f"{name} has no command {words[0]}")
        command = found
        words = words[1:]
    return command, words


def _check_benchmark(words: list[str]) -> None:
    from rml_benchmarks.command import parser

    try:
        parser().parse_args(words)
    except SystemExit as end:
        if end.code:
            raise UnknownCommandError(f"python -m rml_benchmarks {' '.join(words)}") from end


def check_span(text: str) -> None:
    """Check the command and the options of a code span in the text, whose arguments may be left
    out. Raises UnknownCommandError."""
    command, words = _innermost(typer.main.get_command(app), "rml", text.split()[1:])
    known = {name for parameter in command.params for name in parameter.opts} | {"--help"}
    for word in words:
        if word.startswith("--") and word not in known:
            raise UnknownCommandError(f"`{text}`: no option {word}")
