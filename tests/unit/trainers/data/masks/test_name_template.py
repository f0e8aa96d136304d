"""Templates of names: what is an image's name, what is another file."""

from pathlib import PurePosixPath

import pytest

from rml_trainers.data.masks.name_template import NameTemplate, require_template


@pytest.mark.parametrize(
    ("template", "path", "name"),
    [
        ("{stem}", "a.png", "a"),
        ("{stem}", "x/y/a.JPG", "x/y/a"),
        ("{stem}_mask.png", "x/a_mask.PNG", "x/a"),
        ("{stem}_mask.png", "a_mask.tif", None),
        ("{stem}_mask.png", "a.png", None),
        ("{stem}_mask", "a_mask.tif", "a"),
        ("mask_{stem}", "mask_7.png", "7"),
        ("{folder}/labels/{stem}", "train/labels/a.png", "train/a"),
        ("{folder}/labels/{stem}", "labels/a.png", "a"),
        ("{folder}/labels/{stem}", "train/images/a.png", None),
        ("labels/{folder}/{stem}.png", "labels/x/y/a.png", "x/y/a"),
        ("gt/{stem}", "other/gt/a.png", None),
        ("{stem}.v2", "a.v2.png", "a"),
        ("{stem}_é", "a_é.png", "a"),
    ],
)
def test_names(template: str, path: str, name: str | None) -> None:
    assert NameTemplate(template).name(PurePosixPath(path)) == name


@pytest.mark.parametrize(
    "text", ["mask.png", "{stem}{stem}", "{name}", "*_{stem}", "{folder}{stem}", "/{stem}", ""]
)
def test_what_is_no_template_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"mask_name = .*a name with \{stem\} once"):
        require_template(text, "mask_name")
