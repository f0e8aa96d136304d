"""Networks at their full size: as many parameters as their authors print, and maps of the right
size. Built without memory for their weights."""

import pytest
import torch
from torch import nn

from rml_trainers.config import NetworkConfig
from rml_trainers.networks import build_network
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.dpt import DptConfig
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.segformer_head import SegformerHeadConfig
from rml_trainers.noise.config import NoiseConfig

DINOV2_SMALL = DptConfig(backbone="vit_small_patch14_dinov2", weights="none")
DINOV2_BASE = DptConfig(weights="none")
PVT_B2 = SegformerHeadConfig(weights="none")
PVT_B0 = SegformerHeadConfig(backbone="pvt_v2_b0", weights="none", decoder_width=256)


def built(config: NetworkConfig, num_classes: int) -> SegmentationNetwork:
    with torch.device("meta"):
        return build_network(config, num_classes, NoiseConfig(model=False)).eval()


def millions(module: nn.Module) -> float:
    return sum(parameter.numel() for parameter in module.parameters()) / 1e6


def unused_unit(width: int) -> float:
    """Millions of parameters of the residual unit that UniMatch V2's code builds and never uses."""
    return 2 * (9 * width * width + width) / 1e6


def test_deeplab_v3_plus_is_unimatchs() -> None:
    """UniMatch's logs on Cityscapes, ResNet-101: "Total params: 59.5M"."""
    network = built(DeepLabV3PlusConfig(weights="none"), 19)
    assert round(millions(network), 1) == 59.5


@pytest.mark.parametrize(
    ("config", "width", "total", "encoder", "decoder"),
    [(DINOV2_SMALL, 64, 24.8, 22.1, 2.7), (DINOV2_BASE, 128, 97.5, 86.6, 10.9)],
    ids=["small", "base"],
)
def test_dpt_is_unimatch_v2s(
    config: DptConfig, width: int, total: float, encoder: float, decoder: float
) -> None:
    """UniMatch V2's logs on VOC: total, encoder and decoder parameters."""
    network = built(config, 21)
    backbone = millions(network.backbone)
    head = millions(network) - backbone + unused_unit(width)
    assert (round(backbone, 1), round(head, 1)) == (encoder, decoder)
    assert round(backbone + head, 1) == total


@pytest.mark.parametrize(
    ("width", "num_blocks", "blocks", "maps", "fused"),
    [
        (384, 12, (2, 5, 8, 11), (48, 96, 192, 384), 64),
        (768, 12, (2, 5, 8, 11), (96, 192, 384, 768), 128),
        (1024, 24, (4, 11, 17, 23), (256, 512, 1024, 1024), 256),
    ],
    ids=["small", "base", "large"],
)
def test_dpts_blocks_and_widths_are_unimatch_v2s(
    width: int, num_blocks: int, blocks: tuple[int, ...], maps: tuple[int, ...], fused: int
) -> None:
    """`intermediate_layer_idx` and `model_configs` of UniMatch V2's code."""
    config = DptConfig(weights="none")
    assert config.chosen_blocks(num_blocks) == blocks
    assert config.chosen_widths(width) == (maps, fused)


@pytest.mark.parametrize(
    ("config", "head", "encoder"), [(PVT_B0, 0.4, 3.7), (PVT_B2, 3.3, 25.4)], ids=["b0", "b2"]
)
def test_segformers_head_on_pvt(config: SegformerHeadConfig, head: float, encoder: float) -> None:
    """SegFormer's paper, Table 1, decoders of B0 and B2 on ADE20K, whose encoders are as wide as
    PVTv2's; PVTv2's paper, with its classifier of 1000 classes."""
    network = built(config, 150)
    backbone = millions(network.backbone)
    assert round(millions(network) - backbone, 1) == head
    width = network.get_parameter("projections.3.weight").shape[1]
    assert round(backbone + (width + 1) * 1000 / 1e6, 1) == encoder


@pytest.mark.parametrize(
    ("config", "image_px", "cells"),
    [
        (DeepLabV2Config(weights="none"), (512, 1024), (64, 128)),
        (DeepLabV3PlusConfig(weights="none"), (513, 513), (129, 129)),
        (DeepLabV3PlusConfig(weights="none", output_stride=8), (801, 801), (201, 201)),
        (DINOV2_SMALL, (518, 518), (296, 296)),
        (DptConfig(backbone="vit_small_patch16_dinov3", weights="none"), (512, 768), (256, 384)),
        (PVT_B2, (512, 1024), (128, 256)),
    ],
    ids=["v2", "v3+ 16", "v3+ 8", "dinov2", "dinov3", "pvt"],
)
@torch.no_grad()
def test_maps_have_the_size_that_their_docs_say(
    config: NetworkConfig, image_px: tuple[int, int], cells: tuple[int, int]
) -> None:
    network = built(config, 19)
    output = network(torch.empty(1, 3, *image_px, device="meta"))
    assert output.logits.shape == (1, 19, *cells)
    assert output.feature.shape == (1, network.feature_width, *cells)
