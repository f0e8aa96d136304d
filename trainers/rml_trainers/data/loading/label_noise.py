"""Wrong labels on purpose: how much does a method lose when annotators err?

Whole regions are mislabelled and not single pixels, because that is how people err, and because
noise of single pixels averages out within a crop.
"""

from collections.abc import Sequence

import numpy as np

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.dataset import UInt8Array
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.runtime.randomness import generator


def with_label_noise(
    data: PreparedData, labelled: Sequence[str], share: float, *, seed: int
) -> PreparedData:
    """The same images, with wrong classes in the masks of the labelled ones.

    Everything that training knows of their masks (losses, class shares, prototypes from labels) is
    then of the wrong ones. What measures pseudo labels stays the truth, `PreparedData.true_label`.

    Args:
        labelled: names of the training images whose masks err.
        share: how many of the class regions, in [0, 1]; 0 gives `data` itself.
        seed: of the draws; an image errs alike in every split, and what errs at a small share errs
            at every larger one too.
    """
    if share == 0:
        return data
    labels = {}
    for name in labelled:
        i = data.index("train", name)
        label = data.label("train", i)
        if label is not None:
            labels[i] = mislabelled(label, share, data.num_classes, (seed, "label_noise", name))
    return data.with_train_labels(labels)


def mislabelled(
    label: UInt8Array, share: float, num_classes: int, purpose: tuple[int | str, ...]
) -> UInt8Array:
    """A label [H, W] in which every class is, with probability `share`, called by another class,
    each of the others with the same probability. What is ignored stays ignored."""
    rng = generator(*purpose)
    errs = rng.random(num_classes)
    steps = rng.integers(1, num_classes, num_classes)
    table = np.arange(256, dtype=np.uint8)
    for k in range(num_classes):
        if errs[k] < share:
            table[k] = (k + steps[k]) % num_classes
    table[IGNORE_LABEL] = IGNORE_LABEL
    return table[label]
