"""A storage that is away again and again while a grid trains: it costs time and nothing else."""

import itertools
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest

from rml_platform.chaos.checks.fingerprints import Fingerprint, fingerprint
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from tests.support.platform.object_store import CREDENTIALS, storage_uri
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.studies import SMALLEST, write_study
from tests.support.servers.tap import Tap, tapped

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.timeout(900)]

HEAD = """\
name: away
execution: direct
resources: {cpus_per_worker: 1}
"""
REST = """\
  schedule: {warm_up_steps: 30, stage_steps: [30]}
  runtime: {device: cpu, threads: 1, log_every_steps: 5, checkpoint_every_steps: 10}
rows:
  - {label: Mean teacher, set: {method: {name: mean_teacher}}}
  - {label: Pseudo labels, set: {method: {name: pseudo_label}}}
seeds: [0, 1]
"""
STUDY = HEAD + SMALLEST + REST
THERE_S = 4.0
AWAY_S = 5.0
FEWEST_CUTS = 2


def started(folder: Path, *more: str) -> subprocess.Popen[str]:
    rml = str(Path(sys.executable).with_name("rml"))
    arguments = [rml, "launch", "study.yaml", "--tracking-uri", "none", *more]
    return subprocess.Popen(
        arguments, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def fingerprints(storage: str) -> dict[str, Fingerprint | None]:
    ids = Folder.open(storage).child("runs").folders()
    return {run_id: fingerprint(RunFolder.of(storage, run_id)) for run_id in ids}


def cut_again_and_again(launch: subprocess.Popen[str], tap: Tap) -> int:
    """How often, until the launch ended."""
    for cuts in itertools.count(1):
        time.sleep(THERE_S)
        tap.cut()
        time.sleep(AWAY_S)
        tap.open()
        if launch.poll() is not None:
            return cuts
    raise AssertionError("a count has no end")


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Fingerprint | None]:
    """The same runs with a storage that stays."""
    folder = tmp_path_factory.mktemp("stays")
    write_study(folder, STUDY)
    launch = started(folder, "--out", "out", "--without-ray")
    said, _ = launch.communicate()
    assert launch.returncode == 0, said
    return fingerprints(str(folder / "out"))


@pytest.mark.parametrize("how", [("--without-ray",), ()], ids=["process", "ray"])
def test_every_run_is_trained_once_and_to_the_same_bits(
    how: tuple[str, ...],
    expected: Mapping[str, Fingerprint | None],
    s3_endpoint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    write_study(tmp_path, STUDY)
    host, _, port = s3_endpoint.partition(":")
    server = (host, int(port))
    bucket = f"bucket-{uuid.uuid4().hex[:8]}"
    own = storage_uri(*server, bucket)
    with tapped(server) as tap:
        uri = storage_uri(*tap.address, bucket)
        launch = started(tmp_path, "--out", "out", "--storage", uri, *how)
        while launch.poll() is None and not Folder.open(own).child("launches").files():
            time.sleep(0.2)
        cuts = cut_again_and_again(launch, tap)
        said, _ = launch.communicate()
    assert launch.returncode == 0, said
    assert "Traceback" not in said
    assert cuts >= FEWEST_CUTS
    assert fingerprints(own) == expected
    for run_id in expected:
        result = RunFolder.of(own, run_id).result()
        assert result is not None
        assert result.attempt == 1, said
