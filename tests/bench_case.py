"""The smallest setting that the benchmark runs on."""

from rml_trainers.bench.settings import Setting
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config

TINY = Setting(
    name="tiny",
    network=DeepLabV2Config(backbone="test_resnet", weights="none", aspp_branches=2),
    size_px=(32, 48),
    crop_px=(24, 32),
    batch=(2, 2),
    num_classes=3,
    precision="float32",
)
_WORDS = "--backbone test_resnet --crop 24 32 --batch 2 2 --classes 3 --precision float32 --rounds 1"
TINY_WORDS = _WORDS.split()
"""The same in words."""
