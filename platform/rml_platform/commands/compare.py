"""`rml compare`: the same images seen by several runs, in one picture."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, Out, Plugins, Storage


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN_ID[=LABEL]…", help="Runs, as `rml status` names them, one per column."
        ),
    ],
    image: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A validation image, by its bare name. May be repeated."),
    ] = None,
    num: Annotated[
        int, typer.Option(min=1, help="Images, spread evenly over the set, when none is named.")
    ] = 4,
    to: Annotated[Path, typer.Option(help="The picture: a .png, .svg or .pdf file.")] = Path(
        "comparison.png"
    ),
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a picture that is there already.")
    ] = False,
    over_image: Annotated[
        bool, typer.Option("--overlay", help="Lay the classes over the images.")
    ] = False,
    network: Annotated[
        str | None,
        typer.Option(help="student_1, teacher_1, ensemble …; default: the one that tables read."),
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda:1 …")] = "auto",
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
) -> None:
    """Draw validation images in rows: image, truth, and what each run predicts, with its mIoU on
    that image."""
    from rml_platform.views.comparison import compare_runs
    from rml_platform.views.comparison_sheet import check_target, write_sheet

    check_target(to, overwrite=overwrite)
    named = [(run_id, label) for run_id, _, label in (text.partition("=") for text in runs)]
    compared = compare_runs(
        storage or str(out),
        named,
        image or (),
        num_images=num,
        network=network,
        device=device,
        out=out,
    )
    write_sheet(compared, to, as_overlay=over_image)
    for column in compared.runs:
        typer.echo(
            f"{column.label}: {column.run_id}, {column.network}"
            + ("" if column.is_finished else ", unfinished")
        )
    typer.echo(str(to))
