"""Prediction from a checkpoint folder: the right weights, the right size, and clear refusals."""

from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from torch import nn

from rml_trainers.checkpoint.folder import Checkpoint, CheckpointHeader, save_checkpoint
from rml_trainers.config import RunConfig
from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.networks import build_network
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.prediction.inference import Predictor, load_network, predict_image
from rml_trainers.scoring.image_passes import INFERENCES, ScoredNetwork
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.students.named_tensors import numbered
from tests.support.tiny import NETWORK, tiny_config

CPU = torch.device("cpu")
K = 4


def _networks(config: RunConfig, first_seed: int) -> list[SegmentationNetwork]:
    networks = []
    for seed, network in enumerate(config.student_networks, start=first_seed):
        torch.manual_seed(seed)
        networks.append(build_network(network, K, config.noise).eval())
        nn.init.normal_(networks[-1].get_parameter("aspp.branches.0.weight"))
        networks[-1].mean += 0.01 * seed
    return networks


@pytest.fixture
def config() -> RunConfig:
    return tiny_config("iml")


@pytest.fixture
def checkpoint(config: RunConfig, tmp_path: Path) -> Path:
    header = CheckpointHeader(step=1, finished=True, identity="test")
    students, teachers = (numbered(nn.ModuleList(_networks(config, seed))) for seed in (0, 10))
    folder = tmp_path / "checkpoint"
    save_checkpoint(
        folder,
        Checkpoint(
            header=header,
            students=students,
            teachers=teachers,
            optimiser={},
            extras={},
            evaluations=(),
        ),
    )
    return folder


def _images() -> torch.Tensor:
    return torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _expected(network: SegmentationNetwork) -> torch.Tensor:
    return network.upsample(network(_images()).logits, (32, 48)).softmax(dim=1)


@pytest.mark.parametrize(
    ("name", "first_seed", "number"),
    [("student_1", 0, 0), ("student_2", 0, 1), ("teacher_1", 10, 0), ("teacher_2", 10, 1)],
)
def test_each_network_is_loaded_with_its_own_weights_and_input_statistics(
    name: str, first_seed: int, number: int, checkpoint: Path, config: RunConfig
) -> None:
    predictor = load_network(checkpoint, config, K, name, CPU)
    expected = _expected(_networks(config, first_seed)[number])
    torch.testing.assert_close(predictor(_images(), (32, 48)), expected, atol=1e-5, rtol=1e-4)
    assert not predictor.training and not any(p.requires_grad for p in predictor.parameters())


def test_the_ensemble_averages_the_teachers_probabilities(
    checkpoint: Path, config: RunConfig
) -> None:
    predictor = load_network(checkpoint, config, K, "ensemble", CPU)
    first, second = map(_expected, _networks(config, 10))
    torch.testing.assert_close(
        predictor(_images(), (32, 48)), (first + second) / 2, atol=1e-5, rtol=1e-4
    )


def test_pretrained_weights_are_not_fetched_again(checkpoint: Path, config: RunConfig) -> None:
    from dataclasses import replace

    elsewhere = replace(
        config, network=replace(NETWORK, weights="file", weights_file="nowhere.pth")
    )
    load_network(checkpoint, elsewhere, K, "student_1", CPU)


def test_a_mask_has_the_images_own_size_and_follows_the_image(
    checkpoint: Path, config: RunConfig
) -> None:
    predictor = load_network(checkpoint, config, K, "teacher_1", CPU)
    image = np.random.default_rng(0).integers(0, 256, size=(32, 48, 3), dtype=np.uint8)
    mask = predict_image(predictor, image, (32, 48))
    probability = predictor(torch.from_numpy(image).permute(2, 0, 1)[None] / 255, (32, 48))
    assert mask.dtype == np.uint8 and np.array_equal(mask, probability[0].argmax(0).numpy())
    larger = np.repeat(np.repeat(image, 3, axis=0), 2, axis=1)
    assert predict_image(predictor, larger, (32, 48)).shape == (96, 96)


@pytest.mark.parametrize(
    ("inference", "inference_px"), [("padded", (40, 56)), ("sliding", (32, 32))]
)
def test_images_go_through_the_network_as_they_do_when_scored(
    inference: Literal["padded", "sliding"], inference_px: tuple[int, int], config: RunConfig
) -> None:
    network = _networks(config, 0)[0]
    images = _images()
    size_px = (32, 48)
    evaluation = EvaluationConfig(inference=inference, inference_px=inference_px)
    inside = torch.zeros(2, 40, 56, dtype=torch.bool)
    inside[:, :32, :48] = True
    shown = images if inference == "sliding" else torch.nn.functional.pad(images, (0, 8, 0, 8))
    scored = ScoredNetwork(
        lambda x: network.upsample(network(x).logits, (x.shape[-2], x.shape[-1])), network.mean
    )
    with torch.no_grad():
        expected = INFERENCES[inference](scored, shown, inside, evaluation).softmax(dim=1)[
            ..., :32, :48
        ]
    predictor = Predictor([network], CPU, torch.float32, evaluation)
    torch.testing.assert_close(predictor(images, size_px), expected, atol=1e-5, rtol=1e-4)
    larger = predictor(images, (64, 96))
    torch.testing.assert_close(larger, network.upsample(expected, (64, 96)), atol=1e-5, rtol=1e-4)


def test_an_image_that_does_not_fit_the_canvas_is_predicted_whole(config: RunConfig) -> None:
    network = _networks(config, 0)[0]
    evaluation = EvaluationConfig(inference="padded", inference_px=(32, 40))
    found = Predictor([network], CPU, torch.float32, evaluation)(_images(), (32, 48))
    torch.testing.assert_close(found, _expected(network), atol=1e-5, rtol=1e-4)


def test_a_network_that_the_run_does_not_have_is_refused(
    checkpoint: Path, config: RunConfig
) -> None:
    with pytest.raises(ConfigError, match="did you mean 'teacher_1'"):
        load_network(checkpoint, config, K, "teacher1", CPU)
    with pytest.raises(ConfigError, match="'supervised' has one student"):
        load_network(checkpoint, tiny_config("supervised"), K, "student_2", CPU)


def test_a_checkpoint_that_does_not_fit_is_refused(checkpoint: Path, config: RunConfig) -> None:
    with pytest.raises(CheckpointError, match=r"network 1 does not fit .* with 9 classes"):
        load_network(checkpoint, config, 9, "student_1", CPU)
    (checkpoint / "teachers.safetensors").write_bytes(b"cut off")
    with pytest.raises(CheckpointError, match=r"teachers\.safetensors"):
        load_network(checkpoint, config, K, "teacher_1", CPU)


def test_a_predictor_gives_probabilities(config: RunConfig) -> None:
    probability = Predictor(_networks(config, 0), CPU, torch.bfloat16)(_images(), (40, 50))
    assert probability.shape == (2, K, 40, 50) and probability.dtype == torch.float32
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(2, 40, 50))
