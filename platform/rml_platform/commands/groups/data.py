"""`rml data`: look at, download, prepare, check and split data sets."""

from pathlib import Path
from typing import Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, DataRoot, Out, Overrides, Plugins

app = typer.Typer(
    help="Look at, download, prepare, check and split data sets.", no_args_is_help=True
)

Target = Annotated[
    str,
    typer.Argument(
        metavar="DATASET|FILE.yaml",
        help="Name of a data set, or a run or study file that uses one.",
    ),
]


@app.command()
def inspect(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder of images and masks.")],
    data_root: DataRoot = None,
) -> None:
    """Look at a folder of images and masks that nobody has described, say what it holds, and print
    the data: block that reads it.

    Where more than one reading is possible, all are printed. Nothing is written.
    """
    from rml_platform.views.data_inspection import print_inspection
    from rml_trainers.data.inspection.inspect import inspect_folder

    print_inspection(inspect_folder(folder), folder, data_root)


@app.command()
def download(
    target: Target, set_: Overrides = None, plugin: Plugins = None, data_root: DataRoot = None
) -> None:
    """Fetch a public data set (voc, mnist) into the data root, in the layout that rml reads.

    VOC comes with SBD, whose labels its usual training set needs; --set train_set=train
    leaves SBD out.
    """
    from rml_platform.study.data_target import data_configs
    from rml_trainers.data.sources.downloads import download as fetch
    from rml_trainers.errors import DataError

    if data_root is None:
        raise DataError("rml data download: where to? Give --data-root DIR or set RML_DATA")
    for config in data_configs(target, set_ or ()):
        fetched = fetch(config, data_root)
        typer.echo(
            f"{config.name}: {'downloaded to' if fetched else 'already complete in'} {data_root}"
        )


@app.command()
def prepare(
    target: Target,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    data_root: DataRoot = None,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Prepare again even if nothing seems to have changed."),
    ] = False,
) -> None:
    """Decode and resize every image once into a memory-mapped file under OUT/cache, print where it
    lies, and give an account of what it holds.

    With the name of a data set, --set changes its own keys: [bold]rml data prepare camvid --set
    size_px=[180,240][/].
    """
    from rich.console import Console

    from rml_platform.planning.plan_from_file import preparing
    from rml_platform.study.data_target import data_configs
    from rml_platform.views.data_account import print_account
    from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared

    cache = out / "cache"
    with preparing(Console(stderr=True)) as tell:
        prepared = []
        for config in data_configs(target, set_ or ()):

            def on_progress(done: int, total: int, name: str = config.name) -> None:
                tell(name, done, total)

            data = ensure_prepared(config, data_root, cache, on_progress=on_progress, fresh=fresh)
            prepared.append((cache_folder(config, cache), data))
    for folder, data in prepared:
        typer.echo(f"{folder}  {data.content_hash}")
        print_account(data)


@app.command()
def check(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="DIR…", help="Prepared folders, as `prepare` prints them."),
    ],
) -> None:
    """Verify prepared data completely: content hash, sizes, every label value."""
    from rml_trainers.data.prepared.cache import check_prepared

    for folder in folders:
        report = check_prepared(folder)
        images = ", ".join(f"{count} {subset}" for subset, count in report.num_images.items())
        typer.echo(
            f"{folder}: sound; {images} images, {report.num_unlabelled} of them without a mask"
        )
        total = max(1, sum(report.class_pixels.values()))
        for name, pixels in report.class_pixels.items():
            typer.echo(
                f"  {name:<20} {100 * pixels / total:5.2f} % of the labelled training pixels"
            )


@app.command()
def splits(
    target: Target,
    family: Annotated[
        str | None, typer.Option(help="Recipe: french (default), dmt, stratified or lists.")
    ] = None,
    count: Annotated[int | None, typer.Option(help="Number of labelled images.")] = None,
    fraction: Annotated[
        float | None, typer.Option(help="Share of labelled images, instead of --count.")
    ] = None,
    list_: Annotated[
        str | None,
        typer.Option("--list", metavar="FILE", help="Family lists: file of the labelled names."),
    ] = None,
    unlabelled_list: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Family lists: file of the unlabelled names."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="The family's own seed.")] = None,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="Print the unlabelled names instead.")
    ] = False,
    set_: Overrides = None,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    data_root: DataRoot = None,
) -> None:
    """Print the bare names of the labelled images of a split, one a line, and its hash on stderr.

    Of a file its own split is meant, changed by what is given here. The published sets (cityscapes,
    voc) need no images for this; the family stratified prepares them. The output can be used as a
    list (family lists). Classes that no labelled image shows are named where the set is prepared.
    """
    from rml_platform.planning.named_split import named_split
    from rml_trainers.data.splitting.name_lists import are_bare_names_unique, bare_name

    options = {
        "family": "lists" if list_ is not None and family is None else family,
        "num_labelled": count,
        "fraction": fraction,
        "labelled_list": list_,
        "unlabelled_list": unlabelled_list,
        "seed": seed,
    }
    given = {key: value for key, value in options.items() if value is not None}
    found = named_split(target, set_ or (), given, out=out, data_root=data_root)
    split = found.split
    shown = split.unlabelled if unlabelled else split.labelled
    for name in (
        map(bare_name, shown)
        if are_bare_names_unique({*split.labelled, *split.unlabelled})
        else shown
    ):
        typer.echo(name)
    sizes = f"{len(split.labelled)} labelled, {len(split.unlabelled)} unlabelled"
    typer.echo(f"{sizes}, hash {split.hash}", err=True)
    for note in found.notes:
        typer.echo(note, err=True)
