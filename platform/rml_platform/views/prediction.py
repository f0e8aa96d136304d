"""Predictions of a recorded run on image files."""

import difflib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from rml_dashboards.contract.uris import without_secrets
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_trainers.configuration import suggest
from rml_trainers.data import grey_range_of
from rml_trainers.data.pictures.images import read_image
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import CheckpointError, ConfigError, DataError
from rml_trainers.prediction.inference import (
    Predictor,
    load_network,
    overlay,
    palette,
    predict_image,
)
from rml_trainers.runtime.device import choose_device

NEAREST = 5
"""Run ids that are named when one does not exist."""


@dataclass(frozen=True, kw_only=True)
class RecordedNetwork:
    """A network of a recorded run, loaded from the run's newest sound checkpoint."""

    task: RunTask
    name: str
    """student_1, teacher_1, ensemble …"""
    predictor: Predictor
    data: PreparedData
    """The images that the run was trained on."""


def predict_files(
    storage: str, run_id: str, images: Sequence[Path], to: Path, *, network: str | None, device: str
) -> Iterator[tuple[Path, Path]]:
    """Paths of mask and overlay of each image, as they are written.

    The mask is a PNG of class numbers (8-bit grey) at the image's own size. Raises ConfigError for
    an unknown run, network or device, CheckpointError when the run has no sound checkpoint,
    DataError naming every unreadable image.
    """
    task = recorded_task(storage, run_id)
    _check_files(images)
    loaded = load_recorded(task, network=network, device=device)
    colours = palette(loaded.data.num_classes)
    to.mkdir(parents=True, exist_ok=True)
    grey_range = grey_range_of(task.config.data)
    for path in images:
        image = read_image(path, grey_range).pixels
        mask = predict_image(loaded.predictor, image, loaded.data.size_px)
        files = to / f"{path.stem}_mask.png", to / f"{path.stem}_overlay.png"
        Image.fromarray(mask).save(files[0])
        Image.fromarray(np.ascontiguousarray(overlay(image, mask, colours))).save(files[1])
        yield files


def load_recorded(task: RunTask, *, network: str | None, device: str) -> RecordedNetwork:
    """Load a network of a run; None takes the one that tables read.

    Raises ConfigError for an unknown network or device, CheckpointError when there is no sound
    checkpoint, DataError when the prepared images are gone.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ConfigError(f"--device {device}: {suggest(device, ('auto', 'cpu', 'cuda'))}")
    data = PreparedData.open(Path(task.prepared_folder))
    run = RunFolder.of(task.storage, task.run_id)
    damaged = list[str]()
    with tempfile.TemporaryDirectory(prefix="rml-predict-") as scratch:
        found = CheckpointStore(run.folder, "predict").newest_sound(Path(scratch), damaged.append)
        if found is None:
            reasons = "".join(f"\n  {text}" for text in damaged)
            raise CheckpointError(
                f"run {task.run_id}: no sound checkpoint to predict with{reasons}"
            )
        name = network or task.config.evaluation.networks[0]
        chosen = choose_device(device)  # type: ignore[arg-type]
        predictor = load_network(found.folder, task.config, data.num_classes, name, chosen)
    return RecordedNetwork(task=task, name=name, predictor=predictor, data=data)


def recorded_task(storage: str, run_id: str) -> RunTask:
    """What a recorded run was asked to do, `storage` being where it lies now. Raises ConfigError
    for an unknown run."""
    task = RunFolder.of(storage, run_id).task()
    if task is None:
        known = Folder.open(storage).child("runs").folders()
        near = difflib.get_close_matches(run_id, known, n=NEAREST, cutoff=0.0)
        hint = f"the nearest of {len(known)} are: {', '.join(near)}" if known else "there are none"
        raise ConfigError(f"no run {run_id!r} under {without_secrets(storage)}; {hint}")
    return replace(task, storage=storage)


def _check_files(images: Sequence[Path]) -> None:
    """Complain about every missing file, and about two that would overwrite each other, before any
    work."""
    problems = [f"{path}: no such file" for path in images if not path.is_file()]
    stems = [path.stem for path in images]
    problems += [
        f"{path}: another image is called {path.stem!r} too"
        for i, path in enumerate(images)
        if path.stem in stems[:i]
    ]
    if problems:
        raise DataError("\n".join(problems))
