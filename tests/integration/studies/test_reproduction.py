"""Recorded runs trained again from their archive: the same bits, or what came out otherwise."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from rml_platform.cli import app
from rml_platform.run.codec import DamagedFileError
from rml_platform.run.files.record_archive import pack_records
from rml_platform.run.run_folder import RunFolder
from rml_platform.views import reproduction
from rml_trainers.errors import ConfigError
from tests.support.platform.one_run import run_id_of
from tests.support.rounding import how_it_rounds

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "search_spaces" / "results"
BITS = ROOT / "tests" / "numerics" / "methods" / "goldens" / "bits.json"
COMMITTED = [
    ("evidence_scenes", "scenes-20-supervised-s0-cf945459"),
    ("label_noise", "scenes-20-rml-s3-117bbec3"),
]
"""Runs of a minute."""


@pytest.fixture
def recorded(trained: tuple[Path, str], tmp_path: Path) -> tuple[RunFolder, Path]:
    """A copy of the finished run's folder, which a test may change, and where its archive goes."""
    folder, _ = trained
    run_id = run_id_of(folder)
    storage = tmp_path / "recorded"
    shutil.copytree(folder / "out" / "runs" / run_id, storage / "runs" / run_id)
    return RunFolder.of(str(storage), run_id), tmp_path / "records.zip"


def reproduced(run: RunFolder, archive: Path, *more: str) -> Result:
    """What the command says of the archive of the run as its folder is now."""
    storage = str(Path(run.folder.path).parent.parent)
    pack_records(storage, [run.run_id], [], archive)
    asked = more or (run.run_id,)
    out = archive.with_name("out")
    return CliRunner().invoke(
        app, ["records", "reproduce", str(archive), *asked, "--out", str(out)]
    )


def change(run: RunFolder, file: str, **values: Any) -> None:
    content = json.loads(run.folder.read(file) or b"{}")
    run.folder.write(file, json.dumps({**content, **values}).encode())


def test_a_run_comes_out_with_the_same_bits_and_the_other_runs_of_the_folder_are_not_touched(
    recorded: tuple[RunFolder, Path],
) -> None:
    run, archive = recorded
    done = reproduced(run, archive)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(f"{run.run_id}: all ")
    assert done.stdout.endswith("values and the scores are equal to the bit\n")
    out = archive.with_name("out")
    assert sorted(path.name for path in out.iterdir()) == ["cache", reproduction.FOLDER]
    again = reproduced(run, archive)
    assert again.stdout.startswith(done.stdout.removesuffix("\n"))
    assert "it had been trained here before: remove " in again.stdout


@pytest.mark.parametrize("cores", [1.0, 3.0])
def test_the_run_has_as_many_threads_as_it_had(
    recorded: tuple[RunFolder, Path], cores: float
) -> None:
    """Of a study's run, which had some of the cores; alone it would have all of this machine."""
    run, archive = recorded
    change(run, "task.json", cpus_per_worker=cores)
    reproduced(run, archive)
    here = RunFolder.of(str(archive.with_name("out") / reproduction.FOLDER), run.run_id).task()
    assert here is not None
    assert here.config.runtime.threads == cores


def test_a_batch_is_cut_as_it_was(recorded: tuple[RunFolder, Path]) -> None:
    """Of a run that did not fit into its device's memory whole."""
    run, archive = recorded
    change(run, "result.json", micro_batches=2)
    reproduced(run, archive)
    here = RunFolder.of(str(archive.with_name("out") / reproduction.FOLDER), run.run_id).result()
    assert here is not None
    assert here.micro_batches == 2


def test_the_first_value_that_differs_is_told(recorded: tuple[RunFolder, Path]) -> None:
    run, archive = recorded
    pieces = run.folder.child("metrics")
    name = sorted(pieces.files())[0]
    rows = json.loads(pieces.read(name) or b"[]")
    place = next(n for n, row in enumerate(rows) if row[0] == "train/loss")
    rows[place][3] += 2.0**-40
    pieces.write(name, json.dumps(rows).encode())
    done = reproduced(run, archive)
    assert done.exit_code == 1
    step = rows[place][1]
    assert f"first at step {step}: train/loss" in done.stdout
    assert "; 1 of " in done.stdout


def test_what_was_not_measured_yet_is_no_difference(recorded: tuple[RunFolder, Path]) -> None:
    run, archive = recorded
    pieces = run.folder.child("metrics")
    name = sorted(pieces.files())[-1]
    rows = json.loads(pieces.read(name) or b"[]")
    pieces.write(name, json.dumps([row for row in rows if row[0] != "val/accuracy"]).encode())
    done = reproduced(run, archive)
    assert done.exit_code == 0
    assert done.stdout.endswith("; 1 that are measured today were not recorded\n")


@pytest.mark.parametrize("key", ["train/seconds_per_step", "system/process_memory_usage_megabytes"])
def test_what_tells_of_the_moment_is_not_compared(
    key: str, recorded: tuple[RunFolder, Path]
) -> None:
    """Such as what a launch with `--system-metrics` recorded; training again measures it anew."""
    run, archive = recorded
    again = RunFolder.of(str(archive.with_name("again")), run.run_id)
    shutil.copytree(run.folder.path, again.folder.path)
    pieces = run.folder.child("metrics")
    name = sorted(pieces.files())[0]
    rows = json.loads(pieces.read(name) or b"[]")
    pieces.write(name, json.dumps([*rows, [key, rows[0][1], 0, 0.125]]).encode())
    assert reproduction.compare(run, again).is_same


def test_other_scores_are_told(recorded: tuple[RunFolder, Path]) -> None:
    run, archive = recorded
    content = json.loads(run.folder.read("result.json") or b"{}")
    content["evaluations"][0]["confusion"][0][0] += 1
    run.folder.write("result.json", json.dumps(content).encode())
    done = reproduced(run, archive)
    assert done.exit_code == 1
    assert "recorded by code" in done.stdout


def test_scores_of_held_out_images_are_compared_too(recorded: tuple[RunFolder, Path]) -> None:
    """They have the protocol of the validation images."""
    run, archive = recorded
    done = reproduced(run, archive)
    assert done.exit_code == 0
    here = RunFolder.of(str(archive.with_name("out") / reproduction.FOLDER), run.run_id)
    for folder, pixels in ((run, 1), (here, 2)):
        content = json.loads(folder.folder.read("result.json") or b"{}")
        (first, *_) = content["evaluations"]
        held_out = {**first, "subset": "holdout", "confusion": [[pixels]]}
        content["evaluations"] = [held_out, *content["evaluations"]]
        folder.folder.write("result.json", json.dumps(content).encode())
    assert not reproduction.compare(run, here).same_scores


def test_values_that_cannot_be_read_are_not_left_out(recorded: tuple[RunFolder, Path]) -> None:
    run, _ = recorded
    pieces = run.folder.child("metrics")
    pieces.write(sorted(pieces.files())[0], b"[[")
    with pytest.raises(DamagedFileError, match=run.run_id):
        reproduction.compare(run, run)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"result_version": 0}, "it has version 0 of the results"),
        ({"data_hash": "000000000000"}, "its images have the hash 000000000000"),
        ({"split_hash": "000000000000"}, "its split has the hash 000000000000"),
        ({"num_workers": 2}, "was trained by 2 workers"),
    ],
)
def test_what_cannot_be_made_again_is_refused_with_the_reason(
    recorded: tuple[RunFolder, Path], changed: dict[str, Any], why: str
) -> None:
    """Each under an id of its own, as such a run has it."""
    run, archive = recorded
    other = RunFolder.of(str(Path(run.folder.path).parent.parent), "scenes-4-iml-s0-00000000")
    shutil.copytree(run.folder.path, other.folder.path)
    change(other, "task.json", run_id=other.run_id, **changed)
    done = reproduced(other, archive)
    assert isinstance(done.exception, ConfigError)
    assert why in str(done.exception)
    assert not archive.with_name("out").joinpath(reproduction.FOLDER).exists()


def test_a_run_that_is_not_in_the_archive_is_told_with_the_nearest(
    recorded: tuple[RunFolder, Path],
) -> None:
    run, archive = recorded
    done = reproduced(run, archive, "scenes-4-iml-s1")
    assert isinstance(done.exception, ConfigError)
    assert run.run_id in str(done.exception)


def test_a_run_without_a_result_is_refused_before_it_is_trained(
    recorded: tuple[RunFolder, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is packed; an archive may have been made otherwise."""
    run, archive = recorded

    def unpack_without_result(packed: Path, out: Path, storage: str) -> None:
        shutil.copytree(run.folder.path, out / "runs" / run.run_id)
        RunFolder.of(storage, run.run_id).folder.delete("result.json")

    monkeypatch.setattr(reproduction, "unpack_records", unpack_without_result)
    done = reproduced(run, archive)
    assert isinstance(done.exception, ConfigError)
    assert "has no result" in str(done.exception)
    assert not archive.with_name("out").joinpath(reproduction.FOLDER).exists()


@pytest.mark.long
@pytest.mark.parametrize(("study", "run_id"), COMMITTED)
def test_committed_evidence_comes_out_with_the_same_bits(
    study: str, run_id: str, tmp_path: Path
) -> None:
    if how_it_rounds() not in json.loads(BITS.read_text()):
        pytest.skip(f"the evidence was not recorded on a machine that rounds as {how_it_rounds()}")
    archive = RESULTS / study / "records.zip"
    done = CliRunner().invoke(
        app, ["records", "reproduce", str(archive), run_id, "--out", str(tmp_path)]
    )
    assert done.exit_code == 0, done.output
