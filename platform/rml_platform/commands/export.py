"""`rml export`: a network of a recorded run as a file that runs without this project."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Out, Plugins, Storage


def export(
    run_id: Annotated[
        str, typer.Argument(metavar="RUN_ID", help="A run, as `rml status` names it.")
    ],
    format_name: Annotated[
        str, typer.Option("--format", help="onnx, torchscript or safetensors (weights only).")
    ] = "onnx",
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="File to write; default: run and network, in this folder."
        ),
    ] = None,
    network: Annotated[
        str | None,
        typer.Option(help="student_1, teacher_1, ensemble …; default: the one that tables read."),
    ] = None,
    output: Annotated[
        str, typer.Option(help="What the file gives for an image: logits or probabilities.")
    ] = "logits",
    size: Annotated[
        tuple[int, int] | None,
        typer.Option(
            metavar="HEIGHT WIDTH",
            help="The only size of images the file takes; default: any, where the network can.",
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a file that is there already.")
    ] = False,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
) -> None:
    """Write a trained network, with its preprocessing inside, as ONNX, TorchScript or plain
    weights, and check that the file computes what the network does."""
    from rml_platform.views.export import export_recorded

    export_recorded(
        storage or str(out),
        run_id,
        format_name,
        to=to,
        network=network,
        output=output,
        fixed_px=size,
        overwrite=overwrite,
        out=out,
    )
