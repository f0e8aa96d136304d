"""Which files are meant, what their results are called, and what is found wrong before any work."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rml_platform.views.prediction.inputs import Input, check_inputs, find_inputs
from rml_trainers.data.files import Skipped
from rml_trainers.errors import DataError
from tests.support.image_folders import image, save


def tree(root: Path) -> Path:
    for name in ("a.png", "city 0 ü/b.png", "city 0 ü/c.JPG", "100% #?/d.png"):
        save(image(1), root / name)
    (root / "city 0 ü" / "notes.txt").write_text("x")
    (root / ".hidden.png").write_bytes(b"")
    return root


def found(*given: object) -> tuple[list[str], list[str], Skipped]:
    skipped = Skipped()
    inputs, problems = find_inputs([str(text) for text in given], skipped)
    return [one.name for one in inputs], problems, skipped


def test_a_folder_stands_for_all_pictures_below_it_by_their_path(tmp_path: Path) -> None:
    names, problems, skipped = found(tree(tmp_path / "in"))
    assert sorted(names) == ["100% #?/d", "a", "city 0 ü/b", "city 0 ü/c"]
    assert not problems
    assert sum(number for number, _ in skipped.reasons.values()) == 2


def test_a_pattern_names_results_by_what_lies_below_its_fixed_part(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    assert sorted(found(f"{root}/**/*.png")[0]) == ["100% #?/d", "a", "city 0 ü/b"]
    assert found(f"{root}/city*/*")[0] == ["city 0 ü/b", "city 0 ü/c"]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tmp_path: Path) -> None:
    save(image(1), tmp_path / "a[1]*.png")
    save(image(1), tmp_path / "a1.png")
    assert found(tmp_path / "a[1]*.png")[0] == ["a[1]*"]


def test_a_file_given_twice_is_taken_once(tmp_path: Path) -> None:
    root = tree(tmp_path / "in")
    assert found(root / "a.png", root / "a.png", f"{root}/*.png")[0] == ["a"]


def test_everything_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.png").symlink_to(tmp_path / "gone.png")
    given = [tmp_path / name for name in ("nix.png", "empty", "broken.png", "*.bmp")]
    names, problems, _ = found(*given)
    assert not names
    expected = ("no such file or folder", "a folder without pictures", "a broken symbolic link")
    for path, text in zip(given, (*expected, "no picture fits this pattern"), strict=True):
        assert any(line.startswith(f"{path}: {text}") for line in problems)
    assert len(problems) == 4


def geo_tiff(path: Path) -> Path:
    tags = Image.Exif()
    tags[33550] = (1.0, 1.0, 0.0)
    Image.fromarray(image(1)).save(path, exif=tags)
    return path


def test_every_bad_file_is_named_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RML_MAX_MEGAPIXELS", "0.01")
    good = tmp_path / "good.png"
    save(image(1), good)
    cut = tmp_path / "cut.jpg"
    save(image(1), cut)
    cut.write_bytes(cut.read_bytes()[:300])
    text = tmp_path / "notes.txt"
    text.write_text("no picture")
    large = tmp_path / "large.png"
    save(np.zeros((200, 200, 3), np.uint8), large)
    scan = tmp_path / "scan.dcm"
    scan.write_bytes(bytes(128) + b"DICM" + bytes(100))
    bad = {
        cut: "corrupt or truncated",
        text: "not a picture",
        large: "too large",
        scan: "DICOM is out of scope",
        geo_tiff(tmp_path / "map.tif"): "GeoTIFF is out of scope",
    }
    checked = []
    inputs, _ = find_inputs([str(path) for path in (good, *bad)], Skipped())
    with pytest.raises(DataError) as caught:
        check_inputs(inputs, None, {}, None, lambda: checked.append(1), ["nix.png: no such file"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "6 of 7 inputs cannot be used; nothing was predicted:"
    assert lines[1] == "nix.png: no such file"
    assert len(checked) == 6
    for path, text_of in bad.items():
        assert any(line.startswith(str(path)) and text_of in line for line in lines), path


def test_good_files_give_their_sizes(tmp_path: Path) -> None:
    save(image(1, 40, 56), tmp_path / "a.png")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(image(2, 40, 56)).save(tmp_path / "b.jpg", exif=turned)
    inputs = [Input(tmp_path / name, Path(name)) for name in ("a.png", "b.jpg")]  # type: ignore[arg-type]
    assert check_inputs(inputs, None, {}, None, lambda: None) == [(40, 56), (56, 40)]
