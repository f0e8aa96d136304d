"""Server-sent events, from a real server: what a listener is told, and one look for all of them."""

import asyncio
import http.client
import json
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rml_dashboards.live.web.access import Access
from tests.support.dashboards.live_grid import LiveGrid, heartbeat, result
from tests.support.dashboards.live_server import live_of, served

RUN = "grid-0-0-2"
TOKEN = "a-token-of-sufficient-length"


class Listener:
    """Reads events from the stream, as a browser does."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self._answer = answer

    def next(self) -> tuple[str, dict[str, Any]]:
        """Kind and data of the next event; comments are passed over."""
        kind = ""
        while True:
            line = self._answer.readline().decode().rstrip("\n")
            if line.startswith("event: "):
                kind = line.removeprefix("event: ")
            elif line.startswith("data: "):
                return kind, json.loads(line.removeprefix("data: "))

    def until(self, run_id: str) -> dict[str, Any]:
        """The next change that names a run."""
        while True:
            kind, data = self.next()
            if kind == "change" and run_id in data["runs"]:
                return data


@contextmanager
def listening(port: int, **headers: str) -> Iterator[Listener]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/api/events", headers=headers)
    answer = connection.getresponse()
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    try:
        yield Listener(answer)
    finally:
        connection.close()


@pytest.fixture
def grid(tmp_path: Path) -> LiveGrid:
    return LiveGrid.make(tmp_path)


def test_a_heartbeat_becomes_an_event_for_everybody(grid: LiveGrid) -> None:
    with (
        served(live_of(grid.out)) as there,
        listening(there.port) as first,
        listening(there.port) as second,
    ):
        hello = [one.next() for one in (first, second)]
        assert [kind for kind, _ in hello] == ["hello", "hello"]
        grid.write(RUN, "heartbeat.json", heartbeat(500))
        told = first.until(RUN)
        assert told == second.until(RUN)
        assert (told["studies"], told["plans"], told["are_all"]) == (["grid"], False, True)
        assert told["before"] >= hello[0][1]["version"]
        assert told["boot"] == hello[0][1]["boot"]
        grid.write(RUN, "result.json", result(0.5))
        first.until(RUN)
        assert there.live.watch.snapshot.status(RUN).state == "done"


def test_a_new_plan_is_told_and_who_comes_back_sees_that_something_was_missed(
    grid: LiveGrid,
) -> None:
    with served(live_of(grid.out)) as there:
        with listening(there.port) as listener:
            _, hello = listener.next()
        LiveGrid.make(grid.out, name="second", num_seeds=1)
        with listening(there.port) as listener:
            _, back = listener.next()
            assert back["boot"] == hello["boot"]
            while back["version"] == hello["version"]:
                _, back = listener.next()
        assert list(there.live.watch.snapshot.studies) == ["grid", "second"]


def test_nobody_is_listened_to_without_the_token(grid: LiveGrid) -> None:
    with served(live_of(grid.out), Access.of("127.0.0.1", TOKEN)) as there:
        with listening(there.port, Authorization=f"Bearer {TOKEN}") as listener:
            assert listener.next()[0] == "hello"
        with listening(there.port, Cookie=f"rml-dashboard={TOKEN}") as listener:
            assert listener.next()[0] == "hello"
        with pytest.raises(AssertionError), listening(there.port):
            pass


def test_the_folders_rest_while_nobody_listens(grid: LiveGrid) -> None:
    live = live_of(grid.out)
    with served(live) as there:
        with listening(there.port) as listener:
            listener.next()
        looking = live.looking._task
        assert looking is not None
        while not looking.done():
            pass
        assert not live.looking._listeners


def test_an_event_names_few_runs_of_many(ten_thousand: LiveGrid) -> None:
    from rml_dashboards.live.reading.watch import Change

    live = live_of(ten_thousand.out)
    runs = tuple(run_id for *_, run_id in ten_thousand.cells())
    event = live.looking.event("change", Change(version=7, runs=runs))
    data = json.loads(event.split("data: ")[1])
    assert len(data["runs"]) == 200 and not data["are_all"]
    assert data["studies"] == ["grid"]


def test_streams_end_when_another_thread_closes_them(grid: LiveGrid) -> None:
    looking = live_of(grid.out, every_s=100).looking

    async def sent_after_hello() -> list[str]:
        stream = looking.stream()
        while not (await anext(stream)).startswith("event: hello"):
            pass
        rest = asyncio.ensure_future(_all_of(stream))
        await asyncio.sleep(0.05)  # until it waits for news
        await asyncio.to_thread(looking.close)
        return await rest

    # A loop in debug mode refuses calls of another thread that are not safe, and then hangs. It has
    # a thread of its own, because Playwright leaves a loop behind in the one that tests run in.
    sent: list[list[str]] = []
    own = threading.Thread(
        target=lambda: sent.append(asyncio.run(sent_after_hello(), debug=True)), daemon=True
    )
    own.start()
    own.join(timeout=30)
    assert sent == [[": the server stops\n\n"]]


async def _all_of(stream: AsyncIterator[str]) -> list[str]:
    return [event async for event in stream]
