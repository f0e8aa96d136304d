"""The same images seen by several runs: what a picture of image, truth and one column per run is
made of."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.views.prediction import RecordedNetwork, load_recorded, recorded_task
from rml_trainers import IGNORE_LABEL
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.prediction.inference import predict_images
from rml_trainers.scoring.metrics import confusion_matrix, mean_iou

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class RunColumn:
    """What one run predicts."""

    label: str
    run_id: str
    network: str
    is_finished: bool
    """False: the newest checkpoint of a run that is not done."""
    masks: tuple[Pixels, ...]
    """[H, W] per image."""
    miou: tuple[float, ...]
    """Of each image alone, in [0, 1], over the classes that occur in its truth or its mask; NaN
    without any truth."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Validation images with their truth and the predictions of several runs."""

    data: str
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    images: tuple[Pixels, ...]
    """[H, W, 3] each, as prepared."""
    truths: tuple[Pixels, ...]
    """[H, W]; 255 where nobody labelled."""
    runs: tuple[RunColumn, ...]


def compare_runs(
    storage: str,
    runs: Sequence[tuple[str, str]],
    names: Sequence[str] = (),
    *,
    num_images: int = 4,
    network: str | None = None,
    device: str = "auto",
    out: Path | None = None,
) -> Comparison:
    """Predict the same validation images with every run.

    Args:
        runs: run ids with labels; an empty label is replaced by the method's name.
        names: images, in this order; without any, `num_images` spread evenly over the validation
            set.
        out: output folder that holds the images that the runs were trained on; default: the
            storage.
    Raises:
        ConfigError: unknown run, image, network or device; a run or label given twice; runs of
            several data sets.
        CheckpointError: a run without a sound checkpoint.
    """
    tasks = [recorded_task(storage, run_id, out) for run_id, _ in runs]
    labels = _labels(tasks, [label for _, label in runs])
    _check_same_data(tasks)
    data = PreparedData.open(tasks[0].prepared_path)
    chosen = _chosen(data, names, num_images)
    images = tuple(np.asarray(data.image("val", i)) for i in chosen)
    truths = tuple(_truth(data, i) for i in chosen)
    columns = []
    for task, label in zip(tasks, labels, strict=True):
        loaded = load_recorded(task, network=network, device=device)
        columns.append(_column(loaded, label, images, truths))
    val_names = data.names("val")
    return Comparison(
        data=data.name,
        class_names=data.class_names,
        names=tuple(val_names[i] for i in chosen),
        images=images,
        truths=truths,
        runs=tuple(columns),
    )


def _labels(tasks: Sequence[RunTask], given: Sequence[str]) -> list[str]:
    """Headings of the columns; where a method occurs twice its runs are called by their ids."""
    methods = [task.config.method.name for task in tasks]
    labels = [
        label or (task.run_id if methods.count(method) > 1 else method)
        for task, label, method in zip(tasks, given, methods, strict=True)
    ]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        raise ConfigError(
            f"two columns would be called {', '.join(twice)}; give each run a label: RUN_ID=LABEL"
        )
    return labels


def _check_same_data(tasks: Sequence[RunTask]) -> None:
    by_content: dict[str, list[str]] = {}
    for task in tasks:
        by_content.setdefault(task.data_hash, []).append(task.run_id)
    if len(by_content) > 1:
        folders = {task.data_hash: Path(task.prepared_folder).name for task in tasks}
        groups = "".join(
            f"\n  {folders[key]}: {', '.join(run_ids)}" for key, run_ids in by_content.items()
        )
        raise ConfigError(
            "these runs have seen different data (or sizes) and share no image to compare them "
            f"on:{groups}"
        )


def _chosen(data: PreparedData, names: Sequence[str], num_images: int) -> list[int]:
    """Numbers of the validation images to show. Raises ConfigError naming every unknown image."""
    known = data.names("val")
    unknown = [name for name in dict.fromkeys(names) if name not in known]
    if unknown:
        near = {
            name: ", ".join(difflib.get_close_matches(name, known, n=3, cutoff=0.0))
            for name in unknown
        }
        lines = [
            f"{name}: no such validation image of {data.name}; the nearest are {near[name]}"
            for name in unknown
        ]
        raise ConfigError("\n".join(lines))
    if names:
        return [data.index("val", name) for name in dict.fromkeys(names)]
    evenly = np.linspace(0, len(known) - 1, min(num_images, len(known))).round().astype(int)
    return [int(number) for number in evenly]


def _truth(data: PreparedData, number: int) -> Pixels:
    label = data.label("val", number)
    return (
        np.full(data.image_size("val", number), IGNORE_LABEL, dtype=np.uint8)
        if label is None
        else label
    )


def _column(
    loaded: RecordedNetwork, label: str, images: Sequence[Pixels], truths: Sequence[Pixels]
) -> RunColumn:
    num_classes = len(loaded.class_names)
    task = loaded.task
    masks = predict_images(loaded.predictor, images, loaded.size_px)
    counts = [
        confusion_matrix(
            torch.from_numpy(mask), torch.from_numpy(np.array(truth)), num_classes
        ).numpy()
        for mask, truth in zip(masks, truths, strict=True)
    ]
    return RunColumn(
        label=label,
        run_id=task.run_id,
        network=loaded.name,
        is_finished=RunFolder.of(task.storage, task.run_id).record().state == "done",
        masks=tuple(masks),
        miou=tuple(mean_iou(count) for count in counts),
    )
