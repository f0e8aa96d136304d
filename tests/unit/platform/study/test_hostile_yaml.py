"""Study files from strangers: nothing is executed, nothing blows up, each gets one sentence."""

from pathlib import Path

import pytest

from rml_platform.study.yaml_document import read_document, read_value
from rml_trainers.errors import ConfigError

BOMB = "a: &a [x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (BOMB, "aliases"),
        ("a: &a [*a]", "aliases"),
        ("a: !!python/object/apply:os.mkdir ['{folder}/made']", "YAML tags"),
        ("a: !!python/name:os.system", "YAML tags"),
        ("a: !!python/object/new:os.system ['touch {folder}/made']", "YAML tags"),
        ("a: !!binary aGk=", "YAML tags"),
        ("a: !!set {x}", "YAML tags"),
        ("a: !own {x: 1}", "YAML tags"),
        ("a: !!float abc", "YAML tags"),
        ("a: !!float 1:2", "YAML tags"),
        ("a: !!int abc", "YAML tags"),
        ("a: !!int 08", "YAML tags"),
        ("a: !!int ''", "YAML tags"),
        ("a: !!int 0x_", "YAML tags"),
        ("a: !!bool xyz", "YAML tags"),
        ("a: !!null x", "YAML tags"),
        ("a: !!str 1", "YAML tags"),
        ("a: !!str [1]", "YAML tags"),
        ("a: !!map x", "YAML tags"),
        ("a: !!seq {x: 1}", "YAML tags"),
        ("a: !!timestamp 2001-99-99", "YAML tags"),
        ("a: !!timestamp x", "YAML tags"),
        ("a: !!omap [x]", "YAML tags"),
        ("a: !!pairs [x]", "YAML tags"),
        ("a: !!merge x", "YAML tags"),
        ("a: !!value x", "YAML tags"),
        ("a: ! 1", "YAML tags"),
        ("!!int a: 1", "YAML tags"),
        ("!!map {a: 1}", "YAML tags"),
        ("a: [1, {b: !!float x}]", "a.1.b: YAML tags"),
        ("a: <<", "YAML tags"),
        ("a: =", "YAML tags"),
        ("a: " + "9" * 5000, "5000 digits"),
        ("a: -" + "9" * 41, "42 digits"),
        ("a: 1e999999999", "finite"),
        ("a: " + "[" * 1500, "nested"),
        ("a: " + "[" * 900 + "]" * 900, "nested"),
        ("a: " + "{b: " * 1500, "nested"),
        ("a: {<<: {b: 1}}", "not text"),
        ("a: x\0y", "not valid YAML"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
    ],
)
def test_hostile_yaml_is_refused_in_one_sentence(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "study.yaml"
    file.write_text(text.replace("{folder}", str(tmp_path)))
    with pytest.raises(ConfigError, match=said) as caught:
        read_document(file)
    assert str(caught.value).startswith(str(file))
    assert len(str(caught.value)) < 500
    assert [path.name for path in tmp_path.iterdir()] == ["study.yaml"]


@pytest.mark.parametrize(
    "text",
    [
        "!!python/name:os.system",
        "!!int abc",
        "!!bool xyz",
        "!!float 1:2",
        "9" * 5000,
        "[" * 1500,
    ],
)
def test_so_is_what_comes_from_the_command_line(text: str) -> None:
    with pytest.raises(ConfigError, match=r"--set"):
        read_value(text, "--set seeds")
