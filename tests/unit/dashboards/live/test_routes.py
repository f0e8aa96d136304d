"""The routes: what they send, what they do not find, and names that mean harm."""

import json
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from starlette.testclient import TestClient

from tests.support.dashboards.live_grid import LiveGrid, failure, picture
from tests.support.dashboards.live_server import client_of, live_of
from tests.support.platform.hostile_names import HOSTILE_NAMES

SCRIPT = "<script>alert(1)</script>"
ESCAPES = (
    "..",
    ".",
    "../grid",
    "../../studies/grid/plan.json",
    "grid-0-0-0/../grid-0-0-1",
    "/etc/passwd",
    "%2e%2e",
    "grid-0-0-0\x00",
    "grid-0-0-0/",
    "",
)


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    grid = LiveGrid.make(tmp_path)
    grid.beside("grid-0-0-0")
    return grid


@pytest.fixture
def client(grid: LiveGrid) -> TestClient:
    return client_of(live_of(grid.out))


def asked(path: str, **parameters: object) -> str:
    return f"/api/{path}?{urlencode(parameters)}"


@pytest.mark.parametrize(
    ("path", "keys"),
    [
        ("studies", {"studies", "problems", "version"}),
        ("study?key=grid", {"title", "rows", "columns", "tags", "settings", "progress"}),
        ("matrix?key=grid", {"rows", "columns", "total"}),
        ("runs?key=grid", {"runs", "total"}),
        ("table?key=grid", {"header", "lines", "legend", "notes"}),
        ("rows?key=grid&column=1/8", {"rows", "total", "domain", "choices"}),
        ("rows/differences?key=grid&column=1/8&against=RML", {"lines", "notes"}),
        ("rows/curves?key=grid&column=1/8&metric=val/miou&row=RML", {"curves", "metrics"}),
        ("rows/pictures?key=grid&column=1/8", {"rows", "names", "seeds"}),
        ("run?id=grid-0-0-0", {"state", "settings", "scores", "log", "pictures"}),
        ("curves?id=grid-0-0-0&metric=train/loss&metric=val/miou", {"curves", "metrics"}),
        ("compare?a=grid-0-0-0&b=grid-0-0-1", {"differing", "iou", "pictures"}),
        ("find?text=grid", {"runs"}),
    ],
)
def test_every_route_sends_json_that_a_browser_reads(
    path: str, keys: set[str], client: TestClient
) -> None:
    answer = client.get(f"/api/{path}")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert keys <= answer.json().keys()
    assert "NaN" not in answer.text


def test_a_picture_is_sent_as_it_lies_there(client: TestClient) -> None:
    answer = client.get(asked("picture", id="grid-0-0-0", name="val_00000.png"))
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == picture(0)


@pytest.mark.parametrize("path", ["/", "/study", "/rows", "/run", "/compare"])
def test_pages_are_one_file_without_data(path: str, client: TestClient) -> None:
    answer = client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "grid" not in answer.text
    assert " on" not in answer.text.replace(" only", ""), "no handlers within the markup"
    assert "<style" not in answer.text and "style=" not in answer.text


def test_every_file_that_the_page_names_is_served_and_is_in_the_package(
    client: TestClient,
) -> None:
    page = client.get("/").text
    names = {part.partition('"')[0] for part in page.split('"/static/')[1:]}
    modules = {name for name in client.app.state.files if name.endswith(".js")}  # type: ignore[attr-defined]
    for name in modules:
        code = client.get(f"/static/{name}").text
        names |= {part.partition('"')[0] for part in code.split('from "./')[1:]}
        assert "innerHTML" not in code and "insertAdjacentHTML" not in code
    assert names >= modules
    for name in names:
        assert client.get(f"/static/{name}").status_code == 200, name


@pytest.mark.parametrize("name", ESCAPES)
def test_names_lead_nowhere_but_to_what_is_listed(name: str, client: TestClient) -> None:
    for path in (
        asked("run", id=name),
        asked("curves", id=name, metric="train/loss"),
        asked("picture", id=name, name="val_00000.png"),
        asked("picture", id="grid-0-0-0", name=name),
        asked("picture", id="grid-0-0-0", name=f"../{name}"),
        asked("study", key=name),
        asked("compare", a="grid-0-0-0", b=name),
    ):
        assert client.get(path).status_code == 404, path
    for path in (f"/static/{quote(name)}", f"/static/../{quote(name)}", "/static/%2e%2e/app.py"):
        answer = client.get(path)
        assert answer.status_code == 404 or answer.text.startswith("<!doctype html>")


def test_pictures_of_images_in_folders_are_sent(grid: LiveGrid, client: TestClient) -> None:
    grid.write("grid-0-0-0", "predictions/city 0/a.png", picture(3))
    grid.write("grid-0-0-0", "predictions/.half/b.png", picture(3))
    (grid.out / "away.png").write_bytes(picture(4))
    (grid.out / "runs" / "grid-0-0-0" / "predictions" / "link.png").symlink_to(
        grid.out / "away.png"
    )
    told = client.get(asked("run", id="grid-0-0-0")).json()["pictures"]
    assert "city 0/a.png" in told and not {".half/b.png", "link.png"} & set(told)
    answer = client.get(asked("picture", id="grid-0-0-0", name="city 0/a.png"))
    assert answer.content == picture(3)


def test_what_is_no_picture_is_not_sent(grid: LiveGrid, client: TestClient) -> None:
    grid.write("grid-0-0-0", "predictions/page.png", f"<html>{SCRIPT}".encode())
    grid.write("grid-0-0-0", "predictions/page.html", f"<html>{SCRIPT}".encode())
    assert "page.png" in client.get(asked("run", id="grid-0-0-0")).json()["pictures"]
    for name in ("page.png", "page.html", "../task.json"):
        assert client.get(asked("picture", id="grid-0-0-0", name=name)).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        asked("runs", key="grid", limit=201),
        asked("runs", key="grid", limit=0),
        asked("runs", key="grid", offset=-1),
        asked("runs", key="grid", text="x" * 1001),
        asked("curves", id="grid-0-0-0", metric="m", points=10_000),
        asked("curves", id="grid-0-0-0"),
        "/api/runs",
    ],
)
def test_what_is_asked_for_has_limits(path: str, client: TestClient) -> None:
    assert client.get(path).status_code == 422


def test_hostile_names_come_as_they_are_and_are_found_by_them(tmp_path: Path) -> None:
    names = (*HOSTILE_NAMES, SCRIPT, "${x}", "constructor", "__proto__")
    grid = LiveGrid.make(tmp_path, rows=names, columns=(SCRIPT,), num_seeds=1)
    grid.write("grid-0-0-0", "failure.json", failure(SCRIPT, SCRIPT))
    (grid.folder("grid-0-0-0") / "result.json").unlink()
    client = client_of(live_of(grid.out))
    assert client.get(asked("study", key="grid")).json()["rows"] == list(names)
    for number, name in enumerate(names):
        (found,) = client.get(asked("runs", key="grid", row=name, column=SCRIPT)).json()["runs"]
        assert found["run_id"] == f"grid-{number}-0-0"
        assert found["cells"] == [[name, SCRIPT, 0]]
    answer = client.get(asked("run", id="grid-0-0-0"))
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["reason"] == f"{SCRIPT}: {SCRIPT}"


def test_a_plan_cannot_name_a_file_outside(tmp_path: Path) -> None:
    """Run ids come from a file, which may hold anything."""
    grid = LiveGrid.make(tmp_path / "out", num_seeds=1)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "task.json").write_text('{"config_json": "{\\"secret\\": 1}"}')
    plan = json.loads((grid.out / "studies" / "grid" / "plan.json").read_text())
    evil = ("../../outside", "..", "/etc", ".hidden", "a/b")
    for run, run_id in zip(plan["runs"], evil, strict=False):
        run["run_id"] = run_id
    grid.write_plan(runs=plan["runs"])
    client = client_of(live_of(grid.out))
    for run_id in evil:
        answer = client.get(asked("run", id=run_id))
        assert (answer.status_code, answer.json()["state"]) == (200, "new")
        assert answer.json()["settings"] == {}


def test_no_page_sends_ten_thousand_runs(ten_thousand: LiveGrid) -> None:
    client = client_of(live_of(ten_thousand.out, every_s=60.0))
    runs = client.get(asked("runs", key="grid"))
    assert runs.json()["total"] == 10_000
    assert len(runs.json()["runs"]) == 50
    assert client.get(asked("runs", key="grid", state="running")).json()["total"] == 4000
    assert client.get(asked("runs", key="grid", offset=9990)).json()["runs"][-1]["run_id"] == (
        "grid-99-1-49"
    )
    sent = [runs]
    sent += [client.get(asked(path, key="grid")) for path in ("study", "matrix", "table")]
    sent += [client.get("/api/studies"), client.get(asked("find", text="grid"))]
    for answer in sent:
        assert answer.status_code == 200
        assert len(answer.content) < 100_000, answer.url
    (first, *_) = client.get(asked("table", key="grid")).json()["lines"]
    assert first[1][1].startswith("40.0 ± 0.0 (20 of 50)")


def test_a_storage_that_cannot_be_read_is_told(
    grid: LiveGrid, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rml_dashboards.errors import DashboardError

    live = live_of(grid.out)
    client = client_of(live)

    def away(*_: object) -> None:
        raise DashboardError("the storage is away")

    monkeypatch.setattr(live.storage, "files", away)
    answer = client.get(asked("run", id="grid-0-0-0"))
    assert (answer.status_code, answer.json()) == (503, {"problem": "the storage is away"})
