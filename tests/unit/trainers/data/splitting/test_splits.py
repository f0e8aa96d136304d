"""Splits: the published recipes give the published hashes, and every bad request is refused by
name."""

import random
from pathlib import Path

import numpy as np
import pytest

from rml_trainers.config import SplitConfig
from rml_trainers.data.splitting.name_lists import names_hash
from rml_trainers.data.splitting.published import published_names, stored_order
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import ConfigError, DataError

NAMES = [f"img_{i:03d}" for i in range(60)]


CITYSCAPES = published_names("cityscapes_train")
VOC = published_names("voc2012_train_aug")


@pytest.mark.parametrize(
    ("list_name", "number", "expected"),
    [("cityscapes_train", 2975, "356596e69da7"), ("voc2012_train_aug", 10582, "855dff350b7f")],
)
def test_whole_sets_have_the_published_hashes(list_name: str, number: int, expected: str) -> None:
    assert names_hash(published_names(list_name)) == expected
    assert len(published_names(list_name)) == number


@pytest.mark.parametrize(
    ("number", "seed", "expected"),
    [
        (100, 12345, "8ae9b182a9cb"),
        (372, 12345, "dd0b8b098cce"),
        (744, 12345, "e867a91f1ebc"),
        (100, 23456, "a241b2d01133"),
    ],
)
def test_french_splits_of_cityscapes_are_the_published_ones(
    number: int, seed: int, expected: str
) -> None:
    split = make_split(CITYSCAPES, SplitConfig(num_labelled=number, seed=seed))
    assert (split.hash, len(split.labelled), len(split.unlabelled)) == (
        expected,
        number,
        2975 - number,
    )


@pytest.mark.parametrize(
    ("divisor", "number", "expected"),
    [
        (100, 106, "494702715ac1"),
        (50, 212, "0f242c70a697"),
        (20, 529, "eac3f69eeacc"),
        (8, 1323, "306327ff6380"),
    ],
)
def test_french_splits_of_voc_follow_the_stored_order(
    divisor: float, number: int, expected: str
) -> None:
    """Seed 0 is the stored permutation; other seeds are permutations of their own."""
    split = make_split(VOC, SplitConfig(fraction=1 / divisor, seed=0))
    assert (split.hash, len(split.labelled), len(split.unlabelled)) == (
        expected,
        number,
        10582 - number,
    )
    drawn = {VOC[i] for i in np.random.RandomState(1).permutation(10582)[:number]}
    assert set(make_split(VOC, SplitConfig(num_labelled=number, seed=1)).labelled) == drawn


def test_the_stored_order_is_for_exactly_its_set() -> None:
    fewer = VOC[:-1]
    drawn = {fewer[i] for i in np.random.RandomState(0).permutation(10581)[:106]}
    assert set(make_split(fewer, SplitConfig(num_labelled=106, seed=0)).labelled) == drawn
    order = stored_order(VOC)
    assert order is not None
    assert sorted(order) == list(VOC)


@pytest.mark.parametrize(
    ("names", "divisor", "number", "expected"),
    [
        (CITYSCAPES, 29.75, 100, "f66bb7e64deb"),
        (CITYSCAPES, 8, 371, "84a0c61df170"),
        (CITYSCAPES, 4, 743, "f0c47fc0574e"),
        (VOC, 105.82, 100, "0dcb0beed2b6"),
        (VOC, 50, 211, "f1ad6f69af3d"),
        (VOC, 20, 530, "bf601f75d6f5"),
        (VOC, 8, 1322, "2bcd9fbfb717"),
    ],
)
def test_dmt_fractions_have_the_published_sizes_and_hashes(
    names: tuple[str, ...], divisor: float, number: int, expected: str
) -> None:
    split = make_split(names, SplitConfig(family="dmt", fraction=1 / divisor, seed=0))
    assert (split.hash, len(split.labelled)) == (expected, number)


def test_french_recipe_does_not_depend_on_the_order_of_the_names() -> None:
    shuffled = random.Random(3).sample(NAMES, len(NAMES))
    config = SplitConfig(num_labelled=7)
    assert make_split(NAMES, config) == make_split(shuffled, config)
    assert (
        make_split(NAMES, config).labelled
        != make_split(NAMES, SplitConfig(num_labelled=7, seed=23456)).labelled
    )


def test_dmt_splits_shuffle_on_and_do_not_start_anew() -> None:
    shuffler = random.Random(7777)
    order = sorted(NAMES)
    for split_id in range(3):
        shuffler.shuffle(order)
        split = make_split(NAMES, SplitConfig(family="dmt", num_labelled=9, seed=split_id))
        assert split.labelled == tuple(sorted(order[:9]))


@pytest.mark.parametrize(
    ("fraction", "number"), [(1 / 8, 8), (0.125, 8), (1 / 30, 2), (0.5, 30), (1.0, 60), (0.0083, 0)]
)
def test_fractions_are_rounded_half_up(fraction: float, number: int) -> None:
    config = SplitConfig(fraction=fraction)
    if number == 0:
        with pytest.raises(ConfigError, match="zero labelled images of 60"):
            make_split(NAMES, config)
    else:
        assert len(make_split(NAMES, config).labelled) == number


def test_the_pool_leaves_the_labelled_images_out_unless_told_otherwise() -> None:
    apart = make_split(NAMES, SplitConfig(num_labelled=10))
    shared = make_split(NAMES, SplitConfig(num_labelled=10, pool_includes_labelled=True))
    assert not set(apart.labelled) & set(apart.unlabelled)
    assert set(apart.labelled) | set(apart.unlabelled) == set(NAMES) == set(shared.unlabelled)


def test_images_without_a_mask_are_never_labelled() -> None:
    bare = NAMES[::2]
    split = make_split(NAMES, SplitConfig(num_labelled=30), without_label=bare)
    assert split.labelled == tuple(NAMES[1::2])
    assert split.unlabelled == tuple(bare)
    with pytest.raises(
        ConfigError, match=r"num_labelled = 31: the data set has 30 training images with masks"
    ):
        make_split(NAMES, SplitConfig(num_labelled=31), without_label=bare)
    with pytest.raises(DataError, match="zero labelled images"):
        make_split(NAMES, SplitConfig(num_labelled=1), without_label=NAMES)


@pytest.mark.parametrize(
    ("family", "seed", "message"),
    [
        ("french", 2**32, "split.seed = 4294967296"),
        ("dmt", 12345, "counts its splits 0, 1, 2"),
        ("dmt", -1, "seed = -1"),
    ],
)
def test_a_seed_that_the_family_does_not_have_is_refused(
    family: str, seed: int, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        make_split(NAMES, SplitConfig(family=family, num_labelled=3, seed=seed))  # type: ignore[arg-type]


def test_lists_are_read_from_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "labelled.txt").write_text("img_003\n\nimg_001\n")
    (tmp_path / "pool.txt").write_text("img_010\n")
    labelled = SplitConfig(family="lists", labelled_list="labelled.txt")
    pooled = SplitConfig(family="lists", labelled_list="labelled.txt", unlabelled_list="pool.txt")
    split, listed = (make_split(NAMES, config, data_root=tmp_path) for config in (labelled, pooled))
    assert split.labelled == ("img_001", "img_003")
    assert len(split.unlabelled) == 58
    assert split.hash == names_hash(split.labelled)
    assert listed.unlabelled == ("img_010",)
    assert listed.hash != split.hash, "another pool is another experiment"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("img_001\nimg_999\nother\n", r"not in the training set: img_999, other"),
        ("img_001\nimg_001\n", "come twice: img_001"),
        ("\n\n", "zero names"),
    ],
)
def test_a_wrong_list_is_refused_by_name(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "labelled.txt").write_text(content)
    config = SplitConfig(family="lists", labelled_list="labelled.txt")
    with pytest.raises(DataError, match=message):
        make_split(NAMES, config, data_root=tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        "aachen/aachen_000000_000019",
        "aachen_000000_000019",
        "aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png",
        "leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png "
        "gtFine/train/aachen/aachen_labelIds.png",
        "/leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png\tSegmentationClass/aachen.png",
    ],
)
def test_lists_may_spell_names_as_public_ones_do(tmp_path: Path, line: str) -> None:
    (tmp_path / "labelled.txt").write_text(f"{line}\nulm_000000_000019\n")
    split = make_split(
        CITYSCAPES, SplitConfig(family="lists", labelled_list="labelled.txt"), data_root=tmp_path
    )
    assert split.labelled == ("aachen/aachen_000000_000019", "ulm/ulm_000000_000019")


def test_one_image_in_two_spellings_or_two_images_of_one_bare_name_are_refused(
    tmp_path: Path,
) -> None:
    config = SplitConfig(family="lists", labelled_list="labelled.txt")
    (tmp_path / "labelled.txt").write_text("img_001\nimages/img_001.png\n")
    with pytest.raises(DataError, match="come twice: img_001"):
        make_split(NAMES, config, data_root=tmp_path)
    (tmp_path / "labelled.txt").write_text("a/1\n1\n")
    with pytest.raises(DataError, match=r"not in the training set: 1\."):
        make_split(["a/1", "b/1"], config, data_root=tmp_path)


def test_lists_that_are_no_text_or_not_there_or_without_masks_are_refused(tmp_path: Path) -> None:
    config = SplitConfig(family="lists", labelled_list="labelled.txt")
    with pytest.raises(DataError, match=r"split.labelled_list = labelled.txt: no such file"):
        make_split(NAMES, config, data_root=tmp_path)
    (tmp_path / "labelled.txt").write_bytes(b"\x80\x02]q\x00X\xff")
    with pytest.raises(DataError, match="not a text file of names"):
        make_split(NAMES, config, data_root=tmp_path)
    (tmp_path / "labelled.txt").write_text("img_005\n")
    with pytest.raises(DataError, match="images without a mask: img_005"):
        make_split(NAMES, config, data_root=tmp_path, without_label=["img_005"])


def test_images_of_one_bare_name_in_two_folders_are_told_apart() -> None:
    names = [f"{city}/{i}" for city in ("aachen", "bonn") for i in range(3)]
    assert names_hash(["aachen/1"]) == names_hash(["bonn/1"])
    hashes = {make_split(names, SplitConfig(num_labelled=1, seed=seed)).hash for seed in range(40)}
    assert len(hashes) == 6
