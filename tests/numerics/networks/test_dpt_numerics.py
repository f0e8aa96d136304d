"""DPT's head against its equations as UniMatch V2's code has them, on the network's own weights."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.networks.dpt import DPT, DptConfig, build_dpt
from rml_trainers.networks.layers import without_padding
from rml_trainers.noise.config import NoiseConfig
from tests.support.networks.moved_weights import moved

pytestmark = pytest.mark.usefixtures("single_thread")
CONFIG = DptConfig(backbone="test_vit", weights="none", map_widths=(3, 4, 5, 6), decoder_width=7)


@pytest.fixture
def network() -> DPT:
    torch.manual_seed(0)
    return moved(build_dpt(CONFIG, 3, NoiseConfig(model=False))).double().eval()


class Head:
    """The authors' head: everything by name, no loop."""

    def __init__(self, state: dict[str, Tensor]) -> None:
        self.state = state

    def conv(self, maps: Tensor, name: str, padding: int = 0, stride: int = 1) -> Tensor:
        weight = self.state[f"{name}.weight"]
        bias = self.state.get(f"{name}.bias")
        return functional.conv2d(maps, weight, bias, padding=padding, stride=stride)

    def enlarged(self, maps: Tensor, name: str, factor: int) -> Tensor:
        """A transposed convolution whose kernel is its stride: every cell becomes a square."""
        weight = self.state[f"{name}.weight"]
        squares = torch.einsum("bihw,ioyx->bohywx", maps, weight)
        whole = squares.reshape(
            *squares.shape[:2], factor * maps.shape[-2], factor * maps.shape[-1]
        )
        return whole + self.state[f"{name}.bias"].view(1, -1, 1, 1)

    def unit(self, maps: Tensor, name: str) -> Tensor:
        change = self.conv(maps.clamp(min=0), f"{name}.first", padding=1)
        return maps + self.conv(change.clamp(min=0), f"{name}.second", padding=1)

    def fusion(self, maps: Tensor, number: int, size: tuple[int, ...]) -> Tensor:
        maps = self.unit(maps, f"fusions.{number}.unit")
        maps = functional.interpolate(maps, size=size, mode="bilinear", align_corners=True)
        return self.conv(maps, f"fusions.{number}.out")

    def __call__(self, patches: list[Tensor]) -> Tensor:
        projected = [self.conv(each, f"reassemble.{n}.project") for n, each in enumerate(patches)]
        first = self.enlarged(projected[0], "reassemble.0.resize", 4)
        second = self.enlarged(projected[1], "reassemble.1.resize", 2)
        fourth = self.conv(projected[3], "reassemble.3.resize", padding=1, stride=2)
        maps = [
            self.conv(each, f"reassemble.{n}.reduce", padding=1)
            for n, each in enumerate((first, second, projected[2], fourth))
        ]
        path = self.fusion(maps[3], 3, maps[2].shape[2:])
        path = self.fusion(path + self.unit(maps[2], "fusions.2.joined"), 2, maps[1].shape[2:])
        path = self.fusion(path + self.unit(maps[1], "fusions.1.joined"), 1, maps[0].shape[2:])
        twice = (2 * maps[0].shape[-2], 2 * maps[0].shape[-1])
        path = self.fusion(path + self.unit(maps[0], "fusions.0.joined"), 0, twice)
        return self.conv(path, "last", padding=1).clamp(min=0)


@torch.no_grad()
def test_four_maps_are_reassembled_and_fused(network: DPT) -> None:
    images = torch.rand(2, 3, 48, 80, dtype=torch.float64)
    patches = network.backbone(network.normalise(images))
    assert [tuple(each.shape[1:]) for each in patches] == [(64, 3, 5)] * 4
    state = network.state_dict()
    feature = Head(state)(patches)
    assert feature.shape == (2, 7, 24, 40)
    output = network(images)
    torch.testing.assert_close(output.feature, feature)
    logits = functional.conv2d(feature, state["classifier.weight"], state["classifier.bias"])
    torch.testing.assert_close(output.logits, logits)


@torch.no_grad()
def test_maps_are_the_normalised_outputs_of_the_chosen_blocks(network: DPT) -> None:
    """The tokens of a block, walked through by hand, without the class token."""
    images = torch.rand(1, 3, 32, 48, dtype=torch.float64)
    model = network.backbone.get_submodule("model")
    kept = {}
    blocks = model.get_submodule("blocks")
    for number, block in enumerate(blocks.children()):
        block.register_forward_hook(lambda _, __, out, number=number: kept.update({number: out}))
    patches = network.backbone(network.normalise(images))
    norm = model.get_submodule("norm")
    for number, found in zip(CONFIG.chosen_blocks(6), patches, strict=True):
        tokens = norm(kept[number])[:, 1:]
        torch.testing.assert_close(found, tokens.reshape(1, 2, 3, -1).permute(0, 3, 1, 2))


@torch.no_grad()
def test_a_padded_images_cells_are_moved_onto_the_image_corner_on_corner() -> None:
    """A ramp over the pixels of the padded image stays that ramp on the cells of the image."""
    padded = (64, 96)
    image = (50, 83)
    ramp = torch.linspace(0, padded[0] - 1, 9, dtype=torch.float64).view(1, 1, -1, 1)
    across = torch.linspace(0, padded[1] - 1, 13, dtype=torch.float64)
    maps = torch.cat([ramp.expand(-1, -1, -1, 13), across.expand(1, 1, 9, -1)], dim=1)
    down, right = without_padding(maps, padded, image, align_corners=True)[0]
    rows = torch.linspace(0, image[0] - 1, 9, dtype=torch.float64)
    columns = torch.linspace(0, image[1] - 1, 13, dtype=torch.float64)
    torch.testing.assert_close(down, rows.view(-1, 1).expand(9, 13), atol=1e-4, rtol=0)
    torch.testing.assert_close(right, columns.expand(9, 13), atol=1e-4, rtol=0)
