"""What is benchmarked: network, sizes and precision under a name."""

from dataclasses import dataclass, field, replace
from typing import Literal

from rml_trainers.config import NetworkConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.dpt import DptConfig
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.runtime.options import RuntimeConfig


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Networks and batches that all contenders share. Weights are random: they do not change the
    cost."""

    name: str
    network: NetworkConfig
    size_px: tuple[int, int]
    """Whole images, as they are evaluated and as p⁰ is computed."""
    crop_px: tuple[int, int]
    batch: tuple[int, int] = (4, 4)
    """Labelled and unlabelled images per step."""
    num_classes: int = 19
    scale: tuple[float, float] = (1.0, 1.0)
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    runtime: RuntimeConfig = field(default_factory=RuntimeConfig)
    accumulate: int = 1
    """Micro-batches of a step, `batch.accumulate` of a run."""
    paper_steps: int | None = None
    """Steps per stage in the paper, where the setting is one of the paper's."""

    def __str__(self) -> str:
        backbone = getattr(self.network, "backbone", "")
        sizes = (
            f"crops {_size(self.crop_px)} of images {_size(self.size_px)}, batch "
            f"{self.batch[0]} + {self.batch[1]}"
        )
        compiled = ", compiled" if self.runtime.compile else ""
        return (
            f"{self.name}: {self.network.name} {backbone}, {sizes}, {self.num_classes} classes, "
            f"precision {self.precision}{compiled}"
        )

    def scaled(self, workers: int) -> "Setting":
        """The same share of the batch for each of several workers."""
        return replace(self, batch=(self.batch[0] * workers, self.batch[1] * workers))


def _size(size_px: tuple[int, int]) -> str:
    return f"{size_px[0]}×{size_px[1]}"


_RESNET_101 = DeepLabV2Config(backbone="resnet101", weights="none")
_V3_PLUS = DeepLabV3PlusConfig(backbone="resnet101s", output_stride=16, weights="none")
_DPT = DptConfig(backbone="vit_base_patch14_dinov2", weights="none")

SMALLEST = Setting(
    name="smallest",
    network=DeepLabV2Config(backbone="test_resnet", weights="none", aspp_branches=2),
    size_px=(32, 48),
    crop_px=(24, 32),
    batch=(2, 2),
    num_classes=3,
    precision="float32",
)
"""What there is to a step beside its size."""

_CITYSCAPES = Setting(
    name="cityscapes",
    network=_RESNET_101,
    size_px=(512, 1024),
    crop_px=(256, 512),
    paper_steps=90_000,
)
_VOC = Setting(
    name="voc",
    network=_RESNET_101,
    size_px=(375, 500),
    crop_px=(321, 321),
    batch=(10, 10),
    num_classes=21,
    scale=(0.5, 1.5),
    paper_steps=60_000,
)

SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name="small",
            network=DeepLabV2Config(backbone="tf_efficientnet_lite0", weights="none"),
            size_px=(192, 256),
            crop_px=(96, 128),
        ),
        _CITYSCAPES,
        _VOC,
        replace(
            _CITYSCAPES,
            name="setr_base",
            network=SetrConfig(backbone="vit_base_patch16_384", weights="none"),
        ),
        replace(
            _CITYSCAPES,
            name="setr_large",
            network=SetrConfig(backbone="vit_large_patch16_384", weights="none"),
        ),
        replace(_CITYSCAPES, name="cityscapes_v3_plus", network=_V3_PLUS, paper_steps=None),
        replace(_VOC, name="voc_v3_plus", network=_V3_PLUS, paper_steps=None),
        replace(_CITYSCAPES, name="cityscapes_dpt", network=_DPT, paper_steps=None),
        replace(_VOC, name="voc_dpt", network=_DPT, paper_steps=None),
    )
}
"""`small` suits a CPU. `cityscapes`, `voc` and `setr_…` are the paper's (section 5.1 and 5.2; its
batch of 4 or 10 is read as that many labelled and as many unlabelled images; the size of its SETR
is not stated). `…_v3_plus` and `…_dpt` have the same images, crops and batches with the networks of
CPS, U2PL and UniMatch, and of UniMatch V2."""
