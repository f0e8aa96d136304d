"""What the workers of a group are handed, and when the group ends; without Ray."""

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from rml_platform.launch.on_ray.mailbox import Mailbox

NEVER_S = 3600.0
AT_ONCE_S = 0.0


def play(story: Coroutine[Any, Any, None]) -> None:
    """In a thread of its own: in this one a browser of other tests may have a running loop."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        thread.submit(asyncio.run, story).result()


async def until_it_waits(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(coroutine)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    return task


def test_every_worker_takes_every_run_and_an_answer_ends_the_wait() -> None:
    async def story() -> None:
        box = Mailbox(NEVER_S)
        early = await until_it_waits(box.take(0, "node-a"))
        assert await box.post("first") == 0
        assert await early == "first"
        assert await box.take(0, "node-b") == "first"
        ended = await until_it_waits(box.answered(0))
        await box.answer(is_last=False)
        assert await ended == ""
        assert await box.post("second") == 1
        assert await box.take(1, "node-a") == "second"
        assert await box.nodes() == {"node-a", "node-b"}

    play(story())


def test_a_group_without_runs_ends_and_takes_none_any_more() -> None:
    async def story() -> None:
        box = Mailbox(AT_ONCE_S)
        assert await box.take(0, "node") is None
        assert await box.post("late") is None

    play(story())


def test_a_worker_that_waits_for_the_others_is_not_idle() -> None:
    async def story() -> None:
        box = Mailbox(AT_ONCE_S)
        await box.post("first")
        ready = asyncio.create_task(box.take(1, "node"))
        for _ in range(50):  # many times the patience
            await asyncio.sleep(0)
        assert not ready.done()
        await box.answer(is_last=False)
        assert await ready is None

    play(story())


def test_no_run_comes_into_a_process_in_which_one_failed() -> None:
    async def story() -> None:
        box = Mailbox(NEVER_S)
        await box.post("bad")
        await box.answer(is_last=True)
        assert await box.answered(0) == ""
        assert await box.post("next") is None
        assert await box.take(1, "node") is None

    play(story())


def test_the_end_of_the_group_ends_its_run_with_what_ray_train_says() -> None:
    async def story() -> None:
        box = Mailbox(NEVER_S)
        await box.post("killed")
        waiting = await until_it_waits(box.answered(0))
        await box.close("WorkerGroupError: died")
        await box.close("")
        assert await waiting == "WorkerGroupError: died"

    play(story())
