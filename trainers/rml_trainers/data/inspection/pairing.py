"""Which mask belongs to which image: the rule behind the names, as settings of the layout `folder`.

A mask's name holds its image's name, with something of its kind around it; its folder is the
image's with some part exchanged. Both are read off the files themselves, so that no convention has
to be known: `img/a.jpg` and `gt/a_mask.png`, `train/images/7.tif` and `train/labels/7_manual.gif`,
`x_leftImg8bit.png` and `x_gtFine_labelIds.png` beside each other.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from rml_trainers.data.files import composed
from rml_trainers.data.inspection.roles import Group
from rml_trainers.data.masks.name_template import PLAIN

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Rule:
    """What a pair's names and folders differ in."""

    image_folder: Parts
    mask_folder: Parts
    """Parts of the folders that differ, between what both have before and behind."""
    image_affixes: tuple[str, str]
    mask_affixes: tuple[str, str]
    """Before and behind the stem that both share."""
    mask_kind: str
    """Ending of the mask's group."""


@dataclass(frozen=True)
class Pair:
    """An image, its mask, and the folder parts around the rule."""

    image: PurePosixPath
    mask: PurePosixPath
    before: Parts
    behind: Parts


@dataclass(frozen=True)
class Pairing:
    """Pairs of one rule, and the settings that find them."""

    settings: dict[str, str]
    pairs: tuple[Pair, ...]
    images: tuple[PurePosixPath, ...]
    """All images of the groups that the pairs are from, with and without mask."""


def pairings(groups: Sequence[Group]) -> list[Pairing]:
    """Every rule by which masks find images, that with the most pairs first."""
    images = [group for group in groups if group.role == "image"]
    index = _Index(images)
    found = defaultdict[Rule, list[Pair]](list)
    for group in groups:
        if group.role == "mask":
            for mask in group.files:
                if (match := index.find(mask, group.ending)) is not None:
                    found[match[0]].append(match[1])
    all_images = tuple(path for group in images for path in group.files)
    made = [_pairing(rule, pairs, all_images) for rule, pairs in found.items()]
    usable = [pairing for pairing in made if pairing is not None]
    return sorted(usable, key=lambda one: -len(one.pairs))


class _Index:
    """Images by stem, and by what is left of it without the affixes that all of a group share."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self._by_stem = defaultdict[str, list[tuple[PurePosixPath, tuple[str, str]]]](list)
        for group in groups:
            before, behind = _shared_affixes([path.stem for path in group.files])
            variants = {("", ""), ("", behind), (before, ""), (before, behind)}
            for path in group.files:
                for affixes in variants:
                    core = path.stem[len(affixes[0]) : len(path.stem) - len(affixes[1])]
                    self._by_stem[composed(core)].append((path, affixes))

    def find(self, mask: PurePosixPath, kind: str) -> tuple[Rule, Pair] | None:
        """The image of a mask: the longest name inside the mask's, in the nearest folder."""
        stem = composed(mask.stem)
        for length in range(len(stem), 0, -1):
            for start in {0, len(stem) - length}:
                core = stem[start : start + length]
                affixes = stem[:start], stem[start + length :]
                if core not in self._by_stem or not _at_boundary(core, affixes):
                    continue
                image, own = max(
                    self._by_stem[core],
                    key=lambda one: (_nearness(one[0], mask), -len("".join(one[1]))),
                )
                return _rule(image, mask, own, affixes, kind)
        return None


def _shared_affixes(stems: Sequence[str]) -> tuple[str, str]:
    """What all stems begin and end with, cut to whole words."""
    if len(stems) < 2:
        return "", ""
    before = _beginning(stems)
    while before and (before[-1].isdigit() or _cuts_a_word(before, stems)):
        before = before[:-1]
    rest = [stem[len(before) :][::-1] for stem in stems]
    behind = _beginning(rest)[::-1]
    while behind and behind[0].isdigit():
        behind = behind[1:]
    if not all(len(before) + len(behind) < len(stem) for stem in stems):
        return "", ""
    return before, behind


def _beginning(texts: Sequence[str]) -> str:
    """Characters that all texts begin with."""
    same = 0
    for letters in zip(*texts, strict=False):
        if len(set(letters)) > 1:
            break
        same += 1
    return texts[0][:same]


def _cuts_a_word(before: str, stems: Sequence[str]) -> bool:
    return before[-1].isalpha() and any(stem[len(before) :][:1].isalpha() for stem in stems)


def _at_boundary(core: str, affixes: tuple[str, str]) -> bool:
    """Whether the image's name stands as a word of its own in the mask's."""
    before, behind = affixes
    first = not before or not before[-1].isalnum() or (before[-1].isalpha() and core[0].isdigit())
    last = not behind or not behind[0].isalnum() or (behind[0].isalpha() and core[-1].isdigit())
    return first and last


def _nearness(image: PurePosixPath, mask: PurePosixPath) -> int:
    before, behind, _, _ = _folders(image, mask)
    return len(before) + len(behind)


def _folders(image: PurePosixPath, mask: PurePosixPath) -> tuple[Parts, Parts, Parts, Parts]:
    """Folder parts that both have before and behind, and those between of each."""
    ours = image.parent.parts
    theirs = mask.parent.parts
    if ours == theirs:
        return (), ours, (), ()
    num_before = 0
    while num_before < min(len(ours), len(theirs)) and ours[num_before] == theirs[num_before]:
        num_before += 1
    ours_left = ours[num_before:]
    theirs_left = theirs[num_before:]
    num_behind = 0
    limit = min(len(ours_left), len(theirs_left))
    while num_behind < limit and ours_left[-1 - num_behind] == theirs_left[-1 - num_behind]:
        num_behind += 1
    behind = ours_left[len(ours_left) - num_behind :]
    ours_middle = ours_left[: len(ours_left) - num_behind]
    theirs_middle = theirs_left[: len(theirs_left) - num_behind]
    return ours[:num_before], behind, ours_middle, theirs_middle


def _rule(
    image: PurePosixPath,
    mask: PurePosixPath,
    image_affixes: tuple[str, str],
    mask_affixes: tuple[str, str],
    kind: str,
) -> tuple[Rule, Pair]:
    before, behind, ours, theirs = _folders(image, mask)
    rule = Rule(ours, theirs, image_affixes, mask_affixes, kind)
    return rule, Pair(image, mask, before, behind)


def _pairing(
    rule: Rule, pairs: Sequence[Pair], images: tuple[PurePosixPath, ...]
) -> Pairing | None:
    """Settings of a rule; None where no template of the layout `folder` says it."""
    image_name = _template(rule.image_affixes)
    mask_name = _template(rule.mask_affixes)
    befores = {pair.before for pair in pairs}
    if len(befores) == 1:
        shared = next(iter(befores))
        if not rule.image_folder and not rule.mask_folder:
            shared = common_folder([pair.behind for pair in pairs])
        image_root: Parts = (*shared, *rule.image_folder)
        mask_root: Parts = (*shared, *rule.mask_folder)
    else:
        if any(pair.behind for pair in pairs):
            return None
        image_root = mask_root = common_folder(list(befores))
        image_name = "/".join(("{folder}", *rule.image_folder, image_name))
        mask_name = "/".join(("{folder}", *rule.mask_folder, mask_name))
    if image_root == mask_root:
        image_name += _suffix([pair.image for pair in pairs])
        mask_name += _suffix([pair.mask for pair in pairs])
    settings = {"images": "/".join(image_root) or ".", "masks": "/".join(mask_root) or "."}
    if image_name != PLAIN:
        settings["image_name"] = image_name
    if mask_name != PLAIN:
        settings["mask_name"] = mask_name
    below = [path for path in images if path.parts[: len(image_root)] == image_root]
    return Pairing(settings, tuple(pairs), tuple(below))


def _template(affixes: tuple[str, str]) -> str:
    return f"{affixes[0]}{PLAIN}{affixes[1]}"


def common_folder(folders: Sequence[Parts]) -> Parts:
    """Parts that all folders begin with."""
    shared: list[str] = []
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared.append(parts[0])
    return tuple(shared)


def _suffix(files: Sequence[PurePosixPath]) -> str:
    """The suffix of all files, or none where they differ."""
    suffixes = Counter(path.suffix.lower() for path in files)
    return next(iter(suffixes)) if len(suffixes) == 1 else ""
