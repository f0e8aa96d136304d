"""Whatever becomes of a group of workers, the run that waits for it comes back; without Ray."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from concurrent.futures import wait as wait_for
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import ray.exceptions

from rml_platform.launch.on_ray import slot as module
from rml_platform.launch.on_ray.slot import Slot, run_in_slot
from rml_platform.run.task import RunTask
from rml_trainers.data.prepared.cache import PreparedData
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.tasks import fake_config, task_for

pytestmark = pytest.mark.timeout(60)
DEAD = ray.exceptions.ActorDiedError()


class Ray:
    """As much of Ray as a slot uses: actors of this process, on an event loop of their own."""

    exceptions = ray.exceptions

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.lost = set[str]()
        """Calls that never arrive."""
        self.dead = set[str]()
        """Calls that find no actor any more."""

    def remote(self, **options: Any) -> Callable[[type], "Maker"]:
        return lambda kind: Maker(self, kind)

    def get(self, reference: "Future[Any]") -> Any:
        return reference.result()

    def wait(self, references: "list[Future[Any]]", timeout: float) -> tuple[list[Any], list[Any]]:
        done, open_ones = wait_for(references, timeout)
        return list(done), list(open_ones)

    def get_runtime_context(self) -> Any:
        return SimpleNamespace(get_node_id=lambda: "a" * 56)

    def end(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Maker:
    def __init__(self, ray: Ray, kind: type) -> None:
        self._ray = ray
        self._kind = kind

    def remote(self, *arguments: Any) -> "Handle":
        async def made() -> Any:
            return self._kind(*arguments)

        actor = asyncio.run_coroutine_threadsafe(made(), self._ray.loop).result()
        return Handle(self._ray, actor)


class Handle:
    def __init__(self, ray: Ray, actor: Any) -> None:
        self._ray = ray
        self._actor = actor

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> "Future[Any]":
            if name in self._ray.dead:
                failed = Future[Any]()
                failed.set_exception(DEAD)
                return failed
            if name in self._ray.lost:
                return Future()
            coroutine = getattr(self._actor, name)(*arguments, **named)
            return asyncio.run_coroutine_threadsafe(coroutine, self._ray.loop)

        return SimpleNamespace(remote=call)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[Ray]:
    fake = Ray()
    monkeypatch.setattr(module, "ray", fake)
    monkeypatch.setattr(module, "_slot", None)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    yield fake
    fake.end()


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path, "run-1")


Group = Callable[[Any], str]
"""What a group of workers does with its mailbox, and what Ray Train says in the end."""


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[Group]:
    """What the groups to come do, one after the other."""
    waiting: list[Group] = []
    monkeypatch.setattr(
        module, "train_group", lambda task, mailbox, trainer_class: waiting.pop(0)(mailbox)
    )
    return waiting


def trains_all(mailbox: Any) -> str:
    number = 0
    while mailbox.take.remote(number, "node-a").result() is not None:
        mailbox.answer.remote(is_last=False).result()
        number += 1
    return ""


def takes_one_and(end: Group) -> Group:
    def group(mailbox: Any) -> str:
        assert mailbox.take.remote(0, "node-a").result() is not None
        return end(mailbox)

    return group


def is_lost(mailbox: Any) -> str:
    return "WorkerGroupError: its node died"


def raises_what_ray_train_does_not_name(mailbox: Any) -> str:
    raise RuntimeError("Ray has forgotten this group")


def answers_and_dies(mailbox: Any) -> str:
    mailbox.answer.remote(is_last=False).result()
    return "WorkerGroupError: died between two runs"


def test_a_group_takes_run_after_run(fake: Ray, task: RunTask, groups: list[Group]) -> None:
    groups.append(trains_all)
    assert [run_in_slot(task) for _ in range(3)] == ["", "", ""]
    assert module._slot is not None
    assert module._slot.end() == ""


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("lost", [set(), {"close"}], ids=["told", "nobody-tells"])
@pytest.mark.parametrize(
    ("end", "said"),
    [
        (is_lost, "WorkerGroupError: its node died"),
        (raises_what_ray_train_does_not_name, "RuntimeError: Ray has forgotten this group"),
    ],
    ids=["named", "unnamed"],
)
def test_the_end_of_its_group_ends_a_run(
    fake: Ray, task: RunTask, groups: list[Group], end: Group, said: str, lost: set[str]
) -> None:
    fake.lost = lost
    groups.append(takes_one_and(end))
    assert run_in_slot(task) == said


def test_a_group_that_dies_between_two_runs_is_followed_by_another(
    fake: Ray, task: RunTask, groups: list[Group]
) -> None:
    groups += [takes_one_and(answers_and_dies), trains_all]
    assert run_in_slot(task) == ""
    assert module._slot is not None
    module._slot._group.join()
    assert run_in_slot(task) == ""
    assert module._slot.end() == ""


def test_a_run_comes_back_from_a_group_whose_mailbox_died(
    fake: Ray, task: RunTask, groups: list[Group]
) -> None:
    fake.dead = {"answered", "close"}
    groups.append(takes_one_and(is_lost))
    assert run_in_slot(task) == "WorkerGroupError: its node died"


def test_a_run_whose_group_cannot_begin_comes_back_and_tries_nothing_again(
    fake: Ray, task: RunTask, groups: list[Group], monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowToAsk(Slot):
        """The group has failed before its run is handed over."""

        def run(self, task: RunTask) -> str | None:
            self._group.join()
            return super().run(task)

    monkeypatch.setattr(module, "Slot", SlowToAsk)
    groups.append(lambda mailbox: "ControllerError: no room for a controller")
    assert run_in_slot(task) == "ControllerError: no room for a controller"
    assert groups == []
