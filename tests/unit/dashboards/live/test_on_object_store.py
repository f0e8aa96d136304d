"""The live page of runs in an object store: the same as of their copy on this machine."""

import json
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pyarrow import fs

from rml_dashboards.contract.run_folder import RUNS
from rml_dashboards.live.web.serving import Shown, open_live
from tests.support.dashboards.live_grid import LiveGrid, heartbeat
from tests.support.dashboards.live_server import client_of, live_of
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri

RUN = "grid-0-0-2"


def copied(out: Path, uri: str) -> None:
    store, path = fs.FileSystem.from_uri(uri)
    fs.copy_files(
        str(out),
        path,
        source_filesystem=fs.LocalFileSystem(),
        destination_filesystem=store,
    )


def tell(uri: str, said: dict[str, Any]) -> None:
    """Write a heartbeat of the run at work; each has the same size."""
    store, path = fs.FileSystem.from_uri(uri)
    with store.open_output_stream(f"{path}/{RUNS}/{RUN}/heartbeat.json") as stream:
        stream.write(json.dumps(said).ljust(2000).encode())


ASKED: tuple[tuple[str, dict[str, str]], ...] = (
    ("studies", {}),
    ("runs", {"key": "grid"}),
    ("table", {"key": "grid"}),
    ("run", {"id": "grid-0-0-0"}),
    ("run", {"id": "grid-0-1-0"}),
    ("curves", {"id": "grid-0-0-0", "metric": "train/loss"}),
    ("picture", {"id": "grid-0-0-0", "name": "val_00000.png"}),
    ("picture", {"id": "grid-0-0-0", "name": "../task.json"}),
    ("run", {"id": ".."}),
)


def test_answers_are_those_of_the_copy_on_this_machine(tmp_path: Path, s3_uri: str) -> None:
    grid = LiveGrid.make(tmp_path / "out", num_seeds=2)
    grid.beside("grid-0-0-0")
    copied(grid.out, s3_uri)
    there = client_of(open_live(Shown(out=tmp_path / "empty", storage=s3_uri), every_s=60.0))
    here = client_of(live_of(grid.out, every_s=60.0))
    for path, parameters in ASKED:
        asked = f"/api/{path}?{urlencode(parameters)}"
        answers = [client.get(asked) for client in (there, here)]
        assert len({(answer.status_code, answer.content) for answer in answers}) == 1, asked


def test_a_change_is_seen_and_what_is_done_is_left_alone(tmp_path: Path, s3_uri: str) -> None:
    grid = LiveGrid.make(tmp_path / "out")
    copied(grid.out, s3_uri)
    live = open_live(Shown(out=tmp_path / "empty", storage=s3_uri))
    assert live.watch.snapshot.status("grid-0-0-0").state == "done"
    assert live.watch.look() is None
    tell(s3_uri, heartbeat(512))
    change = live.watch.look()
    assert change is not None and change.runs == (RUN,)
    assert live.watch.snapshot.status(RUN).step == 512


def test_a_change_within_the_second_of_the_store_s_clock_is_seen(
    tmp_path: Path, s3_uri: str
) -> None:
    grid = LiveGrid.make(tmp_path / "out")
    copied(grid.out, s3_uri)
    live = open_live(Shown(out=tmp_path / "empty", storage=s3_uri))
    time.sleep(1.0 - time.time() % 1.0)  # a listing counts in whole seconds: begin with one
    for step in (200, 201, 202):
        tell(s3_uri, heartbeat(step))
        live.watch.look()
        assert live.watch.snapshot.status(RUN).step == step
