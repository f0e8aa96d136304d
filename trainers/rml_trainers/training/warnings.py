"""What a person should be told about a run before it trains."""

from collections.abc import Iterator

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.networks.accelerate import Acceleration


def before_training(data: PreparedData, split: Split, acceleration: Acceleration) -> Iterator[str]:
    """Every warning that applies."""
    for warning in (absent_classes(data, split), left_out(acceleration)):
        if warning is not None:
            yield warning


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
