"""Tables with their machine line: as text, as Markdown file, as JSON; and which code a figure
belongs to."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rml_benchmarks.measuring.machine import PACKAGE, code, this_machine
from rml_benchmarks.measuring.publishing import Publisher, Result
from rml_benchmarks.measuring.tables import Table, readable_bytes, readable_seconds
from rml_benchmarks.measuring.timing import compare

TABLE = Table(
    title="Sizes", columns=("what", "share"), rows=(("a", 0.12345), ("b", 3)), note="Note."
)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2.5, "2.5 s"), (0.01234, "12.3 ms"), (4.2e-5, "42 µs"), (1e-8, "0.01 µs")],
)
def test_readable_seconds(seconds: float, text: str) -> None:
    assert readable_seconds(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(1.5e9, "1.5 GB"), (123_456_789, "123 MB"), (2000, "2 kB"), (999, "999 B")]
)
def test_readable_bytes(count: float, text: str) -> None:
    assert readable_bytes(count) == text


def test_a_table_rounds_for_people_only() -> None:
    assert (
        TABLE.markdown()
        == "**Sizes**\n\n| what | share |\n| --- | --- |\n| a | 0.123 |\n| b | 3 |\n\nNote."
    )


def test_sections_are_written_as_they_are_finished(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    publisher = Publisher(
        "tiny: networks", json_file=tmp_path / "f.json", markdown_file=tmp_path / "f.md"
    )
    clock = iter(range(100))
    timed = compare(
        "Timed", {"a": lambda index: None}, num_rounds=1, clock=lambda: float(next(clock))
    )

    def broken() -> Iterator[Result]:
        yield timed
        raise RuntimeError("later")

    publisher.section("First", [TABLE, timed])
    with pytest.raises(RuntimeError, match="later"):
        publisher.section("Second", broken())
    assert capsys.readouterr().out.count("**Timed** (1 rounds)") == 2, (
        "a table is shown before the next is measured"
    )
    text = (tmp_path / "f.md").read_text()
    assert text.count("**Timed** (1 rounds)") == 2, "what came after it failed, and it stays"
    assert text.count("## Second") == 1 and text.endswith("\n\n")
    document = json.loads((tmp_path / "f.json").read_text())
    (section,) = document["sections"]
    assert (document["setting"], section["title"]) == ("tiny: networks", "First")
    assert section["tables"][0]["rows"] == [["a", 0.12345], ["b", 3]]
    assert section["tables"][1]["timings"][0]["median_s"] == 1.0
    assert set(section["machine"]) >= {"cpu", "cores", "threads", "device", "torch", "date", "code"}
    assert text.startswith(
        f"## First, {section['machine']['date']}\n\n{this_machine()}\n\ntiny: networks\n\n**Sizes**"
    )


def test_code_is_the_commit_of_its_own_checkout_only(tmp_path: Path) -> None:
    package = tmp_path / "trainers" / "rml_trainers"
    package.mkdir(parents=True)
    (package / "a.py").write_text("a = 1\n")
    outside = code(package)
    assert re.fullmatch(r"source [0-9a-f]{8}", outside)
    (package / "a.py").write_text("a = 2\n")
    assert code(package) != outside, "other code, other name"
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "a"]):
        subprocess.run([*git, *words], check=True)
    assert re.fullmatch(r"commit [0-9a-f]{7,}", code(package))
    (package / "a.py").write_text("a = 3\n")
    assert code(package).endswith(" + changes")
    installed = tmp_path / ".venv" / "lib" / "rml_trainers"
    installed.mkdir(parents=True)
    (installed / "a.py").write_text("a = 1\n")
    assert code(installed).startswith("source ")


def test_this_code_has_a_name() -> None:
    assert code(PACKAGE)


def test_the_example_of_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    readme = Path(__file__).parents[2] / "benchmarks" / "README.md"
    (example,) = re.findall(
        r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), flags=re.DOTALL
    )
    exec(compile(example, str(readme), "exec"), {})
    assert "**ascending numbers** (5 rounds)" in capsys.readouterr().out
