"""Every network in every format: what is written runs alone and computes what the network does."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import timm
import torch
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidArgument
from safetensors import safe_open
from torch import Tensor

from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.batchnorm import batchnorm_layers
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.prediction.export import (
    FORMATS,
    Exported,
    ImageToScores,
    export_network,
    load_exported_network,
    settings_json,
)
from rml_trainers.prediction.export.torchscript_file import METADATA_FILE
from tests.support.tiny import NETWORK_CONFIGS

CLASSES = ("road", "car", "naïve sky", "person", "bus")
USUAL_PX = (32, 48)
ONLY_SIZE = {
    ("mlp", "onnx"): USUAL_PX,
    ("mlp", "torchscript"): USUAL_PX,
    ("mlp", "safetensors"): USUAL_PX,
    ("dpt", "torchscript"): USUAL_PX,
    ("segformer_head", "torchscript"): USUAL_PX,
    ("setr", "torchscript"): USUAL_PX,
}
"""Size of the images of those files that take one size only."""
pytestmark = [
    pytest.mark.usefixtures("single_thread"),
    pytest.mark.filterwarnings("ignore:.torch.jit.load. is deprecated:FutureWarning"),
]


@dataclass(frozen=True)
class Case:
    """One file, and the network that is in it."""

    network_name: str
    format_name: str
    network: SegmentationNetwork
    exported: Exported


def trained_looking(name: str) -> SegmentationNetwork:
    """A network none of whose weights and statistics are those that it starts with."""
    torch.manual_seed(0)
    network = build_network(NETWORK_CONFIGS[name], len(CLASSES), NoiseConfig(dropout=0.5))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
        for layer in batchnorm_layers(network):
            for name in ("weight", "running_var"):
                tensor = layer.state_dict()[name]
                tensor.add_(torch.rand_like(tensor))
            for name in ("bias", "running_mean"):
                tensor = layer.state_dict()[name]
                tensor.add_(torch.randn_like(tensor), alpha=0.1)
        for name in ("mean", "std"):
            statistics = network.get_buffer(name)
            statistics.add_(torch.rand_like(statistics), alpha=0.1)
    return network


@pytest.fixture(
    scope="module",
    params=[(network, form) for network in NETWORKS for form in FORMATS],
    ids="-".join,
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    network_name, format_name = request.param
    network = trained_looking(network_name)
    folder = tmp_path_factory.mktemp("export")
    exported = export_network(
        ImageToScores([network], "logits"),
        folder / f"network{FORMATS[format_name].suffixes[0]}",
        format_name,
        fixed_px=None,
        usual_px=USUAL_PX,
        metadata={
            "rml.run_id": "scenes-4-rml-s0",
            "rml.class_names": json.dumps(CLASSES, ensure_ascii=False),
            "rml.network_settings": settings_json([NETWORK_CONFIGS[network_name]]),
        },
        images=[np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)],
    )
    assert [path.name for path in folder.iterdir()] == [exported.path.name], "nothing is left over"
    return Case(network_name, format_name, network, exported)


def _run_onnx(path: Path, images: Tensor) -> Tensor:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])


def _run_torchscript(path: Path, images: Tensor) -> Tensor:
    scores: Tensor = torch.jit.load(path)(images)  # type: ignore[no-untyped-call]
    return scores


def _run_safetensors(path: Path, images: Tensor) -> Tensor:
    return _scores_of(load_exported_network(path), images)


RUN: dict[str, Callable[[Path, Tensor], Tensor]] = {
    "onnx": _run_onnx,
    "torchscript": _run_torchscript,
    "safetensors": _run_safetensors,
}


def _metadata(case: Case) -> dict[str, str]:
    path = case.exported.path
    if case.format_name == "onnx":
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return dict(session.get_modelmeta().custom_metadata_map)
    if case.format_name == "torchscript":
        files = {METADATA_FILE: ""}
        torch.jit.load(path, _extra_files=files)  # type: ignore[no-untyped-call]
        return dict(json.loads(files[METADATA_FILE]))
    with safe_open(path, framework="pt") as stored:
        return dict(stored.metadata())


def _scores_of(network: SegmentationNetwork, images: Tensor) -> Tensor:
    """What training makes of an image: pixels in [0, 1] in, logits at its size out."""
    size_px = (images.shape[-2], images.shape[-1])
    return network.upsample(network(images / 255).logits, size_px)


def noise(num_images: int, size_px: tuple[int, int]) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    shape = (num_images, 3, *size_px)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def sizes(case: Case) -> list[tuple[int, int]]:
    """Sizes that the export itself has not tried where the file takes any: of whole patches and
    strides, and of none, upright and larger than all that it was recorded with."""
    only = case.exported.fixed_px
    return [(48, 80), (131, 77)] if only is None else [only]


@torch.no_grad()
def test_a_file_computes_what_the_network_does_for_any_batch_and_size(case: Case) -> None:
    for size_px in sizes(case):
        for num_images in (1, 3):
            images = noise(num_images, size_px)
            expected = _scores_of(case.network.eval(), images)
            found = RUN[case.format_name](case.exported.path, images)
            assert expected.std() > 1e-2 * expected.abs().max(), "there is something to compare"
            largest = expected.abs().max()
            torch.testing.assert_close(found / largest, expected / largest, atol=2e-5, rtol=0)


def test_only_networks_and_formats_that_need_it_hold_a_size(case: Case) -> None:
    assert case.exported.fixed_px == ONLY_SIZE.get((case.network_name, case.format_name))


def test_the_comparison_saw_random_and_real_images(case: Case) -> None:
    real = case.exported.real
    assert real is not None
    only = case.exported.fixed_px
    assert real.num_pixels == (40 * 50 if only is None else only[0] * only[1])
    for difference in (case.exported.random, real):
        assert difference.is_tolerable and difference.changed_pixels == 0
        assert difference.largest < 0.1 * difference.allowed


def test_a_file_says_what_its_network_is(case: Case) -> None:
    metadata = _metadata(case)
    assert metadata["rml.run_id"] == "scenes-4-rml-s0"
    assert json.loads(metadata["rml.class_names"]) == list(CLASSES)
    (normalisation,) = json.loads(metadata["rml.normalisation"])
    for name in ("mean", "std"):
        expected = case.network.get_buffer(name).flatten()
        torch.testing.assert_close(torch.tensor(normalisation[name]), expected)
    only = case.exported.fixed_px
    if case.format_name != "safetensors":
        shape = ["batch", 3, *(only or ("height", "width"))]
        assert json.loads(metadata["rml.input"])["shape"] == shape
        assert json.loads(metadata["rml.output"])["name"] == "logits"


def test_what_a_file_would_misread_is_refused(case: Case) -> None:
    if not FORMATS[case.format_name].has_graph:
        return  # nothing in it that could refuse
    run = RUN[case.format_name]
    wrong = [noise(1, (32, 48)).float(), noise(1, (32, 48))[:, :1]]
    if case.exported.fixed_px is not None:
        wrong.append(noise(1, (33, 48)))
    for images in wrong:
        with pytest.raises((InvalidArgument, torch.jit.Error)) as refused:
            run(case.exported.path, images)
        if case.format_name == "torchscript":
            said = str(refused.value)
            assert "expected RGB images: uint8" in said or "32 x 48 pixels only" in said


@torch.no_grad()
@pytest.mark.filterwarnings("error:While compiling, we found", "error:The tensor attribute")
def test_rotary_positions_are_worked_out_for_each_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are kept between forwards elsewhere, and a file must not keep those of one size."""
    create = timm.create_model
    small = partial(create, depth=1, embed_dim=48, num_heads=3)
    monkeypatch.setattr("timm.create_model", small)
    config = SetrConfig(backbone="vit_small_patch16_dinov3", weights="none", decoder="naive")
    network = build_network(config, len(CLASSES), NoiseConfig(model=False)).eval()
    path = tmp_path / "a.onnx"
    export_network(
        ImageToScores([network], "logits"),
        path,
        "onnx",
        fixed_px=None,
        usual_px=USUAL_PX,
        metadata={},
        images=[],
    )
    images = noise(1, (131, 77))
    expected = _scores_of(network, images)
    torch.testing.assert_close(_run_onnx(path, images), expected, atol=1e-5, rtol=1e-4)
