"""What Tune is given while the storage is away."""

import errno
import os
from typing import Any
from unittest.mock import Mock

import pytest
from ray.tune.search import Searcher

from rml_platform.launch.on_ray import sweep
from rml_platform.launch.on_ray.sweep import Handout

AWAY = OSError(errno.ESTALE, os.strerror(errno.ESTALE))


@pytest.fixture
def queue() -> Any:
    task = Mock(run_id="run-1", avoid=(), micro_batches=1)
    return Mock(next=Mock(side_effect=[task, None]), is_over=False)


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def handout(queue: Any, said: list[str], monkeypatch: pytest.MonkeyPatch) -> Handout:
    monkeypatch.setattr(sweep, "remove_orphans", lambda: 0)
    monkeypatch.setattr(sweep, "replace", lambda task, **changes: task)
    monkeypatch.setattr(sweep, "RUN_TASK", Mock())
    return Handout(queue, Mock(), set, {"trial": "it died"}, said.append)


def test_an_end_that_cannot_be_looked_at_is_kept_and_told_once(
    handout: Handout, queue: Any, said: list[str]
) -> None:
    given = handout.suggest("trial")
    assert isinstance(given, dict)
    handout.on_trial_complete("trial")
    queue.ended.side_effect = AWAY
    assert [handout.suggest("next") for _ in range(3)] == [None] * 3
    assert len(said) == 1
    assert said[0].startswith("the storage is away, no run is started until it answers")
    queue.ended.side_effect = None
    queue.is_over = True
    assert handout.suggest("next") == Searcher.FINISHED
    assert [call.args for call in queue.ended.call_args_list] == [("run-1", "it died")] * 4


def test_a_queue_that_cannot_look_either_is_asked_again(
    handout: Handout, queue: Any, said: list[str]
) -> None:
    task = Mock(run_id="run-1", avoid=(), micro_batches=1)
    queue.next.side_effect = [AWAY, task, AWAY]
    assert handout.suggest("a") is None
    assert isinstance(handout.suggest("a"), dict)
    assert handout.suggest("b") is None
    assert len(said) == 2, "two outages"


def test_what_would_be_wrong_again_ends_the_launch(handout: Handout, queue: Any) -> None:
    queue.next.side_effect = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with pytest.raises(PermissionError):
        handout.suggest("trial")
