"""`label_values`, `label_colours`: many forms a person writes, one canonical table."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rml_platform.study.schema import load_run_config
from rml_platform.study.validation import validate
from rml_trainers.config import RunConfig
from rml_trainers.data.masks.label_tables import LabelColours, LabelValues, packed, parse_colour
from rml_trainers.data.masks.mask_rule import MaskRule
from rml_trainers.data.pictures.masks import MaskFile
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.errors import ConfigError, DataError

NAMES = ("background", "road", "car")


def test_many_values_may_be_one_class_and_ranges_are_short_for_them() -> None:
    table = LabelValues.parse({"0": "background", "1-3, 7": "road", "40000": 2, "255": "ignore"})
    assert table.resolved(NAMES) == {0: 0, 1: 1, 2: 1, 3: 1, 7: 1, 40000: 2, 255: 255}
    assert LabelValues.parse(table) == table
    assert LabelValues.parse("binary").resolved(("a", "b")) == {0: 0, 255: 1}


def test_colours_are_written_in_several_ways() -> None:
    for text in ("128,64,128", "128 64 128", "#804080", "(128, 64, 128)", [128, 64, 128, 255]):
        assert parse_colour(text) == (128, 64, 128)
    table = LabelColours.parse({"#804080": "road", "0,0,0": "background", "250 170 30": "ignore"})
    assert table.resolved(NAMES) == {0x804080: 1, 0: 0, packed((250, 170, 30)): 255}
    assert LabelColours.parse(dict(table)) == table


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (LabelValues, {"x": "road"}, "expected `binary`, or value: class"),
        (LabelValues, {"3-1": "road"}, "expected `binary`"),
        (LabelValues, {"1": "road", "0-4": "car"}, "value 1 is given twice"),
        (LabelValues, {"1": 2.5}, "expected `binary`"),
        (LabelValues, {}, "expected `binary`"),
        (LabelValues, "binry", "expected `binary`"),
        (LabelColours, {"#80408": "road"}, "is no colour"),
        (LabelColours, {"1,2,256": "road"}, "is no colour"),
        (LabelColours, {"0,0,0": "a", "#000000": "b"}, "colour 0,0,0 is given twice"),
    ],
)
def test_what_is_no_table_is_refused(
    kind: type[LabelValues] | type[LabelColours], given: object, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        kind.parse(given)


def test_a_class_that_does_not_exist_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"label_values = .*no class 'raod'; did you mean 'road'"):
        FolderConfig(
            folder="f",
            class_names=NAMES,
            size_px=None,
            label_values=LabelValues.parse({"1": "raod"}),
        )


RUN = """\
data: {name: folder, folder: own, class_names: [a, b], size_px: [32, 48], label_values: TABLE}
split: {num_labelled: 1}
method: {name: supervised}
"""


@pytest.mark.parametrize(
    "table", ["binary", "{0: a, 255: b}", '{"0": a, "255": 1}', "{255: b, 0: a}"]
)
def test_tables_are_read_from_yaml_and_equal_ones_are_equal(table: str, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN.replace("TABLE", table))
    data = load_run_config(tmp_path / "run.yaml").data
    assert isinstance(data, FolderConfig)
    assert data.label_values is not None
    assert data.label_values.resolved(("a", "b")) == {0: 0, 255: 1}
    (tmp_path / "again.yaml").write_text(RUN.replace("TABLE", "{0: a, 255: b}"))
    set_ = [f"data.label_values={table}"]
    over = load_run_config(tmp_path / "again.yaml", set_).data
    assert isinstance(over, FolderConfig)
    assert over.label_values is not None
    assert over.label_values.resolved(("a", "b")) == {0: 0, 255: 1}


def test_a_configuration_with_tables_can_be_hashed_and_travels_as_json(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN.replace("TABLE", "{0: a, 1-4: b}"))
    config = load_run_config(tmp_path / "run.yaml")
    text = json.dumps(dataclasses.asdict(config))
    again = validate(RunConfig, json.loads(text), lambda path: "here")
    assert again == config
    assert hash(again.data) == hash(config.data)


def test_a_wrong_table_names_file_line_and_key(tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text(RUN.replace("TABLE", "{zero: a}"))
    with pytest.raises(ConfigError, match=r"run.yaml:1: data.label_values: 'zero': expected"):
        load_run_config(tmp_path / "run.yaml")


def _grey(values: object, dtype: type[np.generic] = np.uint8) -> MaskFile:
    return MaskFile(np.asarray(values, dtype), None, None, "PNG L", ())


def _rgb(values: object) -> MaskFile:
    return MaskFile(None, np.asarray(values, np.uint8), None, "PNG RGB", ())


def test_masks_are_mapped_value_by_value() -> None:
    rule = MaskRule(NAMES, values={7: 1, 1000: 2, 40000: 0, 300000: 2})
    found = rule.label(_grey([[7, 1000], [40000, 255]], np.uint16), Path("a.png"))
    assert found.tolist() == [[1, 2], [0, 255]]
    assert rule.label(_grey([[300000]], np.int32), Path("a.png")).tolist() == [[2]]


def test_what_is_not_listed_is_refused_by_value_or_ignored_as_asked() -> None:
    strict = MaskRule(NAMES, values={0: 0, 1: 1})
    with pytest.raises(DataError, match=r"a.png: label value 4, 9 is no class; add it to"):
        strict.label(_grey([[0, 4], [9, 1]]), Path("a.png"))
    lenient = MaskRule(NAMES, values={0: 0, 1: 1}, ignore_unlisted=True)
    assert lenient.label(_grey([[0, 4], [9, 1]]), Path("a.png")).tolist() == [[0, 255], [255, 1]]
    many = np.arange(3, 60, dtype=np.uint8)[None]
    with pytest.raises(DataError, match=r"class id 3, .*, 12 and 47 more out of range; .*0..2 or"):
        MaskRule(NAMES).label(_grey(many), Path("a.png"))


def test_a_listed_value_is_a_class_though_it_would_be_ignored() -> None:
    assert MaskRule(("a", "b"), values={0: 0, 255: 1}).label(
        _grey([[0, 255]]), Path("a.png")
    ).tolist() == [[0, 1]]
    assert MaskRule(NAMES, ignore_value=0).label(_grey([[0, 1]]), Path("a.png")).tolist() == [
        [255, 1]
    ]


def test_colours_are_mapped_and_unknown_ones_named() -> None:
    rule = MaskRule(NAMES, colours={0: 0, 0x804080: 1})
    mask = _rgb([[[0, 0, 0], [128, 64, 128]]])
    assert rule.label(mask, Path("a.png")).tolist() == [[0, 1]]
    with pytest.raises(DataError, match=r"colour 1,2,3 is no class; add it to data.label_colours"):
        rule.label(_rgb([[[1, 2, 3]]]), Path("a.png"))
    palette = np.zeros((256, 3), np.uint8)
    palette[5] = 128, 64, 128
    of_palette = MaskFile(np.asarray([[0, 5]], np.uint8), None, palette, "PNG P", ())
    assert rule.label(of_palette, Path("a.png")).tolist() == [[0, 1]], "as a viewer shows it"
    both = MaskRule(NAMES, values={0: 0, 5: 2}, colours={0: 0, 0x804080: 1})
    assert both.label(of_palette, Path("a.png")).tolist() == [[0, 2]], "numbers where both are told"
    with pytest.raises(DataError, match=r"mask of mode PNG RGB: colours.*data.label_colours"):
        MaskRule(NAMES).label(mask, Path("a.png"))
