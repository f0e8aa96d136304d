"""Start the server on an address and say where the page is."""

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import uvicorn

from rml_dashboards.contract.run_folder import NO_TRACKER
from rml_dashboards.errors import DashboardError
from rml_dashboards.live.reading.asked import AskedFolder
from rml_dashboards.live.reading.plans import PlanFolder
from rml_dashboards.live.reading.recorded import RecordedRuns
from rml_dashboards.live.reading.recorded_curves import RecordedCurves
from rml_dashboards.live.reading.storage import RunStorage
from rml_dashboards.live.reading.watch import Watch
from rml_dashboards.live.views.rows import RowViews
from rml_dashboards.live.views.table_view import (
    FolderRecords,
    LedgerRecords,
    TableViews,
)
from rml_dashboards.live.web.access import Access
from rml_dashboards.live.web.app import Live, create_app
from rml_dashboards.live.web.events import Looking
from rml_dashboards.records.opening import open_records
from rml_dashboards.records.reader import RecordReader
from rml_dashboards.records.run_folder_reader import RunFolderReader
from rml_dashboards.studies.find import study_name

GRACE_S = 2
"""How long open answers may take to end once the server is told to stop."""


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What is shown."""

    out: Path
    storage: str
    """Path or URI of the folder that holds `runs/`."""
    studies: tuple[str, ...] = ()
    """Names, `<name>:<profile>` or study files; without any, all whose plans lie under either."""
    tracking_uri: str = NO_TRACKER
    """Where the tables of results are read from; `none`: from the run folders, like all else."""


def open_live(shown: Shown, every_s: float | None = None) -> Live:
    """What the routes read from, after a first look.

    Args:
        every_s: seconds between two looks; default: two for folders of this machine, else ten.
    Raises:
        DashboardError: a place cannot be opened, or a study that was asked for has no plan.
    """
    storage = RunStorage(shown.storage)
    wanted = [study_name(study) for study in shown.studies]
    plans = PlanFolder((str(shown.out), shown.storage), wanted)
    tracker = _tracker(shown)
    recorded = None if tracker is None else RecordedRuns(tracker)
    watch = Watch(storage, plans, AskedFolder(shown.storage), recorded)
    watch.look()
    found = {name for key in watch.snapshot.studies for name in (key, key.partition(":")[0])}
    missing = [name for name in wanted if name not in found]
    if missing:
        where = " or ".join(dict.fromkeys((str(shown.out), storage.shown)))
        raise DashboardError(
            f"no plan of {', '.join(missing)} under {where}; `rml plan STUDY.yaml` writes one"
        )
    tables = TableViews(FolderRecords(shown.storage) if tracker is None else LedgerRecords(tracker))
    return Live(
        storage=storage,
        reader=RunFolderReader(shown.storage),
        tables=tables,
        rows=RowViews(tables),
        looking=Looking(watch, every_s),
        recorded=None if tracker is None else RecordedCurves(tracker),
    )


def _tracker(shown: Shown) -> RecordReader | None:
    """Where tables come from, and where runs are looked for that have no folder."""
    if shown.tracking_uri == NO_TRACKER:
        return None
    folder = shown.out / "ledger"
    return open_records(shown.tracking_uri, storage=shown.storage, ledger_folder=folder)


def bound_socket(host: str, port: int) -> socket.socket:
    """A socket that listens on an address, so that its port is known before anything is said.

    Raises DashboardError where it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen()
    except (OSError, OverflowError) as error:
        bound.close()
        raise DashboardError(
            f"--host {host} --port {port} cannot be used ({error}); --port 0 takes a free one"
        ) from error
    return bound


def address(access: Access, port: int) -> str:
    """Where a browser finds the page. The token stands behind `#`, which browsers never send."""
    host = access.host if access.host not in ("0.0.0.0", "::") else socket.gethostname()
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{port}/" + (f"#token={access.token}" if access.token else "")


def serve(live: Live, access: Access, port: int, say: Callable[[str], None]) -> None:
    """Serve the page until the process is told to stop. Raises DashboardError."""
    with contextlib.closing(bound_socket(access.host, port)) as bound:
        own = Access(
            token=access.token,
            host=access.host,
            names=access.names,
            cookie=f"{access.cookie}-{bound.getsockname()[1]}",
        )
        for line in _said(own, bound.getsockname()[1], live):
            say(line)
        config = uvicorn.Config(
            create_app(live, own),
            access_log=False,
            log_level="warning",
            server_header=False,
            proxy_headers=False,
            ws="none",
            timeout_graceful_shutdown=GRACE_S,
        )
        server = _Server(config, live.looking.close)
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(server.serve(sockets=[bound]))


def _said(access: Access, port: int, live: Live) -> Sequence[str]:
    num = len(live.watch.snapshot.studies)
    lines = [f"{num} {'study' if num == 1 else 'studies'} at {address(access, port)}"]
    if access.token:
        lines.append("who has this address can read everything; Ctrl-C ends the page")
    else:
        lines.append("reached from this machine only, by everybody on it; Ctrl-C ends the page")
    return lines


class _Server(uvicorn.Server):
    """Ends the streams of events as soon as it is told to stop; they would end by themselves
    never."""

    def __init__(self, config: uvicorn.Config, on_exit: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_exit = on_exit
        logging.getLogger("uvicorn.error").addFilter(self._is_telling)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._on_exit()
        super().handle_exit(sig, frame)

    def _is_telling(self, record: logging.LogRecord) -> bool:
        """A stream that is cut off because the server ends is no fault of the page."""
        error = record.exc_info[1] if record.exc_info else None
        return not (self.should_exit and isinstance(error, asyncio.CancelledError))
