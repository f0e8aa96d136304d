"""DPT: maps of four blocks of a vision transformer, brought to four sizes and fused from coarse to
fine (Ranftl et al., 2021), as UniMatch V2 has it on DINOv2.

Source of all figures here: LiheYoung/UniMatch-V2, `model/semseg/dpt.py`, `model/util/blocks.py` and
`model_configs` in `supervised.py`; Depth Anything has the same head widths.
"""

import dataclasses
from collections.abc import Sequence
from typing import Literal, Self

from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.configuration import configuration, require
from rml_trainers.networks.backbones.convolutional import Backbone
from rml_trainers.networks.backbones.vit import build_vit
from rml_trainers.networks.layers import without_padding
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.settings.contract import NetworkConfig

NUM_MAPS = 4
LARGE_BLOCKS = (4, 11, 17, 23)
"""Blocks of a transformer with 24 of them (UniMatch V2: 2, 5, 8, 11 of 12 and 9, 19, 29, 39 of 40
are the ends of four equal parts, these are not)."""
LARGE_WIDTH = 1024
"""Width of a transformer from which on the head is a quarter as wide instead of a sixth (UniMatch
V2: 64, 128, 256 and 384 channels for widths 384, 768, 1024 and 1536)."""


@configuration
class DptConfig(NetworkConfig):
    """Network of one student."""

    name: Literal["dpt"] = "dpt"
    backbone: str = "vit_base_patch14_dinov2"
    """Any plain vision transformer of timm with at least four blocks, DINOv2's and DINOv3's too."""
    blocks: tuple[int, ...] | None = None
    """Numbers from 0 of the four blocks whose maps are read, the last block last; default: the ends
    of four equal parts, and 4, 11, 17, 23 of 24 blocks (UniMatch V2)."""
    map_widths: tuple[int, ...] | None = None
    """Channels of the four maps, finest first; default: an eighth, a quarter, a half and all of the
    transformer's width, from 1024 on a quarter, a half, all and all (UniMatch V2; its maps on
    DINOv2-g are four times 1536 channels wide, which has to be said here)."""
    decoder_width: int | None = None
    """Channels of the fused maps, and of the feature that the last linear classifier reads;
    default: a sixth of the transformer's width, from 1024 on a quarter (UniMatch V2)."""
    weights: Literal["none", "timm", "file"] = "timm"
    """`none`: random; `timm`: timm's hub; `file`: `weights_file`, timm's or the authors' own,
    position embeddings of another grid are resampled."""
    weights_file: str | None = None

    def __post_init__(self) -> None:
        blocks = self.blocks
        rising = blocks is None or (
            len(blocks) == NUM_MAPS and blocks[0] >= 0 and list(blocks) == sorted(set(blocks))
        )
        require(rising, "blocks", blocks, "four rising numbers of blocks, from 0")
        widths = self.map_widths
        given = widths is None or (len(widths) == NUM_MAPS and min(widths) >= 1)
        require(given, "map_widths", widths, "four widths of at least 1")
        width = self.decoder_width
        require(width is None or width >= 1, "decoder_width", width, "at least 1")
        with_file = (self.weights == "file") == (self.weights_file is not None)
        require(
            with_file, "weights_file", self.weights_file, "a path exactly when weights is 'file'"
        )

    def chosen_blocks(self, num_blocks: int) -> tuple[int, ...]:
        """Numbers of the blocks whose maps are read, of a transformer with so many.

        Raises:
            ValueError: `blocks` does not end with the last one, or there are fewer than four.
        """
        require(num_blocks >= NUM_MAPS, "backbone", self.backbone, "at least four blocks")
        if self.blocks is not None:
            last = num_blocks - 1
            require(self.blocks[-1] == last, "blocks", self.blocks, f"the last block, {last}, last")
            return self.blocks
        if num_blocks == len(range(LARGE_BLOCKS[-1] + 1)):
            return LARGE_BLOCKS
        return tuple(num_blocks * part // NUM_MAPS - 1 for part in range(1, NUM_MAPS + 1))

    def chosen_widths(self, encoder_width: int) -> tuple[tuple[int, ...], int]:
        """Channels of the four maps, and of the fused ones, on a transformer of a width."""
        is_large = encoder_width >= LARGE_WIDTH
        parts = (4, 2, 1, 1) if is_large else (8, 4, 2, 1)
        maps = self.map_widths or tuple(max(1, encoder_width // part) for part in parts)
        return maps, self.decoder_width or max(1, encoder_width // (4 if is_large else 6))

    @property
    def hub_model(self) -> str | None:
        return self.backbone if self.weights == "timm" else None

    def without_weights_file(self) -> Self:
        return dataclasses.replace(self, weights="none", weights_file=None)


class Reassemble(nn.Module):
    """A map of patches at one of the four sizes, in the head's width.

    1×1 convolution, then ×4, ×2, ×1 or ÷2, then a 3×3 convolution without bias.
    """

    def __init__(self, in_width: int, map_width: int, width: int, place: int) -> None:
        super().__init__()
        resized: list[nn.Module] = [
            nn.ConvTranspose2d(map_width, map_width, kernel_size=4, stride=4),
            nn.ConvTranspose2d(map_width, map_width, kernel_size=2, stride=2),
            nn.Identity(),
            nn.Conv2d(map_width, map_width, kernel_size=3, stride=2, padding=1),
        ]
        self.project = nn.Conv2d(in_width, map_width, kernel_size=1)
        self.resize = resized[place]
        self.reduce = nn.Conv2d(map_width, width, kernel_size=3, padding=1, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        maps: Tensor = self.reduce(self.resize(self.project(patches)))
        return maps


class ResidualUnit(nn.Module):
    """ReLU and 3×3 convolution, twice, added to what came in; no BatchNorm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1)

    def forward(self, maps: Tensor) -> Tensor:
        change: Tensor = self.second(functional.relu(self.first(functional.relu(maps))))
        return maps + change


class Fusion(nn.Module):
    """The coarser map joined with a finer one, then enlarged: residual units, bilinear, 1×1.

    The coarsest map has nothing to be joined with, and so no first residual unit (the authors' code
    builds one that is never used).
    """

    def __init__(self, width: int, *, joins: bool) -> None:
        super().__init__()
        self.joined = ResidualUnit(width) if joins else None
        self.unit = ResidualUnit(width)
        self.out = nn.Conv2d(width, width, kernel_size=1)

    def forward(self, coarse: Tensor, fine: Tensor | None, size: tuple[int, int]) -> Tensor:
        if self.joined is not None and fine is not None:
            coarse = coarse + self.joined(fine)
        enlarged = functional.interpolate(
            self.unit(coarse), size=size, mode="bilinear", align_corners=True
        )
        fused: Tensor = self.out(enlarged)
        return fused


class DPT(SegmentationNetwork):
    """Transformer → four reassembled maps → four fusions → 3×3 convolution and ReLU → dropout →
    linear.

    The feature is what the last linear classifier reads: eight cells per patch along each side. The
    head begins with the four maps of patches (`decode`).
    """

    def __init__(
        self,
        config: DptConfig,
        backbone: Backbone,
        patch_px: int,
        num_classes: int,
        dropout: float,
    ) -> None:
        (map_widths, width) = config.chosen_widths(backbone.feature_width)
        super().__init__(
            mean=backbone.mean,
            std=backbone.std,
            feature_width=width,
            last_map_width=backbone.feature_width,
            projection_width=None,
            align_corners=True,
            batchnorm="trainable",
        )
        self.patch_px = patch_px
        self.backbone = backbone.module
        self.reassemble = nn.ModuleList(
            Reassemble(backbone.feature_width, map_width, width, place)
            for place, map_width in enumerate(map_widths)
        )
        self.fusions = nn.ModuleList(
            Fusion(width, joins=place < NUM_MAPS - 1) for place in range(NUM_MAPS)
        )
        self.last = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Conv2d(width, num_classes, kernel_size=1)

    def forward(self, images: Tensor) -> SegmentationOutput:
        maps = self.backbone(self.normalise(images))
        output = self.decode(maps, (images.shape[-2], images.shape[-1]))
        return output._replace(encoded=self.encoded(maps))

    def decode(self, maps: Sequence[Tensor], image_px: tuple[int, int]) -> SegmentationOutput:
        fine_to_coarse = [layer(each) for layer, each in zip(self.reassemble, maps, strict=True)]
        sizes = [(each.shape[-2], each.shape[-1]) for each in fine_to_coarse]
        sizes = [(2 * sizes[0][0], 2 * sizes[0][1]), *sizes]
        fused = fine_to_coarse[-1]
        for place in reversed(range(NUM_MAPS)):
            fine = fine_to_coarse[place] if place < NUM_MAPS - 1 else None
            fused = self.fusions[place](fused, fine, sizes[place])
        feature = functional.relu(self.last(fused))
        (rows, columns) = maps[-1].shape[-2:]
        padded_px = (rows * self.patch_px, columns * self.patch_px)
        return self.classify(without_padding(feature, padded_px, image_px, align_corners=True))

    def classify(self, feature: Tensor) -> SegmentationOutput:
        return SegmentationOutput(self.classifier(self.dropout(feature)), feature, None)

    def head_modules(self) -> Sequence[nn.Module]:
        return (self.reassemble, self.fusions, self.last, self.classifier)


def build_dpt(
    config: DptConfig, num_classes: int, noise: NoiseConfig, pretrained: bool = True
) -> DPT:
    """Build with pretrained weights loaded; dropout and stochastic depth only where `noise.model`
    is on.

    `pretrained=False` builds the same graph with random weights and opens nothing.
    """
    dropout, drop_path = (noise.dropout, noise.drop_path) if noise.model else (0.0, 0.0)
    backbone, patch_px = build_vit(
        config.backbone,
        drop_path=drop_path,
        weights=config.weights if pretrained else "none",
        weights_file=config.weights_file if pretrained else None,
        blocks=config.chosen_blocks,
    )
    return DPT(config, backbone, patch_px, num_classes, dropout)
