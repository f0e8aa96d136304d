"""Which points of a long curve are kept where there is no room for all."""

import numpy as np
import numpy.typing as npt


def kept_places(values: npt.NDArray[np.float64], most: int) -> npt.NDArray[np.int64]:
    """Of a long curve both ends, and of each of equal stretches between them the lowest and the
    highest value; all places of one that has no more points than `most`."""
    if len(values) <= most:
        return np.arange(len(values))
    num_stretches = most // 2 - 1
    inner = values[1:-1]
    length = -(-len(inner) // num_stretches)
    spare = num_stretches * length - len(inner)
    stretches = np.pad(inner, (0, spare), mode="edge").reshape(num_stretches, length)
    starts = 1 + length * np.arange(num_stretches)
    places = [starts + stretches.argmin(axis=1), starts + stretches.argmax(axis=1)]
    inside = np.minimum(np.concatenate(places), len(values) - 2)
    return np.unique(np.concatenate([[0, len(values) - 1], inside])).astype(np.int64)
