"""Predictions of a recorded run on a person's image files: everything is checked, then image after
image is predicted and written."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from rml_platform.run.faults.retry_policy import FailureClass, class_of
from rml_platform.run.task import RunTask
from rml_platform.views.prediction.inputs import Input, check_inputs, find_inputs
from rml_platform.views.prediction.outputs import ImageOutput, Outputs, write_text
from rml_platform.views.prediction.recorded import (
    RecordedNetwork,
    class_names_of,
    device_of,
    load_recorded,
    recorded_task,
)
from rml_platform.views.prediction.scores import ScoreSheet, scores_file
from rml_platform.views.prediction.sizing import Sizing, settings_of
from rml_platform.views.prediction.truth import find_truth
from rml_trainers.data import grey_range_of, label_reader
from rml_trainers.data.dataset import LabelReader, SizePx
from rml_trainers.data.files import Skipped
from rml_trainers.data.pictures.images import GreyRange, read_image
from rml_trainers.errors import ConfigError, DeviceError
from rml_trainers.prediction.inference import network_numbers
from rml_trainers.prediction.overlays import palette
from rml_trainers.prediction.predict import strips_of_each
from rml_trainers.prediction.settings import PredictionSettings
from rml_trainers.scoring.metrics import most_likely


class Watcher(Protocol):
    """Is told how a prediction goes."""

    def begin(self, what: str, total: int) -> None:
        """Something that is done `total` times begins."""

    def advance(self) -> None:
        """It was done once more."""

    def note(self, text: str) -> None:
        """What a person should know."""

    def written(self, files: Sequence[Path]) -> None:
        """The files of one image are there."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What a person asks for, checked as far as it can be without the run."""

    storage: str
    out: Path
    run_id: str
    images: tuple[str, ...]
    """Files, folders and patterns."""
    to: Path
    kinds: tuple[str, ...]
    overwrite: bool
    network: str | None
    device: str
    sizing: Sizing
    truth: Path | None
    truth_name: str | None
    data_root: Path | None


@dataclass(frozen=True, kw_only=True)
class _Truth:
    masks: Mapping[str, Path]
    read: LabelReader | None


def predict_files(asked: Request, watcher: Watcher) -> str:
    """Predict every image; gives one sentence about what was done.

    Nothing is written before every option, every name and every file was found right.

    Raises:
        ConfigError: an unknown run, network or device, sizes that cannot be, or what would be
            overwritten.
        DataError: names every file that is not there or cannot be read.
        CheckpointError: the run has no sound checkpoint.
        DeviceError: the device is not there, or has too little memory.
    """
    task = recorded_task(asked.storage, asked.run_id, asked.out)
    config = task.config
    settings = settings_of(config, asked.sizing)
    network_numbers(config, asked.network or config.evaluation.networks[0])
    device_of(asked.device)
    grey_range = grey_range_of(config.data)
    inputs = _found(asked, grey_range, watcher)
    class_names = class_names_of(task)
    truth = _truth(asked, task, inputs, watcher)
    outputs = Outputs(asked.to, asked.kinds, class_names)
    own = [scores_file(asked.to)] if truth.masks else []
    outputs.check(inputs, list(truth.masks.values()), own, asked.overwrite)
    watcher.begin("checking", len(inputs))
    sizes = check_inputs(inputs, grey_range, truth.masks, truth.read, watcher.advance)
    loaded = load_recorded(task, network=asked.network, device=asked.device)
    settings.check_network(loaded.predictor.input_px)
    watcher.begin("predicting", len(inputs))
    sheet = ScoreSheet(class_names) if truth.masks else None
    for batch in batches(inputs, sizes, settings):
        with _memory_told(batch, loaded.predictor.device):
            _predict(batch, loaded, settings, outputs, truth, sheet, watcher)
    number = "1 image" if len(inputs) == 1 else f"{len(inputs)} images"
    told = f"{number} → {asked.to} ({', '.join(asked.kinds)})"
    if sheet is None:
        return told
    write_text(scores_file(asked.to), sheet.text())
    return f"{told}\n{sheet.summary()} → {scores_file(asked.to)}"


def _found(asked: Request, grey_range: GreyRange | None, watcher: Watcher) -> list[Input]:
    skipped = Skipped()
    inputs, problems = find_inputs(asked.images, skipped)
    for reason, (number, example) in skipped.reasons.items():
        watcher.note(f"left out: {number} {reason}, such as {example}")
    if problems:
        watcher.begin("checking", len(inputs))
        check_inputs(inputs, grey_range, {}, None, watcher.advance, problems)
    return inputs


def _truth(asked: Request, task: RunTask, inputs: Sequence[Input], watcher: Watcher) -> _Truth:
    if asked.truth is None:
        if asked.truth_name is not None:
            raise ConfigError("--truth-name: says how masks are called; give their folder, --truth")
        return _Truth(masks={}, read=None)
    data = task.config.data
    masks = find_truth(asked.truth, asked.truth_name, inputs, data)
    without = [one.name for one in inputs if one.name not in masks]
    if without:
        watcher.note(f"without truth, so unscored: {len(without)} images, such as {without[0]}")
    root = asked.data_root or (Path(task.data_root) if task.data_root else None)
    return _Truth(masks=masks, read=label_reader(data, class_names_of(task), root))


def batches(
    inputs: Sequence[Input], sizes: Sequence[SizePx], settings: PredictionSettings
) -> Iterator[list[Input]]:
    """Images of one size together, as many as go through the network at once; those in windows one
    by one."""
    by_size: dict[SizePx, list[Input]] = defaultdict(list)
    for one, size in zip(inputs, sizes, strict=True):
        by_size[size].append(one)
    for size, same in by_size.items():
        number = 1 if settings.window_px is not None else settings.pieces_at_once(size)
        for start in range(0, len(same), number):
            yield same[start : start + number]


@contextmanager
def _memory_told(batch: Sequence[Input], device: torch.device) -> Iterator[None]:
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if class_of(error) is not FailureClass.OUT_OF_MEMORY:
            raise
        also = f" and {len(batch) - 1} more at once" if len(batch) > 1 else ""
        raise DeviceError(
            f"{batch[0].path}{also}: the memory of {device} is too small; predict in (smaller) "
            "windows, such as --window 512x512, or with --batch 1"
        ) from error


def _predict(
    batch: Sequence[Input],
    loaded: RecordedNetwork,
    settings: PredictionSettings,
    outputs: Outputs,
    truth: _Truth,
    sheet: ScoreSheet | None,
    watcher: Watcher,
) -> None:
    colours = palette(len(loaded.class_names))
    grey_range = grey_range_of(loaded.task.config.data)
    images = [read_image(one.path, grey_range) for one in batch]
    pixels = [image.pixels for image in images]
    strips_of_all = strips_of_each(loaded.predictor, pixels, settings)
    for one, image, strips in zip(batch, images, strips_of_all, strict=True):
        height, width = image.pixels.shape[:2]
        with outputs.of_image(one.name, (height, width)) as output:
            for strip in strips:
                _take(strip, output)
            files = outputs.write(output, image.pixels, colours)
            if sheet is not None and truth.read is not None and one.name in truth.masks:
                label, _ = truth.read(truth.masks[one.name], image)
                sheet.add(one.name, output.mask, label)
        watcher.written(files)
        watcher.advance()


def _take(strip: Tensor, output: ImageOutput) -> None:
    """Hand on rows [K, rows, W] of probabilities."""
    classes = most_likely(strip[None])[0].to(torch.uint8).cpu().numpy()
    output.add(classes, strip.cpu().numpy() if output.wants_probabilities else None)
