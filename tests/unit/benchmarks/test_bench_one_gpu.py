"""What `make gpu-evidence` checks before it begins, how it stops, and what it keeps."""

from pathlib import Path

import pytest
import torch

from rml_benchmarks.gpu_evidence import RECORDS, STUDY
from rml_benchmarks.one_gpu import launchable, needs
from rml_benchmarks.one_gpu.failures import failures
from rml_benchmarks.one_gpu.records import put, runs_in
from rml_platform.run.run_folder import Failure, RunFolder
from tests.support.bench_case import archive_of


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


def test_a_launch_says_which_of_its_runs_failed_and_over_what(tmp_path: Path) -> None:
    def fail(run_id: str, kind: str, message: str, time: float) -> RunFolder:
        run = RunFolder.of(str(tmp_path), run_id)
        run.write_failure(
            Failure(kind=kind, message=message, traceback="", attempt=1, launch_id="one", time=time)
        )
        return run

    fail("a", "NonFiniteLossError", "loss is nan", 20.0)
    fail("b", "AcceleratorError", "CUDA error: unspecified launch failure", 30.0)
    fail("c", "NonFiniteLossError", "of an earlier launch", 5.0)
    assert list(failures(str(tmp_path), 10.0)) == ["non_finite a", "device b"]
    assert list(failures(str(tmp_path / "nothing"), 0.0)) == []
