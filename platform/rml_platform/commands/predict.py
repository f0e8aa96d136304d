"""`rml predict`: masks and overlays of a person's own images from a finished run."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Out, Plugins, Storage


def predict(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="A run, as `rml status` names it.")
    ],
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Image files.")],
    to: Annotated[Path, typer.Option(help="Folder for the masks and overlays.")] = Path(
        "predictions"
    ),
    network: Annotated[
        str | None,
        typer.Option(help="student_1, teacher_1, ensemble …; default: the one that tables read."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
) -> None:
    """Write, for every image, a mask of class numbers (PNG) and an overlay of colours over the
    image."""
    from rml_platform.views.prediction import predict_files

    for mask, overlay in predict_files(
        storage or str(out), run_id, images, to, network=network, device=device
    ):
        typer.echo(f"{mask}  {overlay}")
