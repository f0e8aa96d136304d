"""Stratified splits: every class is there when it can be, by seed, the same on every machine."""

import itertools

import numpy as np
import pytest

from rml_trainers.config import SplitConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.data.splitting.stratified import stratified_choice
from rml_trainers.errors import ConfigError

Shown = dict[str, set[int]]


def _choose(shown: Shown, count: int, seed: int = 0, num_classes: int = 8) -> tuple[str, ...]:
    def pixels(name: str) -> list[int]:
        return [5 * (k in shown[name]) for k in range(num_classes)]

    return stratified_choice(sorted(shown), pixels, count, seed)


def _classes(shown: Shown, names: tuple[str, ...]) -> set[int]:
    return set[int]().union(*(shown[name] for name in names))


def _unbalanced(num_images: int = 200) -> Shown:
    """Classes 0 and 1 everywhere, class k > 1 in ever fewer images."""
    rng = np.random.default_rng(3)
    shown = {f"img_{i:03d}": {0, 1} for i in range(num_images)}
    for k in range(2, 8):
        for i in rng.choice(num_images, 8 - k, replace=False):
            shown[f"img_{i:03d}"].add(k)
    return shown


@pytest.mark.parametrize("seed", range(5))
def test_every_class_is_there_though_a_plain_draw_misses_some(seed: int) -> None:
    shown = _unbalanced()
    chosen = _choose(shown, 8, seed)
    assert len(chosen) == 8
    assert list(chosen) == sorted(set(chosen))
    assert _classes(shown, chosen) == set(range(8))
    plain = make_split(sorted(shown), SplitConfig(num_labelled=8, seed=seed)).labelled
    assert _classes(shown, plain) < set(range(8)), "the case would show nothing"


def test_seeds_choose_other_images_and_one_seed_the_same() -> None:
    shown = _unbalanced()
    choices = {_choose(shown, 12, seed) for seed in range(6)}
    assert len(choices) == 6
    assert _choose(shown, 12, 4) == _choose(dict(reversed(shown.items())), 12, 4)
    assert _choose(shown, 3, 0, num_classes=2) == ("img_104", "img_108", "img_158"), (
        "the order comes from hashes and may never change"
    )


@pytest.mark.parametrize("trial", range(12))
def test_of_few_images_all_classes_are_found_exactly_where_they_can_be(trial: int) -> None:
    """Against trying every combination."""
    rng = np.random.default_rng(trial)
    shown = {
        f"i{i}": set(rng.choice(7, rng.integers(1, 4), replace=False).tolist()) for i in range(12)
    }
    everything = _classes(shown, tuple(shown))
    for count in (2, 3, 4):
        can = any(
            _classes(shown, names) == everything
            for names in itertools.combinations(sorted(shown), count)
        )
        chosen = _choose(shown, count, trial)
        assert len(chosen) == count
        assert (_classes(shown, chosen) == everything) == can


def test_where_it_cannot_be_the_most_frequent_gaps_are_filled_first() -> None:
    shown = {"a": {0, 1, 2}, "b": {3}, "c": {4}, "d": {5, 6}}
    assert _choose(shown, 2) == ("a", "d")


def test_a_split_needs_the_masks_and_leaves_out_what_has_none() -> None:
    shown = _unbalanced(20)
    config = SplitConfig(family="stratified", num_labelled=5, seed=1)
    with pytest.raises(ConfigError, match="'stratified': needs the masks"):
        make_split(sorted(shown), config)
    split = make_split(
        [*sorted(shown), "bare"],
        config,
        without_label=["bare"],
        class_pixels=lambda name: [int(k in shown[name]) for k in range(8)],
    )
    assert "bare" in split.unlabelled
    assert len(split.labelled) == 5
    assert split.hash
