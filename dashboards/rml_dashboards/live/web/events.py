"""One look at the folders for all who listen, and what they are told of it.

While somebody listens, the folders are looked at every few seconds, once for everybody; while
nobody does, only when a page is asked for. A listener that does not read is told less, never
waited for.
"""

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Iterable

from rml_dashboards.live.reading.watch import Change, Watch

LOCAL_S = 2.0
REMOTE_S = 10.0
"""Between two looks at folders of this machine, and of another."""
QUIET_S = 15.0
"""After so long without news a comment is sent, so that nothing on the way closes the stream."""
MAX_RUNS = 200
"""Changed runs that an event names; where there are more, a page reads again what it shows."""
RETRY_MS = 2000
"""How soon a browser tries again after the stream has ended."""


class Looking:
    """Keeps a watch fresh, and tells listeners what has changed."""

    def __init__(self, watch: Watch, every_s: float | None = None) -> None:
        self.watch = watch
        self.every_s = every_s or (LOCAL_S if watch.storage.is_local else REMOTE_S)
        self._listeners: set[asyncio.Queue[str]] = set()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._one_at_a_time = asyncio.Lock()
        self._boot = secrets.token_hex(4)
        self._is_closing = False

    async def fresh(self) -> None:
        """Look again unless the last look is recent enough."""
        async with self._one_at_a_time:
            if time.time() - self.watch.looked_at >= self.every_s:
                await self._look()

    async def _look(self) -> None:
        change = await asyncio.to_thread(self.watch.look)
        if change is not None:
            self._tell(self.event("change", change))

    def _tell(self, event: str) -> None:
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()  # who missed one sees it by the version of the next
            queue.put_nowait(event)

    def event(self, kind: str, change: Change) -> str:
        """A server-sent event; its id tells whether a page that comes back has missed any."""
        data = {
            "version": change.version,
            "before": change.version - 1,
            "boot": self._boot,
            "runs": change.runs[:MAX_RUNS],
            "are_all": len(change.runs) <= MAX_RUNS,
            "studies": sorted(self._touched(change.runs)),
            "plans": change.are_plans_new,
        }
        return f"event: {kind}\nid: {self._boot}-{change.version}\ndata: {json.dumps(data)}\n\n"

    def _touched(self, runs: Iterable[str]) -> set[str]:
        changed = set(runs)
        return {
            key
            for key, study in self.watch.snapshot.studies.items()
            if any(run.run_id in changed for run in study.plan.runs)
        }

    async def stream(self) -> AsyncIterator[str]:
        """What one listener is sent: where things stand, then every change."""
        queue: asyncio.Queue[str] = asyncio.Queue(maxsize=16)
        self._loop = asyncio.get_running_loop()
        self._listeners.add(queue)
        self._ensure_running()
        try:
            yield f"retry: {RETRY_MS}\n\n"
            await self.fresh()
            now = Change(version=self.watch.snapshot.version, runs=())
            yield self.event("hello", now)
            while not self._is_closing:
                try:
                    yield await asyncio.wait_for(queue.get(), QUIET_S)
                except TimeoutError:
                    yield ": nothing new\n\n"
        finally:
            self._listeners.discard(queue)

    def _ensure_running(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._while_listened_to())

    async def _while_listened_to(self) -> None:
        while self._listeners and not self._is_closing:
            await asyncio.sleep(self.every_s)
            async with self._one_at_a_time:
                await self._look()

    def close(self) -> None:
        """End every stream: the server is about to stop.

        From any thread and from a signal's handler: what has the listeners is told to do it.
        """
        self._is_closing = True
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._tell, ": the server stops\n\n")
