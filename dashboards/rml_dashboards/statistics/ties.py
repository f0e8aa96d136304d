"""Which numbers count as equal. Scores are decimal numbers, and floats round what is made of them:
60.9 − 60.8 and 60.5 − 60.4 differ in their last bits."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

ROUNDING = 1e-9
"""Numbers that are no further apart are equal, in the units of the scores: far below what a table
shows, far above what floats round."""


def in_steps(numbers: Sequence[float] | Floats) -> Floats:
    """Numbers in whole steps of ROUNDING: equal ones are the same, those that are noughts are 0,
    and their sums are exact."""
    return np.asarray(np.rint(np.asarray(numbers, dtype=np.float64) / ROUNDING))
