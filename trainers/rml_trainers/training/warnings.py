"""What a person should be told about a run before it trains."""

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split


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
