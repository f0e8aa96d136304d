"""CamVid in the SegNet layout: `train`, `val` images and `trainannot`, `valannot` masks; class 11 is void."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class CamvidConfig:
    """Images under `<data root>/<folder>`."""

    name: Literal["camvid"] = "camvid"
    folder: str = "camvid"
    size_px: tuple[int, int] = (360, 480)
    """Height and width that every image is resized to when prepared (the original is 360×480)."""

    def __post_init__(self) -> None:
        require(min(self.size_px) >= 32, "size_px", self.size_px, "at least 32 pixels each way")
