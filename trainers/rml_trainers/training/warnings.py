"""What a person should be told about a run before it trains."""

from collections.abc import Iterator, Mapping

from rml_trainers.config import NetworkConfig, RunConfig
from rml_trainers.data.dataset import Subset
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
    long, but not further than what is evaluated, or labelled whole when a stage begins: there they
    read with weights that never learnt."""
    windows = config.evaluation.inference_px
    places = {"in evaluation": windows or _largest_image_px(data, "val")}
    if config.method.labels_whole_images:
        places["when a stage begins and whole images are labelled"] = _largest_image_px(
            data, "train"
        )
    for network in dict.fromkeys(config.student_networks):
        if warning := _untrained_weights_of(network, config.geometry.crop_px, places):
            yield warning


def _untrained_weights_of(
    network: NetworkConfig, crop_px: tuple[int, int], places: Mapping[str, tuple[int, int]]
) -> str | None:
    """`places`: where the network is used on more than a crop → height and width."""
    lost = {
        place: [px for px in network.dilations_px if _is_untrained(px, crop_px, size_px)]
        for place, size_px in places.items()
    }
    told = [f"{place}, at {_size(places[place])}," for place, px in lost.items() if px]
    if not told:
        return None
    all_lost = [px for px in network.dilations_px if any(px in some for some in lost.values())]
    warning = (
        f"{network.name}: {len(all_lost)} of the {len(network.dilations_px)} dilated convolutions "
        f"look {', '.join(map(str, all_lost))} pixels aside. In crops of {_size(crop_px)} that is "
        f"outside, so that their outer weights never learn; {' and '.join(told)} they are read. "
        "Set smaller network.aspp_rates (those that fit the crop) or a larger geometry.crop_px"
    )
    if len(told) > 1 or "in evaluation" not in told[0]:
        return warning  # windows would leave the labels as they are
    return (
        f"{warning}, or evaluate in windows of the crop's size (evaluation.inference: sliding, "
        f"inference_px: {list(crop_px)})"
    )


def _is_untrained(px: int, crop_px: tuple[int, int], size_px: tuple[int, int]) -> bool:
    return any(crop <= px < side for crop, side in zip(crop_px, size_px, strict=True))


def _size(size_px: tuple[int, int]) -> str:
    height, width = size_px
    return f"{height}×{width}"


def _largest_image_px(data: PreparedData, subset: Subset) -> tuple[int, int]:
    sizes = {data.image_size(subset, i) for i in range(len(data.names(subset)))}
    return max(height for height, _ in sizes), max(width for _, width in sizes)
