"""Published and imported numbers: from files beside a study to the marked rows of its table."""

from pathlib import Path

import pytest
import yaml

import rml_dashboards as rd
from rml_dashboards.studies.study import Study
from rml_platform.study.schema import load_study
from rml_platform.study.yaml_document import read_document
from rml_trainers.errors import ConfigError
from tests.support.dashboards.recorded_study import RecordedStudy
from tests.support.platform.plan_on_disk import OWN_IMAGES
from tests.support.platform.studies import STUDY, write_study
from tests.support.recorded import PROTOCOL

PUBLISHED = """\
row,column,mean,std,source,protocol,note
RML,1/4,61.5,,later paper,,
CutMix,1/4,60.34,1.24,"paper, Table 1",cityscapes-512x1024,own splits
"""
YAML = """\
numbers:
  - {row: CutMix, column: 1/2, mean: 66, source: paper}
"""
IMPORTED = """\
run,row,column,seed,value,protocol
t/0,Tool,1/4,0,60.1,p/student_1/last
t/1,Tool,1/4,1,60.9,p/student_1/last
"""


def study_file(folder: Path, **files: str) -> Path:
    """The small study with files of numbers: key → content; CSV unless it is YAML."""
    lines = []
    for key, content in files.items():
        name = f"{key}.yaml" if content.startswith("numbers") else f"{key}.csv"
        (folder / name).write_text(content)
        lines.append(f"{key}: [{name}]\n")
    return write_study(folder, STUDY + "".join(lines))


def test_published_numbers_are_quoted(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, publications=PUBLISHED))
    rows = {row.label: row for row in study.rows}
    assert [n.mean for n in rows["RML"].reported["1/4"]] == [60.5, 61.5], (
        "the file's own come first"
    )
    (cutmix,) = rows["CutMix"].reported["1/4"]
    assert (cutmix.mean, cutmix.std, cutmix.source) == (60.34, 1.24, "paper, Table 1")
    assert (cutmix.protocol, cutmix.note) == ("cityscapes-512x1024", "own splits")
    assert rows["CutMix"].columns == (), "it is never run"
    assert list(rows) == ["Supervised", "RML", "Other", "CutMix"]


def test_a_yaml_file_says_the_same(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, publications=YAML))
    assert study.rows[-1].reported["1/2"][0].mean == 66


def test_imported_runs_have_rows_of_their_own(tmp_path: Path) -> None:
    study = load_study(study_file(tmp_path, imports=IMPORTED))
    assert (study.rows[-1].label, study.rows[-1].group) == ("Tool", "Imported")
    assert [(run.run, run.seed, run.value) for run in study.imported] == [
        ("t/0", 0, 60.1),
        ("t/1", 1, 60.9),
    ]


def test_another_size_shows_none_of_them(tmp_path: Path) -> None:
    path = study_file(tmp_path, publications=PUBLISHED, imports=IMPORTED)
    study = load_study(path, (), "small")
    assert not study.imported and "CutMix" not in [row.label for row in study.rows]


@pytest.mark.parametrize(
    ("key", "content", "part"),
    [
        ("publications", "row,column,mean\nA,1/5,1\n", r"csv:2: column = '1/5': no such column"),
        ("publications", "row,column,men\nA,1/4,1\n", "csv:1: column 'men': unknown; did you mean"),
        ("publications", "row,column,mean\nA,1/4,much\n", "csv:2: mean = 'much': expected a num"),
        ("publications", "row,column,mean\nA,1/4,nan\n", "csv:2: mean = 'nan': expected a finite"),
        ("publications", "row,column,mean\nA,1/4\n", "csv:2: 2 cells under 3 headings"),
        ("publications", "row,column\nA,1/4\n", "csv:2: mean: missing"),
        ("publications", "row,column,mean,std\nA,1/4,1,-1\n", "csv:2: std = '-1.0': expected zero"),
        ("publications", "numbers:\n - {row: A, column: 1/4, mean: x}\n", r"yaml:2: .*mean"),
        ("imports", IMPORTED.replace("Tool", "RML"), "csv:2: row = 'RML': the study has a row"),
        ("imports", IMPORTED.replace("Tool", "Other"), "csv:2: row = 'Other': the study has a row"),
        ("imports", IMPORTED.replace("1/4,1,", "1/4,0,"), "csv:3: seed 0 of row 'Tool'.* twice"),
        ("imports", IMPORTED.replace(",0,60", ",0.5,60"), "seed = '0.5': expected a whole number"),
        ("imports", IMPORTED.replace("p/student_1/last", ""), "csv:2: protocol: missing"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(
    key: str, content: str, part: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=part):
        load_study(study_file(tmp_path, **{key: content}))


FRACTIONS = "the table is in per cent .*no number of this file is more than 1"


@pytest.mark.parametrize(
    ("key", "content", "part"),
    [
        (
            "publications",
            "row,column,mean\nA,1/4,0.55\nA,1/2,0.761\n",
            rf"csv:3.*0\.761: {FRACTIONS}",
        ),
        ("publications", "numbers:\n - {row: A, column: 1/4, mean: 0.761}\n", FRACTIONS),
        ("imports", IMPORTED.replace(",60.", ",0.60"), rf"csv:3: value = 0\.609: {FRACTIONS}"),
        ("imports", IMPORTED.replace("60.9", "609"), "csv:3: value = 609: more than 100, which is"),
    ],
)
def test_numbers_in_another_unit_than_the_table_are_refused(
    key: str, content: str, part: str, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=part):
        load_study(study_file(tmp_path, **{key: content}))


def test_per_cent_beside_a_table_of_fractions_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(IMPORTED)
    text = f"{in_fractions()}imports: [t.csv]\n"
    with pytest.raises(ConfigError, match=r"value = 60\.9: more than 1, .* write 0\.609 if it is"):
        load_study(write_study(tmp_path, text))
    (tmp_path / "t.csv").write_text(IMPORTED.replace(",60.", ",0.60"))
    assert [run.value for run in load_study(write_study(tmp_path, text)).imported] == [0.601, 0.609]


def test_one_small_number_among_others_is_believed(tmp_path: Path) -> None:
    """A class that is hardly ever found has an IoU of half a per cent."""
    content = IMPORTED.replace("60.1", "0.5")
    study = load_study(study_file(tmp_path, imports=content))
    assert [run.value for run in study.imported] == [0.5, 60.9]


def in_fractions() -> str:
    """The small study with a table of fractions."""
    values = yaml.safe_load(STUDY)
    values["table"] = {**values.get("table", {}), "scale": 1}
    return yaml.safe_dump(values, sort_keys=False)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.csv: no such file"):
        load_study(write_study(tmp_path, f"{STUDY}imports: [none.csv]\n"))


def test_a_changed_file_of_numbers_is_another_study(tmp_path: Path) -> None:
    path = study_file(tmp_path, publications=PUBLISHED)
    before = read_document(path).source_hash
    (tmp_path / "publications.csv").write_text(PUBLISHED.replace("60.34", "60.35"))
    assert read_document(path).source_hash != before


def mixed(folder: Path, protocol: str, *, with_split: bool) -> Study:
    """The study of a person's own images with two runs of another tool, for its own splits."""
    without = RecordedStudy.make(folder / "plain")
    splits = {run.cells[0].seed: run.split_hash for run in without.plan.runs}
    head = "run,row,column,seed,value,protocol,split\n"
    lines = [
        f"t/{seed},Tool,miou,{seed},{value},{protocol},{splits[seed] if with_split else ''}\n"
        for seed, value in ((0, 53.0), (1, 66.0))
    ]
    (folder / "study").mkdir()
    (folder / "study" / "tool.csv").write_text(head + "".join(lines))
    text = f"{OWN_IMAGES}imports: [tool.csv]\n"
    there = RecordedStudy.make(folder / "study", text=text)
    return rd.study(there.study, out=there.out, tracking_uri="none")


def test_a_table_mixes_them_honestly_marked(tmp_path: Path) -> None:
    study = mixed(tmp_path, PROTOCOL, with_split=True)
    table = study.table().set_index("row")
    assert table.loc["Tool", "mean"] == pytest.approx(59.5)
    assert table.loc["RML", "mean"] == pytest.approx(57.5), "ours is averaged over ours alone"
    assert str(table.loc["Tool", "notes"]).startswith("Imported from tool.csv, not run here;")
    assert table.loc["RML", "notes"] == ""


def test_imported_runs_are_paired_by_seed_and_split(tmp_path: Path) -> None:
    study = mixed(tmp_path, PROTOCOL, with_split=True)
    (line,) = study.paired("Tool", "RML").to_dict("records")
    assert line["points"] == pytest.approx((1.0, 3.0))


@pytest.mark.parametrize(
    ("protocol", "with_split", "why"),
    [
        (PROTOCOL, False, "Imported runs of Tool state no split, so they are paired with none."),
        ("other/student_1/last", True, "scores of Tool under another protocol than that of RML"),
    ],
)
def test_what_cannot_be_paired_says_why(
    protocol: str, with_split: bool, why: str, tmp_path: Path
) -> None:
    comparison = mixed(tmp_path, protocol, with_split=with_split).compared("RML")
    assert set(comparison.differences["row"]) == {"Supervised"}
    assert any(why in note for note in comparison.notes)
