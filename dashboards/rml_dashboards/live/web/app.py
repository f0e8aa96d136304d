"""The routes of the live page. All of them read; names are looked up in what was listed."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import resources
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.plans import ShownStudy
from rml_dashboards.live.reading.recorded_curves import RecordedCurves
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Snapshot, Watch
from rml_dashboards.live.views.comparison import compared
from rml_dashboards.live.views.curves import MAX_METRICS, curves, wanted_metrics
from rml_dashboards.live.views.rows import RowViews, row_pictures
from rml_dashboards.live.views.run_list import Filter, run_page, suggestions
from rml_dashboards.live.views.run_views import picture
from rml_dashboards.live.views.run_views import run_page as one_run
from rml_dashboards.live.views.study_views import matrix, study_head, study_list
from rml_dashboards.live.views.table_view import TableViews
from rml_dashboards.live.web.access import Access, Gate
from rml_dashboards.live.web.events import Looking
from rml_dashboards.records.reader import Histories, to_histories
from rml_dashboards.records.run_folder_reader import RunFolderReader

PAGES = ("/", "/study", "/rows", "/run", "/compare")
"""Addresses of pages; the one HTML file finds out what it shows from its own address."""
TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
}
MAX_LINES = 200
"""Rows or runs in one answer."""
MAX_NAME = 1000
MAX_POINTS = 2000


@dataclass(frozen=True, kw_only=True)
class Live:
    """What the routes read from."""

    storage: RunStorage
    reader: RunFolderReader
    tables: TableViews
    rows: RowViews
    looking: Looking
    recorded: RecordedCurves | None = None
    """Curves of runs that have no folder."""

    @property
    def watch(self) -> Watch:
        return self.looking.watch


def create_app(live: Live, access: Access) -> FastAPI:
    """The server's application, without pages of FastAPI's own."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        live.looking.close()

    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.state.live = live
    app.state.files = static_files()
    app.include_router(_PAGES)
    app.include_router(_DATA, prefix="/api")
    app.add_exception_handler(DashboardError, _problem)
    app.add_middleware(Gate, access=access)
    return app


def static_files() -> dict[str, tuple[str, bytes]]:
    """Name → type and content of every file of the page."""
    folder = resources.files("rml_dashboards.live.web") / "static"
    return {
        file.name: (TYPES[f".{file.name.rpartition('.')[2]}"], file.read_bytes())
        for file in folder.iterdir()
        if f".{file.name.rpartition('.')[2]}" in TYPES
    }


async def _problem(request: Request, error: Exception) -> Response:
    return JSONResponse({"problem": str(error)}, status_code=503)


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


LiveNow = Annotated[Live, Depends(_live)]


async def _fresh(live: LiveNow) -> Snapshot:
    await live.looking.fresh()
    return live.watch.snapshot


Now = Annotated[Snapshot, Depends(_fresh)]
Name = Annotated[str, Query(max_length=MAX_NAME)]
Offset = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=MAX_LINES)]


def _study(key: Name, now: Now) -> ShownStudy:
    study = now.studies.get(key)
    if study is None:
        raise HTTPException(404, "no such study")
    return study


def _known_run(run_id: str, now: Snapshot) -> str:
    planned = (run.run_id for study in now.studies.values() for run in study.plan.runs)
    if run_id not in now.stamps and run_id not in planned:
        raise HTTPException(404, "no such run")
    return run_id


def _run(id: Name, now: Now) -> str:
    return _known_run(id, now)


Study = Annotated[ShownStudy, Depends(_study)]
Run = Annotated[str, Depends(_run)]
_PAGES = APIRouter()
_DATA = APIRouter()


def _page(request: Request) -> Response:
    return _file(request, "index.html")


for _address in PAGES:
    _PAGES.add_api_route(_address, _page, methods=["GET"])


@_PAGES.get("/static/{name}")
def _static(name: str, request: Request) -> Response:
    return _file(request, name)


def _file(request: Request, name: str) -> Response:
    files: dict[str, tuple[str, bytes]] = request.app.state.files
    if name not in files:
        raise HTTPException(404, "no such file")
    kind, content = files[name]
    return Response(content, media_type=kind)


@_DATA.get("/login")
def _login() -> JSONResponse:
    return JSONResponse({"is_let_in": True})


@_DATA.get("/studies")
def _studies(now: Now) -> JSONResponse:
    return JSONResponse(study_list(now))


@_DATA.get("/study")
def _head(study: Study, now: Now) -> JSONResponse:
    return JSONResponse(study_head(study, now))


@_DATA.get("/matrix")
def _matrix(study: Study, now: Now, offset: Offset = 0, limit: Limit = 50) -> JSONResponse:
    return JSONResponse(matrix(study, now, offset, limit))


@_DATA.get("/runs")
def _runs(
    study: Study,
    now: Now,
    row: Name = "",
    column: Name = "",
    state: Name = "",
    tag: Name = "",
    text: Name = "",
    offset: Offset = 0,
    limit: Limit = 50,
) -> JSONResponse:
    wanted = Filter(row=row, column=column, state=state, tag=tag, text=text)
    return JSONResponse(run_page(study, now, wanted, offset, limit))


@_DATA.get("/table")
def _table(
    study: Study, now: Now, live: LiveNow, offset: Offset = 0, limit: Limit = 100
) -> JSONResponse:
    return JSONResponse(live.tables.page(study, now, offset, limit))


def _column(study: Study, column: Name) -> str:
    if column not in [one.label for one in study.plan.columns]:
        raise HTTPException(404, "no such column")
    return column


Column = Annotated[str, Depends(_column)]


@_DATA.get("/rows")
def _rows(
    study: Study, column: Column, now: Now, live: LiveNow, offset: Offset = 0, limit: Limit = 50
) -> JSONResponse:
    return JSONResponse(live.rows.scores(study, now, column, offset, limit))


@_DATA.get("/rows/differences")
def _differences(
    study: Study,
    column: Column,
    against: Name,
    now: Now,
    live: LiveNow,
    offset: Offset = 0,
    limit: Limit = 50,
) -> JSONResponse:
    return JSONResponse(live.rows.differences(study, now, column, against, offset, limit))


@_DATA.get("/rows/curves")
def _row_curves(
    study: Study,
    column: Column,
    metric: Name,
    row: Annotated[list[Name], Query(max_length=MAX_LINES)],
    now: Now,
    live: LiveNow,
) -> JSONResponse:
    return JSONResponse(live.rows.curves(study, now, column, metric, row))


@_DATA.get("/rows/pictures")
def _row_pictures(
    study: Study,
    column: Column,
    now: Now,
    live: LiveNow,
    seed: int | None = None,
    offset: Offset = 0,
    limit: Limit = 50,
) -> JSONResponse:
    return JSONResponse(row_pictures(live.storage, study, now, column, seed, offset, limit))


@_DATA.get("/run")
def _one_run(run_id: Run, now: Now, live: LiveNow) -> JSONResponse:
    return JSONResponse(one_run(live.storage, now, run_id, time.time()))


@_DATA.get("/curves")
def _curves(
    run_id: Run,
    now: Now,
    live: LiveNow,
    metric: Annotated[list[str], Query(max_length=MAX_METRICS)],
    points: Annotated[int, Query(ge=2, le=MAX_POINTS)] = 400,
) -> JSONResponse:
    histories, problem = _histories(live, now, run_id, wanted_metrics(metric))
    shown = curves(histories, run_id, metric, live.watch.trail(run_id), points)
    return JSONResponse({**shown, "problem": problem})


def _histories(live: Live, now: Snapshot, run_id: str, metrics: list[str]) -> tuple[Histories, str]:
    """From the run's folder; where there is none, from the tracker, or why that cannot be read."""
    if run_id in now.stamps or live.recorded is None:
        return live.reader.histories([run_id], metrics), ""
    has_ended = now.status(run_id).state not in ("new", "waiting", "running")
    found, problem = live.recorded.read(run_id, metrics, has_ended=has_ended)
    return to_histories((), {}) if found is None else found, problem


@_DATA.get("/picture")
def _picture(run_id: Run, name: Name, live: LiveNow) -> Response:
    content = picture(live.storage, run_id, name)
    if content is None:
        raise HTTPException(404, "no such picture")
    return Response(content, media_type="image/png")


@_DATA.get("/compare")
def _compare(a: Name, b: Name, now: Now, live: LiveNow) -> JSONResponse:
    return JSONResponse(compared(live.storage, now, _known_run(a, now), _known_run(b, now)))


@_DATA.get("/find")
def _find(now: Now, text: Name = "") -> JSONResponse:
    return JSONResponse({"runs": suggestions(now, text)})


@_DATA.get("/events")
async def _events(live: LiveNow) -> StreamingResponse:
    return StreamingResponse(live.looking.stream(), media_type="text/event-stream")
