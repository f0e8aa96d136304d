"""Name lists and permutations that others published. They ship as text, so their splits need no
images.

The lists are those of the data sets' authors (`voc2012_train_aug`: VOC's training images and those
that SBD labels, none of them for validation); the permutation is the one that S4GAN, ClassMix and
CutMix-Seg share.
"""

from collections.abc import Collection, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

from rml_trainers.data.splitting.name_lists import names_hash
from rml_trainers.errors import DataError

STORED_ORDERS = {"855dff350b7f": "voc2012_train_aug_split_0_order"}
"""Permutation that takes the place of seed 0 in the recipe of French et al., by the hash of the
names it permutes."""
_NUM_SHOWN = 5


@cache
def published_names(list_name: str) -> tuple[str, ...]:
    """Sorted names of a list that ships with the package."""
    return tuple(sorted(_lines(list_name)))


def stored_order(names: Sequence[str]) -> list[str] | None:
    """Sorted names in the published order of exactly this set of names, or None where nobody
    published one."""
    list_name = STORED_ORDERS.get(names_hash(names))
    return None if list_name is None else [names[int(line)] for line in _lines(list_name)]


def require_published(
    found: Collection[str], list_name: str, where: Path, mend: str = ""
) -> tuple[str, ...]:
    """The published names, once they and no others are found. Raises DataError naming some of the
    differing ones."""
    names = published_names(list_name)
    missing = sorted(set(names) - set(found))
    unknown = sorted(set(found) - set(names))
    if not missing and not unknown:
        return names
    differing = [
        f"{len(some)} {what} "
        f"({', '.join(some[:_NUM_SHOWN])}{', …' if len(some) > _NUM_SHOWN else ''})"
        for what, some in (("missing", missing), ("unknown", unknown))
        if some
    ]
    raise DataError(
        f"{where}: not the {len(names)} images of the published set: {'; '.join(differing)}. Other "
        "images have other "
        f"splits and other scores. {mend}Set data.complete: false to take what is there"
    )


def _lines(list_name: str) -> list[str]:
    return (
        (files("rml_trainers.data.splitting") / "names" / f"{list_name}.txt")
        .read_text(encoding="utf-8")
        .split()
    )
