"""The rule of a search, against Ray Tune's own and by hand."""

import random
from types import SimpleNamespace

import pytest

from rml_platform.launch.scheduling.halving import Halving, Verdict
from rml_platform.study.study_file import SearchConfig


@pytest.mark.parametrize("keep_one_of", [2, 3, 4])
@pytest.mark.parametrize("seed", range(5))
def test_it_decides_as_ray_tune_does(keep_one_of: int, seed: int) -> None:
    from ray.tune.schedulers.async_hyperband import _Bracket

    rng = random.Random(seed)
    ours = Halving(SearchConfig(first_step=4, keep_one_of=keep_one_of))
    theirs = _Bracket(4, 100, keep_one_of, 0, stop_last_trials=False)
    going = {f"run-{i}": 0 for i in range(30)}
    stopped = 0
    while going:
        run_id = rng.choice(list(going))
        going[run_id] += rng.randint(1, 9)
        step = going[run_id]
        score = rng.random()
        expected = theirs.on_result(SimpleNamespace(trial_id=run_id), step, score)
        verdict = ours.report(run_id, step, score)
        assert (verdict is not None) == (expected == "STOP"), (run_id, step, score)
        stopped += verdict is not None
        if verdict is not None or step > 60:
            del going[run_id]
    assert stopped > 5


def test_a_verdict_says_what_would_have_been_enough() -> None:
    halving = Halving(SearchConfig(first_step=10, keep_one_of=2))
    assert halving.report("a", 9, 0.1) is None, "not compared before the first step"
    assert halving.report("a", 10, 0.5) is None, "nobody to be compared with"
    assert halving.report("b", 12, 0.4) == Verdict(step=10, score=0.4, cutoff=0.5)
    assert halving.report("c", 10, 0.6) is None
    assert halving.report("c", 20, 0.1) is None, "the first to come so far"


def test_where_lower_is_better_the_higher_stop() -> None:
    config = SearchConfig(
        first_step=1, keep_one_of=2, metric="holdout/loss", higher_is_better=False
    )
    halving = Halving(config)
    assert halving.report("a", 1, 0.5) is None
    assert halving.report("b", 1, 0.6) == Verdict(step=1, score=0.6, cutoff=0.5)
    assert halving.report("c", 1, 0.2) is None


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_number_is_the_worst(score: float) -> None:
    halving = Halving(SearchConfig(first_step=1, keep_one_of=2))
    halving.report("a", 1, 0.0)
    assert halving.report("b", 1, score) is not None
