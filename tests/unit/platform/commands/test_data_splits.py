"""`rml data splits` and `rml data prepare`: a file's own split counts, lists and strata, the
account."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_trainers.config import SplitConfig
from rml_trainers.data import build_dataset
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.errors import ConfigError, DataError
from tests.support.image_folders import mask, save, write_folder

runner = CliRunner()
OWN = "name: folder, folder: own, class_names: [road, car, tree], size_px: [40, 56]"
RUN = "data: {OWN}\nsplit: SPLIT\nmethod: {name: supervised}\n"


def _root(tmp_path: Path) -> Path:
    """Twelve masks, of which one shows a tree."""
    folder = write_folder(tmp_path, num_labelled=12, num_bare=2)
    for i in range(12):
        save(mask(i, (0, 1, 2) if i == 7 else (0, 1)), folder / "masks" / f"a{i}.png")
    (folder / "val.txt").write_text("a0\na1")
    return tmp_path


def _run_file(root: Path, split: str) -> Path:
    path = root / "run.yaml"
    data = f"{OWN}, val_list: val.txt"
    path.write_text(RUN.replace("OWN", data).replace("SPLIT", split))
    return path


def splits(root: Path, *arguments: object) -> tuple[list[str], str]:
    """Printed names, and what is said on stderr."""
    out = ["--out", root / "out", "--data-root", root]
    command = ["data", "splits", *map(str, (*arguments, *out))]
    done = runner.invoke(app, command, catch_exceptions=False)
    assert done.exit_code == 0
    return done.stdout.split(), done.stderr


def test_the_split_of_a_run_file_counts(tmp_path: Path) -> None:
    root = _root(tmp_path)
    names, text = splits(root, _run_file(root, "{fraction: 0.3, seed: 4}"))
    config = FolderConfig(
        folder="own", class_names=("road", "car", "tree"), size_px=(40, 56), val_list="val.txt"
    )
    dataset = build_dataset(config, root)
    wanted = make_split(
        dataset.names("train"),
        SplitConfig(fraction=0.3, seed=4),
        without_label=dataset.names_without_label(),
    )
    assert tuple(names) == wanted.labelled
    assert f"hash {wanted.hash}" in text
    other, _ = splits(root, root / "run.yaml", "--count", 2)
    assert len(other) == 2
    seeded, _ = splits(root, root / "run.yaml", "--seed", 5)
    assert len(seeded) == len(names)
    assert seeded != names


def test_lists_are_given_by_option_or_by_file(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "mine.txt").write_text("a3\na5.jpg\n")
    (root / "pool.txt").write_text("a8\nb0\n")
    names, _ = splits(root, _run_file(root, "{fraction: 0.5}"), "--list", "mine.txt")
    assert names == ["a3", "a5"]
    lists = ("--list", "mine.txt", "--unlabelled-list", "pool.txt")
    names, text = splits(root, root / "run.yaml", *lists, "--unlabelled")
    assert names == ["a8", "b0"]
    assert "2 labelled, 2 unlabelled" in text
    own = _run_file(root, "{family: lists, labelled_list: mine.txt}")
    assert splits(root, own)[0] == ["a3", "a5"]
    with pytest.raises(ConfigError, match=r"labelled_list = None: expected a file"):
        splits(root, _run_file(root, "{fraction: 0.5}"), "--family", "lists")


def test_names_on_both_lists_are_refused_unless_that_is_meant(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "mine.txt").write_text("a3\na5\n")
    (root / "pool.txt").write_text("a5\na8\n")
    split = "{family: lists, labelled_list: mine.txt, unlabelled_list: pool.txt}"
    with pytest.raises(
        DataError, match=r"1 images are on split.labelled_list too: a5\. Take.*true"
    ):
        splits(root, _run_file(root, split))
    meant = split.replace("}", ", pool_includes_labelled: true}")
    assert splits(root, _run_file(root, meant))[0] == ["a3", "a5"]


@pytest.mark.parametrize("seed", range(4))
def test_a_stratified_split_shows_every_class_and_a_note_says_what_another_lacks(
    tmp_path: Path, seed: int
) -> None:
    root = _root(tmp_path)
    run = _run_file(root, f"{{num_labelled: 2, seed: {seed}}}")
    _, text = splits(root, run)
    assert "classes are not known before `rml data prepare`" in text
    names, text = splits(root, run, "--family", "stratified", "--count", 2)
    assert "a7" in names
    assert "every class is shown by a labelled image" in text
    plain, text = splits(root, run)
    assert ("no labelled image shows tree" in text) == ("a7" not in plain)


def test_a_study_with_several_splits_asks_for_one(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "study.yaml").write_text(
        f"name: x\nbase:\n  data: {{{OWN}}}\n  method: {{name: supervised}}\n"
        "rows: [{label: r}]\nseeds: [0]\n"
        "columns:\n"
        "  - {label: a, set: {split.num_labelled: 2}}\n"
        "  - {label: b, set: {split.num_labelled: 3}}\n"
    )
    with pytest.raises(ConfigError, match=r"uses 2 splits \(french 2, seed 12345; french 3, seed"):
        splits(root, root / "study.yaml")
    assert len(splits(root, root / "study.yaml", "--count", 4)[0]) == 4


def test_prepare_prints_the_account_and_fresh_prepares_again(tmp_path: Path) -> None:
    root = _root(tmp_path)
    (root / "own" / "images" / "notes.txt").write_text("x")
    command = ["data", "prepare", str(_run_file(root, "{num_labelled: 2}"))]
    command += ["--out", str(root / "out"), "--data-root", str(root)]
    done = runner.invoke(app, command, catch_exceptions=False)
    folder, content_hash = done.stdout.split()
    assert "left out: 1 not a picture by its suffix (for example notes.txt)" in done.stderr
    assert "2 unlabelled images" in done.stderr
    inode = Path(folder).stat().st_ino
    again = runner.invoke(app, command, catch_exceptions=False)
    assert Path(folder).stat().st_ino == inode
    assert "notes.txt" in again.stderr, "the account is kept"
    fresh = runner.invoke(app, [*command, "--fresh"], catch_exceptions=False)
    assert fresh.stdout.split() == [folder, content_hash]
    assert Path(folder).stat().st_ino != inode
