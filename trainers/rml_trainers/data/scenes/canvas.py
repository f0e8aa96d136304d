"""The canvas that scenes are painted on: camera, colours, noise fields, and the one way to put
paint and label down.

The camera is a pinhole `CAMERA_M` above a flat ground that looks along a straight street. A point
on the ground at image row y lies at depth z = focal · CAMERA_M / (y - horizon), and there one metre
is (y - horizon) / CAMERA_M pixels.
"""

import numpy as np
import numpy.typing as npt
from PIL import Image

FloatArray = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]
Colour = FloatArray
"""[3] RGB in [0, 1]."""

SCENE_CLASSES = ("sky", "building", "road", "pavement", "vegetation", "car", "person", "pole")
SKY, BUILDING, ROAD, PAVEMENT, VEGETATION, CAR, PERSON, POLE = range(8)

CAMERA_M = 2.0
"""Height of the camera in metres: between a driver's eyes and a bus driver's, so that the ground is
seen well."""


class Canvas:
    """Image and label of one scene while it is painted, with its camera and its light."""

    def __init__(self, rng: np.random.Generator, height: int, width: int) -> None:
        self.rng = rng
        self.height = height
        self.width = width
        self.image = np.zeros((height, width, 3), np.float32)
        self.label = np.zeros((height, width), np.uint8)
        self.rows = np.arange(height, dtype=np.float32)[:, None]
        self.cols = np.arange(width, dtype=np.float32)[None, :]
        self.horizon = height * rng.uniform(0.34, 0.5)
        self.vanishing = width * rng.uniform(0.3, 0.7)
        self.focal = width * rng.uniform(0.8, 1.1)
        self.sun_from_left = bool(rng.random() < 0.5)
        self.sun = rng.uniform(0.15, 1.0)
        """Strength of the direct light: 0 is an overcast sky without shadows."""
        sky = np.array(
            [[0.45, 0.65, 0.95], [0.78, 0.8, 0.83], [0.95, 0.78, 0.6], [0.6, 0.64, 0.7]], np.float32
        )
        self.fine = self.noise(width / 3, 2)
        """Fine grain of asphalt, walls and leaves: one field for all of them."""
        self.sky_colour: Colour = self.vary(sky[rng.integers(len(sky))], 0.06)

    def vary(self, colour: npt.ArrayLike, spread: float) -> Colour:
        """A colour near the given one: brightness and tint both move."""
        tint = self.rng.normal(0, spread, 3) * 0.5 + self.rng.normal(0, spread)
        return np.clip(np.asarray(colour) + tint, 0.02, 1.0).astype(np.float32)

    def any_colour(self) -> Colour:
        """Paint of cars, clothes and signs: half of it near grey, half of it coloured."""
        grey = np.full(3, self.rng.uniform(0.05, 0.95))
        return self.vary(grey + self.rng.uniform(-0.4, 0.4, 3) * (self.rng.random() < 0.6), 0.03)

    def noise(
        self, cells: float, octaves: int = 3, height: int | None = None, width: int | None = None
    ) -> FloatArray:
        """Smooth random field in about [-1, 1], [height, width]; `cells` across the width in its
        coarsest octave."""
        height = height or self.height
        width = width or self.width
        total = np.zeros((height, width), np.float32)
        for octave in range(octaves):
            across = max(2, round(cells * 2**octave))
            down = max(2, round(across * height / width))
            coarse = self.rng.uniform(-1, 1, (down, across)).astype(np.float32)
            field = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
            total += np.asarray(field) * np.float32(0.55**octave)
        return total

    def pixels_per_m(self, row: float) -> float:
        """Pixels per metre for what stands on the ground at an image row."""
        return max(row - self.horizon, 0.5) / CAMERA_M

    def depth(self, row: FloatArray) -> FloatArray:
        """Metres to the ground at image rows below the horizon."""
        metres: FloatArray = np.float32(self.focal * CAMERA_M) / np.maximum(
            row - np.float32(self.horizon), 0.5
        )
        return metres

    def paint(
        self, mask: BoolArray, colour: FloatArray, label: int | None, top: int = 0, left: int = 0
    ) -> None:
        """Put a colour ([3], or [h, w, 3] like the mask) where a [h, w] mask at (top, left) holds;
        clips at the border.

        `label` None paints over a thing without changing what it is (windows, shadows, markings).
        """
        y0 = max(top, 0)
        x0 = max(left, 0)
        y1 = min(top + mask.shape[0], self.height)
        x1 = min(left + mask.shape[1], self.width)
        if y0 >= y1 or x0 >= x1:
            return
        inner = (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
        part = mask[inner]
        self.image[y0:y1, x0:x1][part] = colour[inner][part] if colour.ndim == 3 else colour
        if label is not None:
            self.label[y0:y1, x0:x1][part] = label

    def shade(self, mask: FloatArray, top: int = 0, left: int = 0) -> None:
        """Multiply the image by a [h, w] field at (top, left)."""
        y0 = max(top, 0)
        x0 = max(left, 0)
        y1 = min(top + mask.shape[0], self.height)
        x1 = min(left + mask.shape[1], self.width)
        if y0 < y1 and x0 < x1:
            self.image[y0:y1, x0:x1] *= mask[y0 - top : y1 - top, x0 - left : x1 - left, None]
