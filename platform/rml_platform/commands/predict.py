"""`rml predict`: masks, pictures, probabilities and scores of a person's own images from a run."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rml_platform.commands.options import DEFAULT_OUT, DataRoot, Out, Plugins, Storage

if TYPE_CHECKING:
    from rich.progress import TaskID

RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="A run, as `rml status` names it.")]
Images = Annotated[
    list[str],
    typer.Argument(
        metavar="IMAGE…", help="Image files, folders, or patterns such as 'a/**/*.png'."
    ),
]
To = Annotated[Path, typer.Option(help="Folder for what is written.")]
Write = Annotated[
    str,
    typer.Option(
        metavar="KIND,…",
        help="masks, colours, overlays, probabilities (npz), probability-pngs (16 bits).",
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files that are there already.")
]
Network = Annotated[
    str | None,
    typer.Option(help="student_1, teacher_1, ensemble …; default: the one that tables read."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda:1 …")]
Resize = Annotated[
    str,
    typer.Option(
        metavar="trained|original|HxW",
        help="Size that images are given first; results are at their own size anyway.",
    ),
]
Window = Annotated[
    str,
    typer.Option(
        metavar="run|none|HxW",
        help="Predict in overlapping windows; run: as the run was scored.",
    ),
]
Stride = Annotated[
    str | None,
    typer.Option(metavar="HxW", help="From window to window; default: the run's share of it."),
]
Scales = Annotated[
    str, typer.Option(metavar="N,…", help="Average over these scales, such as 0.75,1,1.25.")
]
Flip = Annotated[bool, typer.Option("--flip", help="Average over the mirrored image too.")]
Batch = Annotated[
    int | None,
    typer.Option(min=1, help="Images or windows at once; default: as many pixels as scored with."),
]
Truth = Annotated[
    Path | None,
    typer.Option(help="Folder of masks of the data set's kind: also write scores.csv."),
]
TruthName = Annotated[
    str | None,
    typer.Option(
        metavar="TEMPLATE",
        help="How masks are called, such as '{stem}_mask.png'; default: as data.",
    ),
]


def predict(
    run_id: RunId,
    images: Images,
    to: To = Path("predictions"),
    write: Write = "masks,overlays",
    overwrite: Overwrite = False,
    network: Network = None,
    device: Device = "auto",
    resize: Resize = "trained",
    window: Window = "run",
    stride: Stride = None,
    scales: Scales = "1",
    flip: Flip = False,
    batch: Batch = None,
    truth: Truth = None,
    truth_name: TruthName = None,
    plugin: Plugins = None,
    out: Out = DEFAULT_OUT,
    storage: Storage = None,
    data_root: DataRoot = None,
) -> None:
    """Predict images of any size with a run, and write masks of class numbers and overlays, or what
    --write says.

    Everything is checked before anything is written; see docs/predictions.md.
    """
    from rml_platform.views.prediction.outputs import kinds_of
    from rml_platform.views.prediction.predict_files import Request, predict_files
    from rml_platform.views.prediction.sizing import Sizing

    asked = Request(
        storage=storage or str(out),
        out=out,
        run_id=run_id,
        images=tuple(images),
        to=to,
        kinds=kinds_of(write),
        overwrite=overwrite,
        network=network,
        device=device,
        sizing=Sizing(resize, window, stride, scales, flip, batch),
        truth=truth,
        truth_name=truth_name,
        data_root=data_root,
    )
    with _Progress() as progress:
        told = predict_files(asked, progress)
    typer.echo(told)


class _Progress:
    """A bar on a terminal's standard error; elsewhere the files' names on standard output."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        console = Console(stderr=True)
        self._bar: Progress = Progress(
            console=console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "_Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def begin(self, what: str, total: int) -> None:
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(what, total=total)

    def advance(self) -> None:
        assert self._task is not None, "something has begun"
        self._bar.advance(self._task)

    def note(self, text: str) -> None:
        self._bar.console.print(
            f"note: {text}", style="yellow", markup=False, highlight=False, soft_wrap=True
        )

    def written(self, files: Sequence[Path]) -> None:
        if self._bar.disable or not sys.stdout.isatty():
            typer.echo("  ".join(map(str, files)))
