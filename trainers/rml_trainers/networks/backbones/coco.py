"""ResNet-101 as the COCO weights of the Deeplab family know it (`resnet101COCO-41f33a49.pth`).

That file is a conversion from Caffe, and its graph is not timm's: a bottleneck strides in its first
1×1 convolution (ResNet v1; timm has it in the 3×3 one, v1.5), a dilated stage dilates its first
block too, and the pooling of the stem rounds up. Its input is BGR in 0 to 255 minus a mean. Here
the graph is timm's, moved into that shape, and the first convolution takes RGB: its input channels
are turned round when they are loaded, mean and scale are those of [0, 1].
"""

from pathlib import Path

from torch import nn

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.pretrained import key_maps
from rml_trainers.networks.pretrained.weights import load_strictly, read_state

ARCHITECTURE = "resnet101"
COCO_MEAN = (122.679 / 255, 116.669 / 255, 104.007 / 255)
"""RGB. The Deeplab family subtracts (104.007, 116.669, 122.679) from BGR in 0 to 255 …"""
COCO_STD = (1 / 255, 1 / 255, 1 / 255)
"""… and divides by nothing."""


def build_coco_backbone(
    *, output_stride: int, drop_path: float, weights_file: str | None
) -> Backbone:
    """The graph that the COCO weights belong to, filled from `weights_file` (random without one).

    Raises:
        ConfigError: the file is not there, or its keys and shapes are not those of the public one.
    """
    backbone = build_backbone(
        ARCHITECTURE,
        output_stride=output_stride,
        drop_path=drop_path,
        weights="none",
        weights_file=None,
    )
    to_first_version(backbone.module)
    if weights_file is not None:
        load_coco(backbone.module, weights_file)
    return Backbone(backbone.module, backbone.feature_width, COCO_MEAN, COCO_STD)


def to_first_version(resnet: nn.Module) -> None:
    """Turn timm's bottleneck ResNet v1.5 into v1 as Caffe had it; parameters keep their names and
    shapes."""
    pooling = resnet.get_submodule("maxpool")
    assert isinstance(pooling, nn.MaxPool2d)
    pooling.ceil_mode = True
    for stage in ("layer2", "layer3", "layer4"):
        first, second, *_ = resnet.get_submodule(stage).children()
        reduce = first.get_submodule("conv1")
        spatial = first.get_submodule("conv2")
        others = second.get_submodule("conv2")
        assert (
            isinstance(reduce, nn.Conv2d)
            and isinstance(spatial, nn.Conv2d)
            and isinstance(others, nn.Conv2d)
        )
        reduce.stride = spatial.stride
        spatial.stride = (1, 1)
        spatial.dilation = others.dilation
        spatial.padding = others.padding


def load_coco(resnet: nn.Module, file: str) -> None:
    """Fill a backbone in the shape of `to_first_version`; the file's head (21 VOC classes) is left
    out.

    Raises:
        ConfigError: see `build_coco_backbone`.
    """
    path = Path(file).expanduser()
    named = [(key_maps.resnet101_coco(key), tensor) for key, tensor in read_state(path).items()]
    state = {key: tensor for key, tensor in named if key is not None}
    stem = state.get("conv1.weight")
    if stem is None or stem.shape != (64, 3, 7, 7):
        raise ConfigError(
            f"network.weights_file = {str(path)!r}: no 'conv1.weight' of shape (64, 3, 7, 7); "
            "expected the public "
            "resnet101COCO state dict (weights: file takes timm's own key names)"
        )
    state["conv1.weight"] = stem.flip(1)
    load_strictly(resnet, ARCHITECTURE, state, path)
