"""Reading YAML: plain values with their lines, and no surprises."""

from pathlib import Path

import pytest

from rml_platform.study.yaml_document import read_document, read_value
from rml_trainers.errors import ConfigError


def refused(tmp_path: Path, text: str) -> str:
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_document(path)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("-1E+3", -1000.0),
        (".5e1", 5.0),
        ("12_000", 12000),
        ('"1e-4"', "1e-4"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1/8", "1/8"),
        ("null", None),
        ("", None),
        ("[1, 2.5]", [1, 2.5]),
        ("{a: b}", {"a": "b"}),
    ],
)
def test_scalars(text: str, value: object) -> None:
    read = read_value(text, "here")
    assert read == value
    assert type(read) is type(value)


def test_places_are_lines(tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    path.write_text("a: 1\n\nb:\n  c: 2\n  d: [x,\n    y]\n")
    document = read_document(path)
    assert document.value == {"a": 1, "b": {"c": 2, "d": ["x", "y"]}}
    assert document.place(("b", "c")) == f"{path}:4"
    assert document.place(("b", "d", 1)) == f"{path}:6"
    assert document.place(("b", "unheard", "of")) == f"{path}:3"
    assert document.place(("z",)) == str(path)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["the file is empty"]),
        ("# only a comment\n", ["the file is empty"]),
        ("- 1\n", ["expected keys and values", "list"]),
        ("a: [1, 2\nb: 3\n", ["file.yaml:2", "not valid YAML"]),
        ("a: 1\n b: 2\n", ["file.yaml:2", "not valid YAML"]),
        ("a: 1\nb: {c: 1, c: 2}\n", ["file.yaml:2", "b.c", "key given twice", "first at"]),
        ("a: 1\nb: 1\na: 2\n", ["file.yaml:3: a", "given twice", "file.yaml:1"]),
        ("a: {1: x}\n", ["file.yaml:1", "'1' in a is not text", '"1"']),
        ("a: &x {b: 1}\nc: *x\n", ["file.yaml:2: c", "aliases"]),
        ("a: &x [*x]\n", ["aliases"]),
        ("a: .inf\n", ["a = .inf", "finite"]),
        ("a: 1e999\n", ["a = 1e999", "finite"]),
        ("a: !!python/object/apply:os.system [ls]\n", ["YAML tags", "python"]),
        ("a: \x01\n", ["not valid YAML"]),
    ],
)
def test_what_could_surprise_is_refused(tmp_path: Path, text: str, parts: list[str]) -> None:
    error = refused(tmp_path, text)
    for part in parts:
        assert part in error


def test_a_file_with_another_ending_is_found(tmp_path: Path) -> None:
    (tmp_path / "grid.yaml").touch()
    with pytest.raises(ConfigError, match=r"grid\.yml: no such file; did you mean 'grid\.yaml'\?"):
        read_document(tmp_path / "grid.yml")


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_document(tmp_path / "absent.yaml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_document(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="cannot be read as text"):
        read_document(tmp_path / "bytes.yaml")
