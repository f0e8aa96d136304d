"""A network of a recorded run as a file of another format, and what is said of it."""

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import typer

from rml_platform.environment import code_version
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import RunTask
from rml_platform.views.prediction import RecordedNetwork, load_recorded, recorded_task
from rml_trainers.configuration import suggest
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.prediction.export import (
    FORMATS,
    OUTPUTS,
    Difference,
    Exported,
    ImageToScores,
    Output,
    check_target,
    export_network,
    settings_json,
)
from rml_trainers.prediction.inference import network_numbers
from rml_trainers.prediction.overlays import palette

NUM_REAL = 3
"""Validation images that a file is compared on."""


def export_recorded(
    storage: str,
    run_id: str,
    format_name: str,
    *,
    to: Path | None,
    network: str | None,
    output: str,
    fixed_px: tuple[int, int] | None,
    overwrite: bool,
    out: Path,
) -> None:
    """Export and print where the network comes from, what the file takes and gives, and how far it
    differs from torch.

    `out` is the output folder, which may hold the run's images.

    Raises ConfigError for an unknown run, network, format or output, for a file that is there
    already or packages that are not, and for a file that computes something else than torch;
    CheckpointError when the run has no sound checkpoint.
    """
    task = recorded_task(storage, run_id, out)
    name = network or task.config.evaluation.networks[0]
    network_numbers(task.config, name)
    given = _checked_output(format_name, output, fixed_px)
    path = to or Path(f"{run_id}-{name}{FORMATS[format_name].suffixes[0]}")
    check_target(path, format_name, overwrite=overwrite)
    loaded = load_recorded(task, network=name, device="cpu", accelerated=False)
    exported = export_network(
        ImageToScores(_networks(loaded), given),
        path,
        format_name,
        fixed_px=fixed_px,
        usual_px=loaded.size_px or task.config.geometry.crop_px,
        metadata=_metadata(loaded),
        images=_some_images(task),
    )
    for line in _lines(loaded, exported, given, format_name, fixed_px):
        typer.echo(line)


def _checked_output(format_name: str, output: str, fixed_px: tuple[int, int] | None) -> Output:
    if format_name not in FORMATS:
        raise ConfigError(f"--format {format_name}: {suggest(format_name, FORMATS)}")
    if fixed_px is not None and min(fixed_px) < 1:
        raise ConfigError(f"--size {fixed_px[0]} {fixed_px[1]}: expected at least 1 pixel each way")
    if not FORMATS[format_name].has_graph and (fixed_px is not None or output != OUTPUTS[0]):
        raise ConfigError(
            f"--format {format_name} holds weights only: --size and --output are for the others"
        )
    for known in OUTPUTS:
        if output == known:
            return known
    raise ConfigError(f"--output {output}: {suggest(output, OUTPUTS)}")


def _networks(loaded: RecordedNetwork) -> list[SegmentationNetwork]:
    """Built anew for predictions, in plain torch: see `load_network`."""
    return [one for one in loaded.predictor.networks if isinstance(one, SegmentationNetwork)]


def _some_images(task: RunTask) -> list[npt.NDArray[np.uint8]]:
    """Up to `NUM_REAL` validation images, from all over the set; none where the images are not
    there."""
    if not (task.prepared_path / "manifest.json").is_file():
        return []
    data = PreparedData.open(task.prepared_path)
    num_images = len(data.names("val"))
    chosen = np.linspace(0, num_images - 1, min(NUM_REAL, num_images)).round().astype(int)
    return [data.image("val", int(i)) for i in chosen]


def _metadata(loaded: RecordedNetwork) -> dict[str, str]:
    """What a file says of its network: plain text, or JSON where it has parts."""
    task = loaded.task
    config = task.config
    result = RunFolder.of(task.storage, task.run_id).result()
    scores = {
        evaluation.protocol: None if math.isnan(evaluation.miou) else evaluation.miou
        for evaluation in (result.evaluations if result else ())
        if evaluation.network == loaded.name
    }
    networks = [
        config.student_networks[number - 1] for number in network_numbers(config, loaded.name)
    ]
    return {
        "rml.version": code_version().version,
        "rml.trained_with": task.code_version,
        "rml.run_id": task.run_id,
        "rml.network": loaded.name,
        "rml.network_settings": settings_json(networks),
        "rml.step": str(loaded.step),
        "rml.finished": json.dumps(result is not None),
        "rml.miou_by_protocol": json.dumps(scores),
        "rml.evaluation": json.dumps(dataclasses.asdict(config.evaluation)),
        "rml.data": config.data.name,
        "rml.size_px": json.dumps(loaded.size_px),
        "rml.class_names": json.dumps(loaded.class_names, ensure_ascii=False),
        "rml.class_colours": json.dumps(palette(len(loaded.class_names)).tolist()),
    }


def _lines(
    loaded: RecordedNetwork,
    exported: Exported,
    output: Output,
    format_name: str,
    fixed_px: tuple[int, int] | None,
) -> Iterator[str]:
    yield from (f"note: {note}" for note in loaded.notes)
    run = RunFolder.of(loaded.task.storage, loaded.task.run_id)
    unfinished = "" if run.result() else ", of a run that has not finished"
    yield f"{loaded.name} of {loaded.task.run_id} at step {loaded.step}{unfinished}"
    size = exported.fixed_px
    shape = "height, width" if size is None else f"{size[0]}, {size[1]}"
    if FORMATS[format_name].has_graph:
        yield (
            f"takes images uint8 [batch, 3, {shape}], RGB; gives {output} float32 "
            f"[batch, {len(loaded.class_names)}, {shape}]"
        )
        if size is not None and fixed_px is None:
            yield f"note: images of {size[0]}×{size[1]} pixels only ({_why_fixed(loaded)})"
    inference = loaded.task.config.evaluation.inference
    if inference != "whole":
        yield f"note: the run's score is of {inference} images; the file takes whole ones"
    yield f"compared with torch on the CPU, by {exported.checked_with}:"
    yield f"  random images: {_told(exported.random)}"
    if exported.real is None:
        yield f"  validation images: none, {loaded.task.prepared_path} is not there"
    else:
        yield f"  validation images: {_told(exported.real)}"
    yield f"{exported.path}  {exported.path.stat().st_size / 1e6:.1f} MB"


def _why_fixed(loaded: RecordedNetwork) -> str:
    if any(network.input_px is not None for network in _networks(loaded)):
        return "the network takes no others"
    return "TorchScript cannot leave it open for this network; --size chooses another"


def _told(difference: Difference) -> str:
    return (
        f"largest difference {difference.largest:.2g} (allowed {difference.allowed:.2g}), "
        f"{100 * difference.changed_share:.4g} % of the pixels get another class"
    )
