"""Class masks as pictures: colours that stay apart for colour-blind eyes, blended over the
image."""

from functools import cache

import numpy as np
import numpy.typing as npt

from rml_trainers import IGNORE_LABEL

OKABE_ITO = (
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""Okabe and Ito (2008), without black, which marks ignored pixels and class borders."""
DEUTERANOPIA = np.array(((0.367, 0.861, -0.228), (0.280, 0.673, 0.047), (-0.012, 0.043, 0.969)))
"""Machado et al. (2009), severity 1, linear RGB: how the commonest strong colour blindness sees a
colour."""
IGNORE_COLOUR = (0, 0, 0)
ROWS_AT_ONCE = 512
"""Rows that are blended together: numbers between pixels take eight times their room."""

Colours = npt.NDArray[np.uint8]


@cache
def _palette(num_classes: int) -> bytes:
    """Okabe and Ito's colours, then each time the candidate farthest from all chosen ones for
    either kind of eye."""
    grid = np.arange(0, 256, 51)
    candidates = np.stack(np.meshgrid(grid, grid, grid, indexing="ij"), axis=-1).reshape(-1, 3)
    candidates = candidates[candidates.max(axis=1) >= 153]  # nearly black would look ignored
    chosen = np.array(OKABE_ITO)[:num_classes]
    seen = _as_seen(candidates)
    while len(chosen) < num_classes:
        gaps = np.linalg.norm(seen[:, :, None] - _as_seen(chosen)[:, None], axis=-1).min(
            axis=(0, 2)
        )
        chosen = np.vstack((chosen, candidates[gaps.argmax()]))
    return chosen.astype(np.uint8).tobytes()


def _as_seen(colours: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """[N, 3] sRGB in 0..255 → [2, N, 3] in Oklab, for normal and for deuteranope vision."""
    encoded = colours / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    both = np.stack((linear, (linear @ DEUTERANOPIA.T).clip(0.0, 1.0)))
    # Oklab (Ottosson, 2020): distances in it follow what people see.
    to_cones = ((0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300))
    to_lab = ((0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087))
    lab: npt.NDArray[np.float64] = np.cbrt(both @ np.array(to_cones).T) @ np.array(to_lab).T
    return lab


def palette(num_classes: int) -> Colours:
    """Colour of each class, uint8 [K, 3]; the first colours are the same for every K."""
    return np.frombuffer(_palette(num_classes), dtype=np.uint8).reshape(num_classes, 3)


def colour_mask(mask: npt.NDArray[np.uint8], colours: Colours) -> Colours:
    """Mask [H, W] of classes and 255 → picture [H, W, 3], ignored pixels black."""
    table = np.full((256, 3), IGNORE_COLOUR, dtype=np.uint8)
    table[: len(colours)] = colours
    table[IGNORE_LABEL] = IGNORE_COLOUR
    return table[mask]


def overlay(
    image: Colours, mask: npt.NDArray[np.uint8], colours: Colours, opacity: float = 0.6
) -> Colours:
    """Image [H, W, 3] with its classes in colour and dark borders between them; ignored pixels keep
    the image."""
    assert image.shape[:2] == mask.shape, "image and mask differ in size"
    laid = np.empty_like(image)
    for first in range(0, len(mask), ROWS_AT_ONCE):
        start = max(0, first - 1)  # a border is seen from the row below it
        rows = slice(start, first + ROWS_AT_ONCE)
        part = _overlay(image[rows], mask[rows], colours, opacity)
        laid[first : first + ROWS_AT_ONCE] = part[first - start :]
    return laid


def _overlay(
    image: Colours, mask: npt.NDArray[np.uint8], colours: Colours, opacity: float
) -> Colours:
    blended = (1 - opacity) * image + opacity * colour_mask(mask, colours)
    border = np.zeros(mask.shape, dtype=bool)
    border[:, 1:] |= mask[:, 1:] != mask[:, :-1]
    border[1:] |= mask[1:] != mask[:-1]
    blended[border] *= 0.4
    blended = np.where((mask == IGNORE_LABEL)[..., None], image, blended)
    return np.rint(blended).clip(0, 255).astype(np.uint8)
