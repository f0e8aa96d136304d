"""Which runs of a search go on: asynchronous successive halving (Li et al. 2020) over the scores
that runs report. Knows runs by their ids alone.

At each of the steps `first_step` × `keep_one_of`^k a run is compared with those that have come as
far before it, and stops unless it is among the best one of `keep_one_of`. Nobody waits for anybody.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from rml_platform.study.study_file import SearchConfig


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Why a run is stopped."""

    step: int
    """At which it was compared."""
    score: float
    cutoff: float
    """What it would have had to reach."""


@dataclass
class Halving:
    """The comparisons of one search."""

    config: SearchConfig
    _rungs: dict[int, dict[str, float]] = field(default_factory=dict)
    """Step of a comparison → score of every run that has come so far, higher is better."""

    def report(self, run_id: str, step: int, score: float) -> Verdict | None:
        """Take a score of a run; the verdict where it has to stop.

        Scores of a run come in the order of their steps. One that comes after several comparisons
        at once counts for the last of them.
        """
        rung = max(self._steps_up_to(step), default=None)
        if rung is None or run_id in self._rungs.get(rung, {}):
            return None
        scores = self._rungs.setdefault(rung, {})
        sign = 1.0 if self.config.higher_is_better else -1.0
        value = sign * score if math.isfinite(score) else -math.inf
        cutoff = self._cutoff(list(scores.values()))
        scores[run_id] = value
        if cutoff is None or value >= cutoff:
            return None
        return Verdict(step=rung, score=score, cutoff=sign * cutoff)

    def _steps_up_to(self, step: int) -> Iterator[int]:
        rung = self.config.first_step
        while rung <= step:
            yield rung
            rung *= self.config.keep_one_of

    def _cutoff(self, values: list[float]) -> float | None:
        """What separates the best one of `keep_one_of`, between two scores in proportion; None
        where there is nobody to be compared with."""
        if not values:
            return None
        place = (len(values) - 1) * (1 - 1 / self.config.keep_one_of)
        ordered = sorted(values)
        below = ordered[math.floor(place)]
        above = ordered[math.ceil(place)]
        share = place - math.floor(place)
        return below if share == 0 else below + share * (above - below)
