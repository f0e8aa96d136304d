"""Class files of annotation tools: one list of classes whatever form they have."""

import json
from pathlib import Path

import pytest

from rml_trainers.data.masks.class_file import read_class_file
from rml_trainers.errors import DataError

CITYSCAPES = [
    {"name": "unlabeled", "id": 0, "trainId": 255, "color": [0, 0, 0]},
    {"name": "car", "id": 26, "trainId": 1, "color": [0, 0, 142]},
    {"name": "road", "id": 7, "trainId": 0, "color": [128, 64, 128]},
]
ROAD_CAR_BLUE = {"128,64,128": "road", "0,0,142": "car"}


@pytest.mark.parametrize(
    ("name", "content", "names", "values", "colours"),
    [
        ("a.json", ["road", "car"], ("road", "car"), None, None),
        ("a.json", {"names": {"0": "road", "1": "car"}}, ("road", "car"), "01", None),
        ("a.json", {"road": 7, "car": 26}, ("road", "car"), {"7": "road", "26": "car"}, None),
        ("a.json", {"road": [128, 64, 128], "car": "#00008e"}, ("road", "car"), None, "rgb"),
        ("a.json", {"#804080": "road", "0,0,142": "car"}, ("road", "car"), None, "rgb"),
        (
            "a.json",
            [{"name": "road", "color": "#804080", "attributes": []}, {"name": "car"}],
            ("road", "car"),
            None,
            {"128,64,128": "road"},
        ),
        (
            "a.json",
            {"categories": [{"id": 3, "name": "road"}, {"id": 7, "name": "car"}], "images": []},
            ("road", "car"),
            {"3": "road", "7": "car"},
            None,
        ),
        (
            "a.json",
            {"labels": CITYSCAPES},
            ("road", "car"),
            {"0": "ignore", "26": "car", "7": "road"},
            {**ROAD_CAR_BLUE, "0,0,0": "ignore"},
        ),
        ("labels.txt", "__ignore__\nroad\ncar\n", ("road", "car"), None, None),
        (
            "labelmap.txt",
            "# label:color_rgb:parts:actions\nroad:128,64,128::\ncar:0,0,142::\n",
            ("road", "car"),
            None,
            "rgb",
        ),
        ("a.yaml", "names:\n  0: road\n  1: car\n", ("road", "car"), "01", None),
        ("a.yml", "- {name: road, value: 1}\n- {name: car, value: 2}\n", ("road", "car"), "12", 0),
    ],
)
def test_forms(
    name: str,
    content: object,
    names: tuple[str, ...],
    values: object,
    colours: object,
    tmp_path: Path,
) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text, encoding="utf-8-sig")
    found = read_class_file(tmp_path / name)
    if isinstance(values, str):
        values = dict(zip(values, ("road", "car"), strict=True))
    wanted_colours = ROAD_CAR_BLUE if colours == "rgb" else colours or None
    assert found.class_names == names
    assert found.values == values
    assert found.colours == wanted_colours


def test_a_name_that_comes_twice_is_one_class(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(
        '[{"name": "a", "id": 1}, {"name": "b", "id": 2}, {"name": "a", "id": 3}]'
    )
    found = read_class_file(tmp_path / "a.json")
    assert found.class_names == ("a", "b")
    assert found.values is not None
    assert found.values.resolved(found.class_names) == {1: 0, 2: 1, 3: 0}


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", "{", "not a class file"),
        ("a.json", "3", "expected a list of classes"),
        ("a.json", '["only"]', r"it has 1 class\(es\)"),
        ("a.json", '[{"id": 1}]', "has no name"),
        ("a.json", '{"a": 1, "b": 1}', "1 is 'a' and 'b' at once"),
        ("a.json", '{"a": "blue", "b": 2}', "is no colour"),
        ("a.yaml", "a: [", "not valid YAML"),
        ("a.yaml", "a: 2001-99-99", "a value is not what it looks like"),
        ("a.yaml", "a: !!int ''", "a value is not what it looks like"),
        ("a.yaml", "a: !!bool xyz", "a value is not what it looks like"),
        ("a.yaml", "a: !!timestamp x", "a value is not what it looks like"),
        ("a.yaml", "[" * 1500, "nested too deeply"),
        ("a.json", "[" * 100_000, "nested too deeply"),
        ("a.xml", "<x/>", "not a class file; expected one of"),
    ],
)
def test_what_is_no_class_file_is_refused(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        read_class_file(tmp_path / name)
    with pytest.raises(DataError, match=r"data.class_file: .*: no such file"):
        read_class_file(tmp_path / "gone.json")
