"""What `make gpu-evidence` checks before it begins, how it stops, and what it keeps."""

import zipfile
from pathlib import Path

import pytest
import torch

from rml_benchmarks import gpu_evidence as command
from rml_benchmarks.gpu_evidence import RECORDS, STUDY, main
from rml_benchmarks.one_gpu import launchable, needs
from rml_benchmarks.one_gpu.records import INNER, put, runs_in


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        ("pass", None),
        ("raise RuntimeError('no driver')", "RuntimeError: no driver"),
        ("print('a sentence'); raise SystemExit(2)", "a sentence"),
        ("raise SystemExit(3)", "exit code 3"),
        ("import time; time.sleep(60)", "no answer within 1 s"),
    ],
)
def test_a_process_that_cannot_compute_says_why(
    code: str, fault: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "ON_THE_GPU", code)
    monkeypatch.setattr(needs, "SECONDS_FOR_A_CHECK", 1.0 if "sleep" in code else 60.0)
    assert needs.gpu_fault() == fault


def test_what_is_computed_to_find_out_can_be_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    waited = list[bool]()
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append(True))
    exec(needs.ON_THE_GPU.replace('"cuda"', '"cpu"'), {})
    assert waited == [True]


def test_a_launch_without_its_images_says_what_it_wants(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(STUDY), "medium", str(tmp_path / "out")]
    assert launchable.main([*words, str(tmp_path / "data")]) == 2
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path / 'data' / 'camvid' / 'train'}: no such folder")
    assert launchable.main(words) == 2
    assert "give --data-root DIR or set RML_DATA" in capsys.readouterr().out
    assert not (tmp_path / "out").exists()


def test_a_study_that_can_be_launched_is_found_so(tmp_path: Path) -> None:
    assert launchable.main([str(STUDY), "dry", str(tmp_path / "out")]) == 0


def archive_of(file: Path, *runs: str, is_nested: bool = True) -> Path:
    """An archive with records of these runs; older ones are not nested."""
    inner = file.with_name("inner.zip") if is_nested else file
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("studies/evidence/plan.json", "{}")
        for run in runs:
            zipped.writestr(f"runs/{run}/result.json", run)
    if is_nested:
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.write(inner, INNER)
        inner.unlink()
    return file


@pytest.mark.parametrize("is_nested", [True, False])
@pytest.mark.parametrize(
    ("before", "names"),
    [
        ({}, ["records.zip"]),
        ({"records.zip": "a"}, ["records.zip"]),
        ({"records.zip": "c"}, ["records.zip", "records-2.zip"]),
        ({"records.zip": "abc", "records-2.zip": "ab"}, ["records.zip", "records-2.zip"]),
        ({"records.zip": "c", "records-2.zip": "c"}, ["records.zip", "records-2.zip"]),
        ({"records.zip": ""}, ["records.zip", "records-2.zip"]),
    ],
)
def test_an_archive_never_replaces_one_that_has_other_runs(
    before: dict[str, str], names: list[str], is_nested: bool, tmp_path: Path
) -> None:
    to = tmp_path / "to"
    to.mkdir()
    for name, runs in before.items():
        archive_of(to / name, *runs, is_nested=is_nested) if runs else (to / name).write_text("?")
    content = {file.name: file.read_bytes() for file in to.iterdir()}
    fresh = archive_of(tmp_path / "fresh.zip", "a", "b", is_nested=is_nested)
    place = put(fresh, to / RECORDS)
    assert runs_in(place) == {"a", "b"} and place.read_bytes() == fresh.read_bytes()
    kept = {file.name: file.read_bytes() for file in to.iterdir() if file != place}
    assert kept == {name: content[name] for name in content if name != place.name}
    assert {*names} <= {*kept, place.name} and not list(to.glob(".*"))


class Calls:
    """Stands in for what the command starts."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, unpacking: int = 0) -> None:
        self.words = list[tuple[str, ...]]()
        self._unpacking = unpacking
        monkeypatch.setattr(command, "lacking", lambda *_, **__: [])
        monkeypatch.setattr(command, "gpu_fault", lambda: None)
        monkeypatch.setattr(command, "launch_fault", lambda *_: None)
        monkeypatch.setattr(command.Evidence, "_rml", self.rml)

    def rml(self, *words: str, **how: object) -> int:
        self.words.append(words)
        if words[:2] == ("records", "pack"):
            file = Path(words[words.index("--to") + 1])
            file.parent.mkdir(parents=True, exist_ok=True)
            archive_of(file, "a", "b")
        return self._unpacking if words[:2] == ("records", "unpack") else 0

    @property
    def names(self) -> list[str]:
        return [word if word != "records" else more for word, more, *_ in self.words]


@pytest.mark.parametrize("where", ["given", "own"])
def test_without_the_records_that_it_should_go_on_with_nothing_is_begun(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls(monkeypatch, unpacking=2)
    to = tmp_path / "to"
    words = ["--records", "gone.zip"] if where == "given" else []
    if where == "own":
        to.mkdir()
        (to / RECORDS).write_text("damaged")
    assert main(["--only", "training", "--to", str(to), *words]) == 1
    assert calls.names == ["unpack"], "nothing is trained"
    assert "nothing was begun" in capsys.readouterr().err
    if where == "own":
        assert (to / RECORDS).read_text() == "damaged"


def test_what_is_named_is_found_from_where_the_caller_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RML_DATA", "data")
    words = ["--to", "to", "--work", "work", "--records", "old.zip", "--minutes", "0"]
    assert main(["--only", "training", *words]) == 1
    unpacking = calls.words[0]
    assert unpacking[2] == str(tmp_path / "old.zip")
    assert unpacking[-1] == str(tmp_path / "work" / "outputs")
    packing = calls.words[calls.names.index("pack")]
    assert packing[packing.index("--data-root") + 1] == str(tmp_path / "data")
    assert runs_in(tmp_path / "to" / RECORDS) == {"a", "b"}


def test_records_that_are_there_are_gone_on_with_and_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls(monkeypatch)
    before = archive_of(tmp_path / RECORDS, "c").read_bytes()
    assert main(["--only", "training", "--minutes", "0", "--to", str(tmp_path)]) == 1
    assert calls.words[0][:3] == ("records", "unpack", str(tmp_path / RECORDS))
    assert (tmp_path / RECORDS).read_bytes() == before
    own = tmp_path / "records-2.zip"
    assert runs_in(own) == {"a", "b"} and f"records are in {own}" in capsys.readouterr().out


def test_step_times_take_no_records(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "steps", "--records", "old.zip", "--to", str(tmp_path / "to")])
    assert not (tmp_path / "to").exists()
