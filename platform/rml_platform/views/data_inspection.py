"""What `rml data inspect` prints: findings, and every reading as a `data:` block of YAML."""

from pathlib import Path
from typing import Any

import typer
import yaml

from rml_trainers.data.inspection.inspect import Inspection
from rml_trainers.data.inspection.reading import Reading
from rml_trainers.errors import DataError


class _Dumper(yaml.SafeDumper):
    """Lists on one line, mappings on lines of their own."""


_Dumper.add_representer(
    list,
    lambda dumper, items: dumper.represent_sequence(
        "tag:yaml.org,2002:seq", items, flow_style=True
    ),
)


def print_inspection(inspection: Inspection, folder: Path, data_root: Path | None) -> None:
    """Print findings, then the reading to use and its alternatives. Raises DataError where there is
    none."""
    for line in inspection.lines:
        typer.echo(f"# {line}")
    for problem in inspection.problems:
        typer.secho(f"# not readable: {problem}", fg="yellow")
    if not inspection.readings:
        raise DataError(f"{folder}: no way to read it was found: {'; '.join(inspection.problems)}")
    root, below = place_of(folder, data_root)
    typer.echo(f"# the folder lies below the data root: --data-root {root} (or RML_DATA)")
    first, *others = inspection.readings
    typer.echo(f"# {first.title}")
    typer.echo(block_text(first, below))
    if others:
        typer.echo(f"# {len(others)} other reading(s) of the same files:")
    for other in others:
        typer.echo(f"#\n# {other.title}")
        for line in block_text(other, below).splitlines():
            typer.echo(f"#   {line}")


def block_text(reading: Reading, folder: str) -> str:
    """A reading as YAML that goes into a run or study file as it is."""
    block: dict[str, Any] = {"name": reading.block["name"], "folder": folder, **reading.block}
    notes = "".join(f"  # {note}\n" for note in reading.notes)
    dumped = yaml.dump(block, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)
    body = "".join(f"  {line}\n" for line in dumped.splitlines())
    return f"data:\n{notes}{body}".rstrip()


def place_of(folder: Path, data_root: Path | None) -> tuple[Path, str]:
    """The data root to give, and the folder's path below it."""
    real = folder.resolve()
    if data_root is not None and real.is_relative_to(data_root.resolve()):
        below = real.relative_to(data_root.resolve()).as_posix()
        if below != ".":
            return data_root, below
    return real.parent, real.name
