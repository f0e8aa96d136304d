"""What a person should be told about a run before it trains."""

from collections.abc import Iterator

from rml_trainers.config import NetworkConfig, RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.networks.accelerate import Acceleration


def before_training(
    config: RunConfig, data: PreparedData, split: Split, acceleration: Acceleration
) -> Iterator[str]:
    """Every warning that applies."""
    for warning in (absent_classes(data, split), left_out(acceleration)):
        if warning is not None:
            yield warning
    yield from untrained_weights(config, data)


def left_out(acceleration: Acceleration) -> str | None:
    """A warning where this torch lacks what our faster forms of layers need."""
    if not acceleration.left_out:
        return None
    return (
        f"this torch lacks names that faster forms of some layers need: "
        f"{'; '.join(acceleration.left_out)}. Torch's own are used: the same results up to "
        "rounding, in more time or memory; the torch of constraints.txt has them"
    )


def absent_classes(data: PreparedData, split: Split) -> str | None:
    """A warning where no labelled image shows some class."""
    counts = data.class_pixel_counts(split.labelled)
    absent = [
        name for name, count in zip(data.class_names, counts.tolist(), strict=True) if count == 0
    ]
    if not absent:
        return None
    return (
        f"no labelled image shows {', '.join(absent)}: the networks cannot learn these classes, "
        "and they count "
        "with IoU 0 in the mean where they occur in the validation images"
    )


def untrained_weights(config: RunConfig, data: PreparedData) -> Iterator[str]:
    """A warning for each network whose dilated convolutions look further than a training crop is
    long, but not further than what is evaluated: there they read with weights that never learnt."""
    scored_px = config.evaluation.inference_px or _largest_image_px(data)
    for network in dict.fromkeys(config.student_networks):
        if warning := _untrained_weights_of(network, config.geometry.crop_px, scored_px):
            yield warning


def _untrained_weights_of(
    network: NetworkConfig, crop_px: tuple[int, int], scored_px: tuple[int, int]
) -> str | None:
    sides = list(zip(crop_px, scored_px, strict=True))
    lost = [px for px in network.dilations_px if any(crop <= px < scored for crop, scored in sides)]
    if not lost:
        return None
    crop, scored = (f"{height}×{width}" for height, width in (crop_px, scored_px))
    return (
        f"{network.name}: {len(lost)} of the {len(network.dilations_px)} dilated convolutions look "
        f"{', '.join(map(str, lost))} pixels aside. In crops of {crop} that is outside, so that "
        f"their outer weights never learn; in evaluation, at {scored}, they are read. Set smaller "
        "network.aspp_rates (those that fit the crop), a larger geometry.crop_px, or evaluate in "
        f"windows of the crop's size (evaluation.inference: sliding, inference_px: {list(crop_px)})"
    )


def _largest_image_px(data: PreparedData) -> tuple[int, int]:
    sizes = [data.image_size("val", i) for i in range(len(data.names("val")))]
    return max(height for height, _ in sizes), max(width for _, width in sizes)
