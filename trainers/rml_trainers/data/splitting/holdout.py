"""Labelled training images kept out of training, so that a step can be chosen without looking at
the test images."""

from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import ConfigError
from rml_trainers.runtime.randomness import generator


def hold_out(split: Split, num_holdout: int) -> tuple[Split, tuple[str, ...]]:
    """The split without its hold-out, and the sorted names of the hold-out.

    The last `num_holdout` of the labelled images in an order drawn from the split's hash: the same
    for every seed and method that shares the split. They leave the unlabelled pool too. The split
    keeps its hash, which names what was asked for; the number held out is part of the run's
    identity by itself. Raises ConfigError when nothing is left.
    """
    if num_holdout == 0:
        return split, ()
    if num_holdout >= len(split.labelled):
        raise ConfigError(
            f"evaluation.num_holdout = {num_holdout}: the split has {len(split.labelled)} labelled "
            "images; expected "
            "fewer, so that some are left to learn from"
        )
    order = generator(split.hash, "holdout").permutation(len(split.labelled))
    held_out = {split.labelled[i] for i in order[len(order) - num_holdout :]}
    rest = Split(
        tuple(name for name in split.labelled if name not in held_out),
        tuple(name for name in split.unlabelled if name not in held_out),
        split.hash,
    )
    return rest, tuple(sorted(held_out))
