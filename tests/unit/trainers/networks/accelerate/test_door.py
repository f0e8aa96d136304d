"""One door to faster forms: what it changes where, and what is left when torch lacks a name."""

import ast
import copy
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rml_trainers
from rml_trainers.config import NetworkConfig
from rml_trainers.networks import NETWORKS, build_network
from rml_trainers.networks.accelerate import Recompute, accelerate, private_names
from rml_trainers.networks.accelerate import what_is_accelerated as told
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.students.ema import MeanTeacherUpdate
from rml_trainers.training.warnings import left_out
from tests.support.tiny import NETWORK_CONFIGS

pytestmark = pytest.mark.usefixtures("single_thread")
CPU = torch.device("cpu")
CUDA = torch.device("cuda")
CASES: dict[str, NetworkConfig] = {
    **NETWORK_CONFIGS,
    "tf_efficientnet_lite0": DeepLabV2Config(backbone="tf_efficientnet_lite0", weights="none"),
    "mobilenetv3_small_100": DeepLabV2Config(backbone="mobilenetv3_small_100", weights="none"),
}
PRIVATE = sorted(
    {private_names.CONVOLUTION_BACKWARD, private_names.VERSION, *private_names.NORMALISING}
)


def network_of(config: NetworkConfig) -> SegmentationNetwork:
    """In float64, where rounding cannot hide a difference."""
    torch.manual_seed(0)
    return build_network(config, 5, NoiseConfig(model=False)).double()


def learn(network: SegmentationNetwork) -> list[Tensor]:
    """Logits, gradients and statistics after a step on 32×48 pixels."""
    images = torch.rand(2, 3, 32, 48, generator=torch.Generator().manual_seed(2)).double()
    logits: Tensor = network(images).logits
    logits.square().mean().backward()  # type: ignore[no-untyped-call]
    gradients = [p.grad for p in network.parameters() if p.grad is not None]
    return [logits.detach(), *gradients, *network.buffers()]


def assert_same(found: list[Tensor], wanted: list[Tensor]) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-7, atol=1e-10)


def changed_layers(network: nn.Module, plain: nn.Module) -> set[str]:
    """Names of layers that are of another type, run another way or have other settings."""
    twins = dict(plain.named_modules())
    return {
        name
        for name, layer in network.named_modules()
        if type(layer) is not type(twins[name])
        or "forward" in vars(layer)
        or layer.extra_repr() != twins[name].extra_repr()
    }


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Takes a name, counted from `torch.`, away from torch."""

    def hidden(name: str) -> None:
        *path, last = name.split(".")
        owner: object = torch
        for part in path:
            owner = getattr(owner, part)
        monkeypatch.setattr(owner, last, None)

    return hidden


@pytest.mark.parametrize("recompute", [None, "none"])
@pytest.mark.parametrize("name", CASES)
def test_on_a_gpu_a_network_is_plain_torch_unless_told(
    name: str, recompute: Recompute | None
) -> None:
    network = network_of(CASES[name])
    plain = copy.deepcopy(network)
    accelerate(network, CUDA, recompute=recompute)
    assert changed_layers(network, plain) == set()
    assert told(CUDA, recompute=recompute).forms == ()


@pytest.mark.parametrize("recompute", [None, "none", "batchnorm", "backbone"])
@pytest.mark.parametrize("name", CASES)
def test_the_same_step_whatever_is_asked_for(name: str, recompute: Recompute | None) -> None:
    network = network_of(CASES[name])
    plain = copy.deepcopy(network)
    accelerate(network, CPU, recompute=recompute)
    assert list(network.state_dict()) == list(plain.state_dict())
    assert_same(learn(network), learn(plain))


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("name", ["tf_efficientnet_lite0", "mobilenetv3_small_100"])
def test_without_a_private_name_layers_stay_torch_s_own(
    name: str, private: str, hide: Callable[[str], None]
) -> None:
    network = network_of(CASES[name])
    whole = copy.deepcopy(network)
    accelerate(whole, CPU, recompute="batchnorm")
    wanted = learn(whole)
    before = told(CPU, recompute="batchnorm")
    hide(private)
    after = told(CPU, recompute="batchnorm")
    accelerate(network, CPU, recompute="batchnorm")
    assert_same(learn(network), wanted)
    assert before.left_out == () and len(after.forms) < len(before.forms)
    assert all(f"torch.{private}" in why for why in after.left_out)
    warning = left_out(after)
    assert warning is not None and f"torch.{private}" in warning and left_out(before) is None


def test_without_any_of_them_only_public_forms_are_left(hide: Callable[[str], None]) -> None:
    for name in PRIVATE:
        hide(name)
    public = ("1×1 convolutions by oneDNN", "SiLU and Hardswish without a copy")
    assert told(CPU, recompute="batchnorm").forms == public
    for name in CASES:
        network = network_of(CASES[name])
        plain = copy.deepcopy(network)
        accelerate(network, CPU, recompute="batchnorm")
        assert_same(learn(network), learn(plain))
        assert not any("forward" in vars(layer) for layer in network.modules())


def test_mean_teachers_without_the_private_copy(hide: Callable[[str], None]) -> None:
    student = network_of(CASES["deeplab_v2"])
    teachers = [copy.deepcopy(student).requires_grad_(False) for _ in range(2)]
    learn(student)
    MeanTeacherUpdate(student, teachers[0], 0.9)(0)
    hide(private_names.COPY_ALL)
    assert told(CUDA).left_out == (
        "statistics of mean teachers copied at once (torch._foreach_copy_)",
    )
    MeanTeacherUpdate(student, teachers[1], 0.9)(0)
    for one, other in zip(*(teacher.state_dict().values() for teacher in teachers), strict=True):
        assert torch.equal(one, other)
    for buffer, source in zip(teachers[1].buffers(), student.buffers(), strict=True):
        assert torch.equal(buffer, source)


ROOM = Path(rml_trainers.__file__).parent
NETWORK_FILES = [
    file for file in sorted((ROOM / "networks").rglob("*.py")) if file.parent.name != "accelerate"
]
KNOWN_TO_FORMS = {"batchnorm", "layers", "network"}


def imported(file: Path) -> set[str]:
    return {
        node.module
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module
    }


def test_networks_know_nothing_of_their_faster_forms() -> None:
    for file in NETWORK_FILES:
        assert not any(".accelerate" in name for name in imported(file)), file.name
    for file in (ROOM / "networks" / "accelerate").glob("*.py"):
        siblings = {
            name.split(".")[2]
            for name in imported(file)
            if name.startswith("rml_trainers.networks.")
        }
        assert siblings <= {"accelerate", *KNOWN_TO_FORMS}, file.name


def test_private_names_of_torch_are_used_here_only() -> None:
    private = re.compile(r"torch\._[a-z]|torch\.\w+\._[a-z]|torch\.ops\b|\._version\b|\._cdata\b")
    users = {
        file.relative_to(ROOM).as_posix()
        for file in ROOM.rglob("*.py")
        if private.search(file.read_text())
    }
    assert users and {user.rpartition("/")[0] for user in users} == {"networks/accelerate"}


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_made_afterwards_stay_apart(name: str) -> None:
    original = network_of(NETWORK_CONFIGS[name])
    accelerate(original, CPU, recompute="batchnorm")
    twin = copy.deepcopy(original)
    learn(twin)
    assert all(p.grad is None for p in original.parameters())
    assert any(p.grad is not None for p in twin.parameters())
