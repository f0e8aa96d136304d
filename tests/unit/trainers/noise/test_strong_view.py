"""Recipes of strong views: the paper's for its own methods, the authors' for the comparators."""

import pytest

from rml_trainers.methods.comparators.classmix import ClassMixConfig
from rml_trainers.methods.comparators.cutmix_seg import STRONG_COLOUR, CutMixSegConfig
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.mixing import CutMix
from rml_trainers.noise.mixing_masks import ClassMix
from rml_trainers.noise.photometric import RandAugment
from rml_trainers.noise.strong_view import StrongView, strong_view
from tests.support.tiny import METHOD_CONFIGS


def test_the_papers_methods_follow_the_noise_configuration() -> None:
    noise = NoiseConfig(cutmix_area=(0.1, 0.2))
    view = StrongView(
        photometric=RandAugment(noise), mixing=CutMix(area=(0.1, 0.2), aspect=(0.5, 2.0))
    )
    for name in ("pseudo_label", "mean_teacher", "mutual_direct", "iml", "rml"):
        assert strong_view(noise, METHOD_CONFIGS[name].strong_view) == view == strong_view(noise)


def test_a_comparator_brings_its_own() -> None:
    noise = NoiseConfig(cutmix=False)
    assert strong_view(noise, CutMixSegConfig().strong_view) == StrongView(
        photometric=STRONG_COLOUR, mixing=CutMix(area=(0.5, 0.5))
    )
    assert strong_view(noise, CutMixSegConfig(photometric="none").strong_view).photometric is None
    assert strong_view(
        noise, CutMixSegConfig(photometric="rand_augment").strong_view
    ).photometric == RandAugment(noise)
    mixed_first = strong_view(noise, ClassMixConfig().strong_view)
    assert mixed_first.photometric_last and mixed_first.mixing == ClassMix()


@pytest.mark.parametrize("method", METHOD_CONFIGS)
def test_input_noise_off_is_off_for_every_method(method: str) -> None:
    assert strong_view(NoiseConfig(input=False), METHOD_CONFIGS[method].strong_view) == StrongView()
