"""The MLP of the MNIST experiment: one cell per image, dropout in front of the classifier only,
whole runs with it."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.checkpoint.folder import save_checkpoint
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.mnist import MnistConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks import build_network
from rml_trainers.networks.mlp import MNIST_MEAN, MNIST_STD, MlpConfig
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.prediction.inference import load_network
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.own_data.idx_files import write_mnist
from tests.support.tiny import tiny_config

CONFIG = MlpConfig(hidden=(16, 12))
SILENT = NoiseConfig(model=False)
pytestmark = pytest.mark.usefixtures("single_thread")


def _images(num_images: int = 3) -> Tensor:
    return torch.rand(num_images, 3, 28, 28, generator=torch.Generator().manual_seed(0))


def test_it_is_three_linear_layers_on_the_normalised_grey_image() -> None:
    network = build_network(CONFIG, 10, SILENT)
    linear = [layer for layer in network.modules() if isinstance(layer, nn.Linear)]
    assert [tuple(layer.weight.shape) for layer in linear] == [(16, 784), (12, 16), (10, 12)]
    hidden = ((_images().mean(1) - MNIST_MEAN) / MNIST_STD).flatten(1)
    for layer in linear[:2]:
        hidden = (hidden @ layer.weight.T + layer.bias).clamp(min=0)
    output = network(_images())
    torch.testing.assert_close(output.feature, hidden[..., None, None])
    torch.testing.assert_close(
        output.logits[..., 0, 0], hidden @ linear[2].weight.T + linear[2].bias
    )
    assert network.feature_width == 12


def test_its_one_cell_stands_for_every_pixel_with_the_gradient_of_bilinear_upsampling() -> None:
    network = build_network(CONFIG, 10, SILENT)
    grads = []
    for upsample in (
        network.upsample,
        lambda maps, size: functional.interpolate(maps, size, mode="bilinear"),
    ):
        network.zero_grad()
        torch.autograd.backward(upsample(network(_images()).logits, (28, 28)).square().mean())
        grads.append(
            [
                parameter.grad.clone()
                for parameter in network.parameters()
                if parameter.grad is not None
            ]
        )
    for ours, theirs in zip(*grads, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_model_noise_is_dropout_in_front_of_the_classifier_and_no_stochastic_depth() -> None:
    network = build_network(CONFIG, 10, NoiseConfig(dropout=0.5, drop_path=0.9))
    first = network(_images())
    second = network(_images())
    assert torch.equal(first.feature, second.feature) and not torch.equal(
        first.logits, second.logits
    )
    for quiet in (network.eval(), build_network(CONFIG, 10, SILENT)):
        assert torch.equal(quiet(_images()).logits, quiet(_images()).logits)


def test_every_parameter_is_in_one_group() -> None:
    network = build_network(CONFIG, 10, SILENT)
    grouped = [*network.backbone_parameters(), *network.head_parameters()]
    assert len(grouped) == len({id(p) for p in grouped}) == len(list(network.parameters())) == 6


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    root = tmp_path_factory.mktemp("mnist")
    write_mnist(root)
    return ensure_prepared(MnistConfig(), root, root / "cache")


def _config(method: str) -> RunConfig:
    geometry = GeometryConfig(crop_px=(28, 28), flip_probability=0.0)
    return tiny_config(
        method, data=MnistConfig(), network=CONFIG, geometry=geometry, noise=NoiseConfig()
    )


def _fit(config: RunConfig, data: PreparedData, folder: Path) -> Trainer:
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config, data, split, device=torch.device("cpu"), reporter=MemoryReporter(), work_dir=folder
    )
    trainer.fit()
    return trainer


@pytest.mark.parametrize("method", METHODS)
def test_every_method_trains_it_on_digits(method: str, digits: PreparedData, scratch: Path) -> None:
    """With all noise: CutMix of digits gives a target of two classes, weighed by their area."""
    trainer = _fit(_config(method), digits, scratch)
    (score,) = trainer.evaluations
    assert score.protocol.startswith("mnist-28x28/teacher_1/")
    assert score.confusion.sum() == 8 * 28 * 28
    assert score.accuracy * 8 == pytest.approx(round(score.accuracy * 8)), (
        "an image is right or wrong as a whole"
    )


def test_a_checkpoint_is_loaded_for_prediction(digits: PreparedData, scratch: Path) -> None:
    config = _config("iml")
    trainer = _fit(config, digits, scratch)
    save_checkpoint(scratch / "saved", trainer._checkpoint())
    predictor = load_network(scratch / "saved", config, 10, "teacher_2", torch.device("cpu"))
    expected = trainer.learners.teacher(1)(_images()).logits[..., 0, 0].softmax(1)
    torch.testing.assert_close(predictor(_images(), (28, 28))[..., 5, 9], expected)


def test_a_run_whose_images_it_cannot_read_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"geometry\.crop_px = \(24, 32\): expected the input of the network mlp"
    ):
        tiny_config("iml", network=CONFIG)
    with pytest.raises(
        ValueError,
        match=r"data\.size_px = \(28, 30\): expected the input of the network mlp, \(28, 28",
    ):
        replace(_config("iml"), data=MnistConfig(size_px=(28, 30)))
    with pytest.raises(ValueError, match=r"method\.min_cells = 10: expected 1"):
        replace(_config("rml"), method=RmlConfig(min_cells=10))
