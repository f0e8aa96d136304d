"""`python -m rml_benchmarks report`: what `rml report` takes, and how large its file is, for a
study of a hundred cells and for two of thousands, one of them with more rows and columns than
figures can show.

Every run is done and has its curves and scores of nineteen classes; some have left pictures. Each
call is a process of its own, as a person starts it.
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.planning import process
from rml_benchmarks.parts.product.recorded_study import CLASSES, Shape, begun, planned, result
from rml_dashboards.contract.run_folder import END_PIECE, PIECES, PREDICTIONS, Piece
from rml_platform.planning.plan_file.writing import write_down

SHAPES: tuple[Shape, ...] = ((5, 4, 5), (10, 10, 20), (100, 20, 1))
"""Rows, columns and seeds of the studies."""
REPORTS = 400
"""Of the loss during a run; every tenth comes with scores."""
PICTURE_PX = (256, 512)
"""Height and width of each panel of a picture."""
NUM_PICTURES = 3
MEGA = 1e6


def run(bench: Bench) -> Iterator[Result]:
    """The report of every study, and what a further cell adds to the smallest."""
    lines = []
    for shape in SHAPES:
        folder = bench.folder / "x".join(map(str, shape))
        study = finished_study(folder, shape)
        page = folder / "report.html"
        words = ("report", str(study), "--out", str(folder / "out"), "--tracking-uri", "none")
        costs = [process((*words, "--to", str(page))) for _ in range(bench.num_rounds(3))]
        rows, columns, seeds = shape
        lines.append(
            (
                rows * columns * seeds,
                f"{rows} × {columns} × {seeds}",
                min(cost.wall_s for cost in costs),
                min(cost.cpu_s for cost in costs),
                page.stat().st_size / MEGA,
            )
        )
    yield Table(
        title="rml report",
        columns=("cells", "rows × columns × seeds", "wall (s)", "CPU (s)", "size (MB)"),
        rows=tuple(lines),
        note="Target: 100 cells in less than 10 s, in a file of less than 10 MB. Least of "
        f"{bench.num_rounds(3)} calls, each a process of its own; records from run folders.",
    )


def finished_study(folder: Path, shape: Shape) -> Path:
    """A study of that shape with its plan; all of its runs have finished."""
    study, plan = planned(folder, shape)
    out = folder / "out"
    write_down(plan, (), out, str(out))
    rng = np.random.default_rng(0)
    pictures = [_picture(rng) for _ in range(NUM_PICTURES)]
    for number, one in enumerate(plan.runs):
        iou = dict(zip(CLASSES, rng.uniform(0.2, 0.8, len(CLASSES)).tolist(), strict=True))
        run_folder = begun(plan, one, out).folder
        content = json.dumps(_measured(rng)).encode()
        run_folder.child(PIECES).write(END_PIECE, content)
        if number % shape[2] == 0:  # the first seed of each cell
            for place, picture in enumerate(pictures):
                run_folder.child(PREDICTIONS).write(f"image_{place}.png", picture)
        begun(plan, one, out).write_result(result(number, iou))
    return study


def _measured(rng: np.random.Generator) -> Piece:
    """Loss and scores of a run over its training."""
    steps = range(50, 50 * (REPORTS + 1), 50)
    noise = iter(rng.normal(scale=0.02, size=(25 * REPORTS)).tolist())
    piece = [("train/loss", step, step, 2 / (1 + step / 2000) + next(noise)) for step in steps]
    scores = ("val/miou", "train/pseudo_label_1_miou", "train/pseudo_label_1_unrectified_miou")
    for key in (*scores, *(f"val/iou/{name}" for name in CLASSES)):
        for step in steps[9::10]:
            piece.append((key, step, step, 0.6 * step / (step + 4000) + next(noise)))
    return piece


def _picture(rng: np.random.Generator) -> bytes:
    """Image, truth and prediction beside each other, of as many edges as a street has."""
    height, width = PICTURE_PX
    blocks = rng.integers(0, 240, (height // 16, 3 * width // 16, 3), dtype=np.uint8)
    pixels = blocks.repeat(16, axis=0).repeat(16, axis=1)
    pixels[:, :width] += rng.integers(0, 12, (height, width, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()
