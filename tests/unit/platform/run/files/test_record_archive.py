"""Records of runs in one zip file, and back."""

import contextlib
import json
import shutil
import struct
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rml_platform.run.codec import DamagedFileError
from rml_platform.run.files import record_archive
from rml_platform.run.files.record_archive import (
    Packed,
    opened_records,
    pack_records,
    unpack_records,
)
from rml_platform.run.run_folder import RESULT, Result, RunFolder
from rml_trainers.errors import ConfigError
from rml_trainers.scoring.score import Evaluation

DONE = "scenes-4-iml-s0-00000001"
OTHER = "scenes-4-iml-s1-00000002"
BEGUN = "scenes-4-rml-s0-00000003"
PICTURES = ["predictions/city a/deep/one.png", "predictions/scene.png"]
PLAN = ("studies/own/plan.json", b'{"format": 1}')


def result(miou: float) -> Result:
    scored = Evaluation(
        protocol="scenes-32x48/teacher_1/last",
        network="teacher_1",
        scores={"miou": miou, "accuracy": 0.9},
        confusion=np.zeros((2, 2), np.int64),
    )
    return Result(
        evaluations=(scored,),
        steps=4,
        seconds=2.0,
        device="cpu",
        host="here",
        num_workers=1,
        attempt=1,
        code_version="abc1234",
        dirty=False,
        time=0.0,
    )


def fill(storage: Path, run_id: str, miou: float | None) -> None:
    """A run's folder; None: begun and not done."""
    run = RunFolder.of(str(storage), run_id)
    run.folder.write("task.json", b"{}" if miou is not None else b'{"launch_id": "own"}')
    run.folder.write("heartbeat.json", b"{}")
    run.folder.write("metrics/000000002.json", b'[["train/loss", 2, 0, 0.5]]')
    for name in PICTURES:
        run.folder.write(name, b"picture")
    run.folder.write("checkpoints/me/checkpoint_000000002_001/students.safetensors", b"network")
    if miou is not None:
        run.write_result(result(miou))


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    place = tmp_path / "there"
    fill(place, DONE, 0.5)
    fill(place, OTHER, 0.25)
    fill(place, BEGUN, None)
    return place


@contextlib.contextmanager
def flat(archive: Path) -> Iterator[zipfile.ZipFile]:
    """The archive as older ones are, each record compressed alone; open for more."""
    with opened_records(archive) as packed:
        records = {name: packed.read(name) for name in packed.namelist()}
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as older:
        for name, content in records.items():
            older.writestr(name, content)
        yield older


def pack(storage: Path, to: Path, *pictures_of: list[str]) -> Packed:
    runs = [OTHER, DONE, BEGUN]
    return pack_records(str(storage), runs, [PLAN], to, pictures_of=pictures_of)


def test_finished_runs_go_there_and_back_without_networks(storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    assert pack(storage, archive) == Packed(runs=(DONE, OTHER), left=(BEGUN,))
    with opened_records(archive) as packed:
        names = packed.namelist()
    assert not [name for name in names if "checkpoint" in name or "claims" in name]
    assert not [name for name in names if name.endswith(".png")]

    here = tmp_path / "here"
    assert unpack_records(archive, here, str(here)) == Packed(runs=(DONE, OTHER), left=())
    for run_id in (DONE, OTHER):
        there = RunFolder.of(str(storage), run_id)
        assert RunFolder.of(str(here), run_id).record().state == "done"
        for name in ("result.json", "task.json", "metrics/000000002.json"):
            assert RunFolder.of(str(here), run_id).folder.read(name) == there.folder.read(name)
    assert (here / PLAN[0]).read_bytes() == PLAN[1]


def test_an_older_archive_and_one_that_swells_as_a_whole(
    storage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    monkeypatch.setattr(record_archive, "MAX_INNER_BYTES", 100)
    here = tmp_path / "here"
    with pytest.raises(ConfigError, match="and at most 100 are unpacked"):
        unpack_records(archive, here, str(here))
    assert not here.exists()
    monkeypatch.undo()
    with flat(archive):
        pass
    assert unpack_records(archive, here, str(here)) == Packed(runs=(DONE, OTHER), left=())


def test_paths_of_the_machine_stay_there(storage: Path, tmp_path: Path) -> None:
    task = {"storage": str(storage), "prepared_folder": "/a/b", "data_root": "/c", "study": "own"}
    (storage / "runs" / DONE / "task.json").write_text(json.dumps(task))
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    with opened_records(archive) as inner:
        packed = json.loads(inner.read(f"runs/{DONE}/task.json"))
    assert packed == {"storage": "", "prepared_folder": "", "data_root": None, "study": "own"}
    here = tmp_path / "here"
    unpack_records(archive, here, str(here))
    found = json.loads((here / "runs" / DONE / "task.json").read_text())
    assert found == {**packed, "storage": str(here)}


def test_the_same_records_give_the_same_bytes(storage: Path, tmp_path: Path) -> None:
    one = tmp_path / "one.zip"
    two = tmp_path / "two.zip"
    pack(storage, one, [BEGUN, DONE, OTHER])
    here = tmp_path / "here"
    unpack_records(one, here, str(here))
    pack_records(str(here), [DONE, OTHER], [PLAN], two, pictures_of=[[DONE]])
    assert one.read_bytes() == two.read_bytes()
    (length_of_extra,) = struct.unpack_from("<H", one.read_bytes(), 28)
    assert length_of_extra == 0, "headers for large files differ between Pythons"


def test_archives_that_were_deflated_are_read(storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive, [BEGUN, DONE, OTHER])
    with zipfile.ZipFile(archive) as outer:
        inner = outer.read(record_archive.INNER)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as older:
        older.writestr(record_archive.INNER, inner)
    done = unpack_records(archive, tmp_path / "here", str(tmp_path / "here"))
    assert done.runs == (DONE, OTHER)


@pytest.mark.parametrize("place", [0.3, 0.6, 0.9])
def test_damage_inside_is_told_in_one_sentence(storage: Path, tmp_path: Path, place: float) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive, [DONE, OTHER])
    content = bytearray(archive.read_bytes())
    start = int(len(content) * place)
    content[start : start + 8] = bytes(byte ^ 0xFF for byte in content[start : start + 8])
    archive.write_bytes(content)
    with pytest.raises(ConfigError, match=r"records\.zip: .*(readable|no record)"):
        unpack_records(archive, tmp_path / "here", str(tmp_path / "here"))
    assert not (tmp_path / "here" / "runs").exists(), "nothing was written"


def test_the_first_finished_run_of_a_group_keeps_its_pictures(
    storage: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive, [BEGUN, DONE, OTHER])
    with opened_records(archive) as packed:
        names = packed.namelist()
    assert [n for n in names if n.endswith(".png")] == [f"runs/{DONE}/{n}" for n in PICTURES]
    here = tmp_path / "here"
    unpack_records(archive, here, str(here))
    for name in PICTURES:
        assert (here / "runs" / DONE / name).read_bytes() == b"picture"


def test_what_is_here_stays(storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    here = tmp_path / "here"
    fill(here, DONE, None)
    own = (here / "runs" / DONE / "heartbeat.json").read_bytes()
    assert unpack_records(archive, here, str(here)) == Packed(runs=(OTHER,), left=(DONE,))
    assert unpack_records(archive, here, str(here)) == Packed(runs=(), left=(DONE, OTHER))
    assert (here / "runs" / DONE / "heartbeat.json").read_bytes() == own
    assert not (here / "runs" / DONE / "result.json").exists()


def test_other_scores_of_the_same_run_are_never_mixed_in(storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    here = tmp_path / "here"
    fill(here, OTHER, 0.75)
    with pytest.raises(ConfigError, match=rf"{OTHER} is done in .* with other scores"):
        unpack_records(archive, here, str(here))
    assert not (here / "runs" / DONE).exists(), "nothing was written"


def test_nothing_to_pack_is_an_error(tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    with pytest.raises(ConfigError, match="none of the 3 runs is done"):
        pack(tmp_path, archive)
    assert not archive.exists()


def test_a_damaged_result_is_named_and_no_archive_written(storage: Path, tmp_path: Path) -> None:
    (storage / "runs" / DONE / "result.json").write_text("{")
    archive = tmp_path / "records.zip"
    archive.write_bytes(b"earlier")
    with pytest.raises(DamagedFileError, match=DONE):
        pack(storage, archive)
    assert archive.read_bytes() == b"earlier" and not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    "name",
    [
        "../outside.txt",
        "/etc/outside",
        f"runs/{DONE}/../../outside",
        f"runs/{DONE}/metrics/..",
        f"runs/{DONE}/metrics/a\\b",
        f"runs/{DONE}/metrics/deep/000000004.json",
        f"runs/{DONE}/predictions/city/../../../outside.png",
        f"runs/{DONE}/predictions/city//one.png",
        f"runs/{DONE}/predictions/./one.png",
        f"runs/{DONE}/predictions/a\\b/one.png",
        f"runs/{DONE}/predictions",
        f"runs/{DONE}/checkpoints/x.pt",
        f"runs/{DONE}/published.json",
        "runs/../result.json",
        "studies/../plan.json",
        "studies/own/table.md",
        "anything",
    ],
)
def test_names_that_are_no_records_are_refused(name: str, storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    with flat(archive) as packed:
        packed.writestr(name, b"x")
    here = tmp_path / "here"
    with pytest.raises(ConfigError, match="is no record of a run or study"):
        unpack_records(archive, here, str(here))
    assert not here.exists()


def test_an_incomplete_or_foreign_file_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    here = str(tmp_path / "here")
    with pytest.raises(ConfigError, match=r"records\.zip: not a readable archive"):
        unpack_records(archive, tmp_path / "here", here)
    archive.write_bytes(b"no zip")
    with pytest.raises(ConfigError, match=r"records\.zip: not a readable archive"):
        unpack_records(archive, tmp_path / "here", here)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(f"runs/{DONE}/result.json", RESULT.encode(result(0.5)))
    with pytest.raises(ConfigError, match=rf"task\.json of run {DONE} is missing"):
        unpack_records(archive, tmp_path / "here", here)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr(f"runs/{DONE}/task.json", b"{}")
        packed.writestr(f"runs/{DONE}/result.json", b"[]")
    with pytest.raises(ConfigError, match=rf"result of run {DONE} cannot be read"):
        unpack_records(archive, tmp_path / "here", here)


@pytest.mark.parametrize("is_older", [False, True], ids=["one inner file", "older"])
def test_a_wrong_byte_anywhere_is_told_or_does_no_harm(
    is_older: bool, storage: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "records.zip"
    pack_records(str(storage), [DONE], [PLAN], archive)
    if is_older:
        with flat(archive):
            pass
    sound = archive.read_bytes()
    here = tmp_path / "here"
    unpack_records(archive, here, str(here))
    wanted = contents(here)
    num_told = 0
    for place in range(0, len(sound), 3):
        shutil.rmtree(here, ignore_errors=True)
        damaged = bytearray(sound)
        damaged[place] ^= 0x55
        archive.write_bytes(damaged)
        try:
            unpack_records(archive, here, str(here))
        except ConfigError as error:
            num_told += 1
            assert str(archive) in str(error)
            assert contents(here) == {}, f"byte {place}: something was written"
        else:
            assert contents(here) == wanted, f"byte {place}"
    assert num_told > len(sound) / 6, "times and versions of entries are of no account, no more"


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_file_that_swells_is_refused(storage: Path, tmp_path: Path) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    with (
        flat(archive) as packed,
        packed.open(f"runs/{DONE}/metrics/000000004.json", "w") as stream,
    ):
        for _ in range(65):
            stream.write(bytes(2**20))
    with pytest.raises(ConfigError, match="records have at most"):
        unpack_records(archive, tmp_path / "here", str(tmp_path / "here"))


@pytest.mark.parametrize("how", ["begun here", "not here", "of another study", "older format"])
def test_an_archive_is_not_replaced_by_one_that_lacks_a_run(
    how: str, storage: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "records.zip"
    pack(storage, archive)
    if how == "older format":
        with flat(archive):
            pass
    before = archive.read_bytes()
    runs = [DONE] if how == "of another study" else [DONE, OTHER]
    here = tmp_path / "here"
    fill(here, DONE, 0.5)
    if how != "not here":
        fill(here, OTHER, 0.25 if how == "of another study" else None)
    with pytest.raises(ConfigError, match=rf"not replaced by .*without them: {OTHER}\. .*--out"):
        pack_records(str(here), runs, [PLAN], archive)
    assert archive.read_bytes() == before
    assert [file.name for file in tmp_path.glob("*.zip*")] == [archive.name]


@pytest.mark.parametrize("how", ["a text", "another zip file", "cut off"])
def test_what_is_no_archive_of_records_is_not_replaced(
    how: str, storage: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.zip"
    if how == "another zip file":
        with zipfile.ZipFile(file, "w") as mine:
            mine.writestr("letters/one.txt", "dear")
    elif how == "cut off":
        pack(storage, file)
        file.write_bytes(file.read_bytes()[:-30])
    else:
        file.write_text("dear")
    before = file.read_bytes()
    with pytest.raises(ConfigError, match=r"mine\.zip: .* is not replaced.* to another file"):
        pack(storage, file)
    assert file.read_bytes() == before


def test_many_runs_that_would_be_lost_are_counted(storage: Path, tmp_path: Path) -> None:
    runs = [f"scenes-4-iml-s{seed}-0000000{seed}" for seed in range(10)]
    archive = tmp_path / "records.zip"
    for run_id in runs:
        fill(storage, run_id, 0.5)
    pack_records(str(storage), runs, [PLAN], archive)
    with pytest.raises(ConfigError, match=rf"{runs[7]} and 2 more\. "):
        pack(storage, archive)


def test_an_archive_is_replaced_by_one_that_has_its_runs_and_more(
    storage: Path, tmp_path: Path
) -> None:
    archive = tmp_path / "records.zip"
    pack_records(str(storage), [DONE], [PLAN], archive)
    assert pack(storage, archive).runs == (DONE, OTHER)
    once = archive.read_bytes()
    pack(storage, archive)
    assert archive.read_bytes() == once
