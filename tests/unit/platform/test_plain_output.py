"""What the command line writes where the output is no UTF-8."""

import os
import subprocess
import sys

import pytest

from rml_platform.plain_output import plain

SCRIPT = """
import sys
from rich.console import Console
from rich.table import Table
import typer
from rml_platform.plain_output import write_plainly

write_plainly()
typer.echo("a → b … 1 ± 2 ü 写 \\udcff")
table = Table("m×n")
table.add_row("−1")
Console(width=30).print(table)
typer.echo("é → x", err=True)
"""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_stream_takes_every_text(encoding: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "PYTHONIOENCODING": encoding},
        capture_output=True,
        check=True,
    )
    said = done.stdout.decode(encoding)
    if encoding == "utf-8":
        assert said.startswith("a → b … 1 ± 2 ü 写 \\udcff\n")
        assert "m×n" in said
        return
    own = {"ascii": ("+-", "\\xfc", "x"), "latin-1": ("±", "ü", "×")}[encoding]
    assert said.startswith(f"a -> b ... 1 {own[0]} 2 {own[1]} \\u5199 \\udcff\n")
    assert f"| m{own[2]}n |" in said
    assert "| -1" in said
    assert done.stderr.decode(encoding).endswith("-> x\n")


def test_frames_become_lines_of_ascii() -> None:
    assert plain("┏━┓│╭─╮║") == "+-+|+-+|"


def test_help_can_be_read_on_an_ascii_terminal_of_forty_columns() -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys; from rml_platform.cli import main; sys.argv = ['rml', 'predict', '-h']; "
            "main()",
        ],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "40"},
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode("ascii").splitlines()
    assert any("--overwrite" in line for line in lines)
    assert max(map(len, lines)) <= 40 + 6, "an ellipsis takes three characters"
