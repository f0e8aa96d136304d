"""A network of a recorded run, found wherever its output folder lies now."""

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

import torch

from rml_dashboards.contract.run_folder import RUNS
from rml_dashboards.contract.uris import without_secrets
from rml_platform.run.checkpoints import CheckpointStore
from rml_platform.run.files.temporary import temporary_folder
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask, as_found
from rml_trainers.configuration import suggest
from rml_trainers.data.prepared.manifest import Manifest
from rml_trainers.errors import CheckpointError, ConfigError, DataError, DeviceError
from rml_trainers.prediction.inference import Predictor, load_network
from rml_trainers.runtime.device import RequestedDevice, choose_device

NEAREST = 5
"""Run ids that are named when one does not exist."""


@dataclass(frozen=True, kw_only=True)
class RecordedNetwork:
    """A network of a recorded run, loaded from the run's newest sound checkpoint."""

    task: RunTask
    name: str
    """student_1, teacher_1, ensemble …"""
    predictor: Predictor
    class_names: tuple[str, ...]
    step: int
    """Steps that the run had done at the checkpoint."""
    notes: tuple[str, ...]
    """What was wrong with newer checkpoints, one sentence each."""

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Height and width that its images were resized to; None: they kept their own."""
        return self.task.config.data.size_px


def load_recorded(
    task: RunTask, *, network: str | None, device: str, accelerated: bool = True
) -> RecordedNetwork:
    """Load a network of a run; None takes the one that tables read. The images that it was trained
    on need not be there. `accelerated=False` leaves it plain torch.

    Raises ConfigError for an unknown network or device, DeviceError for one that is not there,
    CheckpointError when there is no sound checkpoint, DataError when nothing says what the run's
    classes are called.
    """
    chosen = device_of(device)
    class_names = class_names_of(task)
    run = RunFolder.of(task.storage, task.run_id)
    damaged = list[str]()
    with temporary_folder("rml-predict-") as scratch:
        found = CheckpointStore(run.folder, "predict").newest_sound(scratch, damaged.append)
        if found is None:
            reasons = "".join(f"\n  {text}" for text in damaged) or "; it has written none so far"
            raise CheckpointError(f"run {task.run_id}: no sound checkpoint{reasons}")
        name = network or task.config.evaluation.networks[0]
        predictor = load_network(
            found.folder, task.config, len(class_names), name, chosen, accelerated=accelerated
        )
    return RecordedNetwork(
        task=task,
        name=name,
        predictor=predictor,
        class_names=class_names,
        step=found.step,
        notes=tuple(damaged),
    )


def recorded_task(storage: str, run_id: str, out: Path | None = None) -> RunTask:
    """What a recorded run was asked to do.

    Args:
        storage: where the run lies now.
        out: output folder that may hold the images that it was trained on; default: the storage.
    Raises:
        ConfigError: there is no such run; the nearest are named.
    """
    task = RunFolder.of(storage, run_id).task()
    if task is None:
        raise no_such_run(run_id, storage, f"under {without_secrets(storage)}")
    return as_found(task, storage, out or Path(storage))


def no_such_run(run_id: str, storage: str, where: str) -> ConfigError:
    """The error that names the runs of a storage that are meant most likely."""
    known = Folder.open(storage).child(RUNS).folders()
    near = difflib.get_close_matches(run_id, known, n=NEAREST, cutoff=0.0)
    hint = f"the nearest of {len(known)} are: {', '.join(near)}" if known else "there are none"
    return ConfigError(f"no run {run_id!r} {where}; {hint}")


def device_of(text: str) -> torch.device:
    """Device of `auto`, `cpu`, `cuda` or `cuda:1`. Raises ConfigError or DeviceError."""
    kind, colon, number = text.partition(":")
    if kind not in get_args(RequestedDevice):
        raise ConfigError(f"--device {text}: {suggest(kind, get_args(RequestedDevice))}")
    if colon and not (kind == "cuda" and number.isdecimal()):
        raise ConfigError(f"--device {text}: only a GPU has a number, cuda:0, cuda:1, …")
    try:
        return choose_device(cast(RequestedDevice, kind), int(number or 0))
    except DeviceError as error:
        there = torch.cuda.device_count() if torch.cuda.is_available() else 0
        raise DeviceError(
            f"--device {text}: torch sees {there} usable GPUs on this machine; run `rml doctor`, "
            "or choose cpu or auto"
        ) from error


def class_names_of(task: RunTask) -> tuple[str, ...]:
    """Class names of a run in the order of their numbers: from its task; of runs of earlier
    versions from their prepared images or their result. Raises DataError where none has them."""
    if task.class_names:
        return task.class_names
    if (task.prepared_path / "manifest.json").is_file():
        return Manifest.read(task.prepared_path).class_names
    result = RunFolder.of(task.storage, task.run_id).result()
    if result is not None:
        return tuple(result.evaluations[0].iou_by_class)
    raise DataError(
        f"run {task.run_id}: its class names are not known: it was started by an earlier version, "
        f"has not finished, and its prepared images {task.prepared_path} are not there. Launch it "
        "again"
    )
