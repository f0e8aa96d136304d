"""Nodes that differ are refused before anything starts, and what they lack is stored once."""

import functools
import importlib.metadata
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import ray
from ray.exceptions import (
    GetTimeoutError,
    NodeDiedError,
    RayTaskError,
    RuntimeEnvSetupError,
    TaskUnschedulableError,
    WorkerCrashedError,
)

from rml_platform.launch.on_ray.fleet import probe
from rml_platform.launch.on_ray.fleet.newcomers import AGAIN_AFTER_S, Newcomers, Unfit
from rml_platform.launch.on_ray.fleet.probe import DECIDING, Answer, NoAnswer, Question, answer
from rml_platform.launch.on_ray.fleet.readiness import TIMES_ASKED, Readiness
from rml_platform.launch.on_ray.fleet.room import Node
from rml_platform.run.faults.lease import lease
from rml_platform.run.files.input_store import InputStore
from rml_platform.run.files.temporary import owned_name
from rml_platform.run.task import Process, RunTask
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin
from tests.support.platform.fake_trainer import GOOD
from tests.support.platform.object_store import s3_endpoint as s3_endpoint
from tests.support.platform.object_store import s3_uri as s3_uri
from tests.support.platform.tasks import dead_process, fake_config, task_for

PLUGIN = Plugin(name="mine", location="/a/mine.py", hash="0123456789ab", entries=())  # on no disk


def node(name: str) -> Node:
    return Node(id=name, host=f"host-{name}", resources={"CPU": 1.0}, labels={})


NODES = [node("a"), node("b")]


class Nodes:
    """Answers as this machine would give them, but for what a test changes."""

    def __init__(self) -> None:
        self.changes: dict[str, dict[str, Any]] = {}
        self.silent: dict[str, str] = {}
        """Nodes without rml, and what is said of them."""
        self.late: Counter[str] = Counter()
        """Nodes that say nothing the first times, and how often."""
        self.asked: list[str] = []

    def __call__(self, nodes: Sequence[Node], question: Question) -> dict[str, Answer | NoAnswer]:
        self.asked += [node.id for node in nodes]
        own = answer(question)
        return {node.id: self._answer(node.id, own) for node in nodes}

    def _answer(self, id_: str, own: Answer) -> Answer | NoAnswer:
        if self.late[id_] > 0:
            self.late[id_] -= 1
            return NoAnswer("gave no answer within 180 s", is_silent=True)
        if id_ in self.silent:
            return NoAnswer(self.silent[id_])
        return replace(own, **self.changes.get(id_, {}))


@pytest.fixture
def nodes() -> Nodes:
    return Nodes()


@pytest.fixture
def task(tiny_data: PreparedData, tmp_path: Path) -> RunTask:
    return task_for(fake_config(GOOD), tiny_data, tmp_path / "storage", "run-1")


def made(task: RunTask, nodes: Nodes, **options: Any) -> Readiness:
    options = {"look": lambda: NODES, **options}
    readiness = Readiness([task], lambda text: None, ask_nodes=nodes, **options)
    with lease(task.storage, task.launch_id):
        readiness.make(NODES)
    return readiness


def test_equal_nodes_that_see_everything_need_nothing(task: RunTask, nodes: Nodes) -> None:
    readiness = made(task, nodes)
    assert nodes.asked == ["a", "b"]
    (given,) = readiness.tasks
    (only,) = given.inputs
    assert only.name == f"scenes-{task.data_hash}"
    assert InputStore(task.storage).index(only.name) is None


def test_what_one_node_lacks_is_stored_once(task: RunTask, nodes: Nodes) -> None:
    name = f"scenes-{task.data_hash}"
    nodes.changes["b"] = {"lacking": frozenset({name})}
    made(task, nodes)
    index = InputStore(task.storage).index(name)
    assert index is not None
    assert "train.arrow" in index


def test_what_killed_workers_left_on_a_node_is_removed_when_it_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / owned_name("rml-work-", dead_process(), 0)
    (left / "checkpoint").mkdir(parents=True)
    alive = tmp_path / owned_name("rml-work-", Process.current(), 0)
    alive.mkdir()
    answer(Question(storage=str(tmp_path), launch_id="launch", plugins=(), inputs=()))
    assert list(tmp_path.iterdir()) == [alive]


def test_an_object_store_has_it_whoever_joins_later(
    task: RunTask, nodes: Nodes, s3_uri: str
) -> None:
    made(replace(task, storage=s3_uri), nodes)
    assert InputStore(s3_uri).index(f"scenes-{task.data_hash}") is not None


PACKAGES = {name: importlib.metadata.version(name).partition("+")[0] for name in DECIDING}
FAULTS: dict[str, tuple[dict[str, Any], str]] = {
    "code": ({"version": "0.0.9", "code": "abc"}, r"host-b \(b\) has rml 0\.0\.9, content abc"),
    "python": ({"python": "2.7"}, r"host-b \(b\) has Python 2\.7 with torch .*, this machine"),
    "torch": ({"torch": "missing"}, r"with torch missing, this machine Python"),
    "disk": (
        {"disk_error": "/c is full"},
        r"host-b \(b\) fails on its own disk: /c is full\. Mend that there",
    ),
    "torchvision": (
        {"packages": {**PACKAGES, "torchvision": "0.1"}},
        r"host-b \(b\) has torchvision 0\.1, this machine torchvision \d",
    ),
    "timm": (
        {"packages": {**PACKAGES, "timm": "missing"}},
        r"host-b \(b\) has timm missing, this machine timm \d",
    ),
    "numpy": (
        {"packages": {**PACKAGES, "numpy": "1.0"}},
        r"host-b \(b\) has numpy 1\.0, this machine numpy \d",
    ),
    "pyarrow": (
        {"packages": {**PACKAGES, "pyarrow": "17.0.0"}},
        r"host-b \(b\) has pyarrow 17\.0\.0, this machine pyarrow \d",
    ),
    "storage": ({"storage_error": "no"}, r"does not see the storage .*: no\. Give --storage"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_node_that_differs_is_named_with_the_way_out(
    task: RunTask, nodes: Nodes, fault: str
) -> None:
    nodes.changes["b"], message = FAULTS[fault]
    with pytest.raises(ConfigError, match=message) as caught:
        made(task, nodes)
    text = str(caught.value)
    assert text.startswith("1 of 2 nodes cannot carry out this launch, nothing was started: ")
    assert ("--ship" in text) == (fault not in ("storage", "disk"))
    assert "host-a" not in text


def test_a_plug_in_that_differs_is_named(task: RunTask, nodes: Nodes) -> None:
    nodes.changes["a"] = {"plugins": {PLUGIN.location: PLUGIN.hash}}
    nodes.changes["b"] = {"plugins": {PLUGIN.location: "other"}}
    with pytest.raises(ConfigError, match=r"host-b \(b\) has another /a/mine\.py or none \(other"):
        made(replace(task, plugins=(PLUGIN,)), nodes)


def test_a_node_without_an_answer_is_refused_and_shipping_is_said(
    task: RunTask, nodes: Nodes
) -> None:
    nodes.silent["a"] = "has no rml"
    with pytest.raises(ConfigError, match=r"host-a \(a\) has no rml\. .* with --ship"):
        made(task, nodes)
    with pytest.raises(ConfigError, match="what it imports has to be installed there"):
        made(task, nodes, is_shipped=True)


def test_a_node_that_is_late_is_asked_again(task: RunTask, nodes: Nodes) -> None:
    nodes.late["b"] = 1
    made(task, nodes)
    assert nodes.asked == ["a", "b", "b"]


def test_a_node_that_lives_and_never_answers_is_named(task: RunTask, nodes: Nodes) -> None:
    nodes.late["b"] = 100
    with pytest.raises(ConfigError, match=r"1 of 2 nodes .*host-b \(b\) gave no answer within"):
        made(task, nodes)
    assert nodes.late["b"] == 100 - TIMES_ASKED


def test_a_node_that_dies_while_it_is_asked_is_forgotten(task: RunTask, nodes: Nodes) -> None:
    nodes.late["b"] = 100
    made(task, nodes, look=lambda: NODES[:1])
    assert nodes.asked == ["a", "b"]
    nodes.silent["a"] = "has no rml"
    with pytest.raises(ConfigError, match=r"^1 of 1 nodes .*host-a \(a\) has no rml"):
        made(task, nodes, look=lambda: NODES[:1])


def test_a_node_that_dies_when_it_is_asked_again_is_forgotten(task: RunTask, nodes: Nodes) -> None:
    nodes.late["b"] = 100
    looks = iter([NODES, NODES[:1]])
    made(task, nodes, look=lambda: next(looks))
    assert nodes.asked == ["a", "b", "b"]


@pytest.mark.parametrize(
    ("error", "is_silent"),
    [
        (GetTimeoutError("late"), True),
        (NodeDiedError("dead"), True),
        (TaskUnschedulableError("the node is gone"), True),
        (WorkerCrashedError(), True),
        (RuntimeEnvSetupError("no space"), False),
        (RayTaskError("answer", "ModuleNotFoundError: rml_platform", ImportError()), False),
    ],
)
def test_silence_is_told_from_an_answer(
    error: Exception, is_silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "get", Mock(side_effect=error))
    monkeypatch.setattr(ray, "remote", lambda **options: Mock())
    cancelled = Mock()
    monkeypatch.setattr(ray, "cancel", cancelled)
    monkeypatch.setattr(probe, "NodeAffinitySchedulingStrategy", Mock())
    monkeypatch.setattr(probe, "ANSWER_WITHIN_S", 0.0)
    question = Question(storage="", launch_id="", plugins=(), inputs=())
    found = probe.ask(NODES[:1], question)["a"]
    assert isinstance(found, NoAnswer)
    assert found.is_silent is is_silent
    assert cancelled.called is isinstance(error, GetTimeoutError)


def test_a_node_that_holds_no_run_is_asked_only_where_it_may_drive_one(
    task: RunTask, nodes: Nodes
) -> None:
    head = Node(id="head", host="head", resources={}, labels={})
    nodes.silent["head"] = "has no rml"
    with lease(task.storage, task.launch_id):
        Readiness([task], lambda text: None, ask_nodes=nodes).make([*NODES, head])
        train = replace(task, execution="train")
        with pytest.raises(ConfigError, match=r"1 of 3 nodes .* has no rml"):
            Readiness([train], lambda text: None, ask_nodes=nodes).make([*NODES, head])


def test_many_bad_nodes_are_not_all_listed(task: RunTask, nodes: Nodes) -> None:
    many = [node(f"n{i}") for i in range(12)]
    nodes.silent = {one.id: "has no rml" for one in many}
    readiness = Readiness([task], lambda text: None, ask_nodes=nodes)
    with pytest.raises(ConfigError, match=r"12 of 12 nodes .*; and 7 more\."):
        readiness.make(many)


def test_who_joins_later_is_asked_and_kept_out_until_it_has_answered(
    task: RunTask, nodes: Nodes
) -> None:
    readiness = made(task, nodes)
    there = list(NODES)
    said: list[str] = []
    newcomers = Newcomers(readiness.judge, said.append, look=lambda: there)
    there += [node("c"), node("d")]
    assert newcomers.unusable() == {"c", "d"}
    name = f"scenes-{task.data_hash}"
    nodes.changes["c"] = {"lacking": frozenset({name})}
    nodes.changes["d"] = {"code": "other", "version": "1"}
    with lease(task.storage, task.launch_id):
        newcomers.look()
        newcomers.look()
    assert newcomers.unusable() == {"d"}
    assert said == ["node host-d joined and is not used: it has rml 1, content other"]
    assert nodes.asked == ["a", "b", "c", "d"]
    assert InputStore(task.storage).index(name) is not None
    there.remove(there[-1])
    assert newcomers.unusable() == set()


def test_a_newcomer_that_is_late_is_asked_again(task: RunTask, nodes: Nodes) -> None:
    readiness = made(task, nodes)
    there = list(NODES)
    said: list[str] = []
    now = [0.0]
    newcomers = Newcomers(readiness.judge, said.append, look=lambda: there, clock=lambda: now[0])
    there.append(node("c"))
    nodes.late["c"] = 2
    with lease(task.storage, task.launch_id):
        newcomers.look()
        newcomers.look()
        assert nodes.asked == ["a", "b", "c"], "it is given time"
        for _ in range(2):
            assert newcomers.unusable() == {"c"}
            now[0] += AGAIN_AFTER_S
            newcomers.look()
    assert newcomers.unusable() == set()
    assert said == [
        "node host-c joined and is not used yet: it gave no answer within 180 s; it is asked again",
        "node host-c is used from here on",
    ]


def test_a_newcomer_whose_storage_is_away_is_asked_again(task: RunTask, nodes: Nodes) -> None:
    readiness = made(task, nodes)
    away = "OSError: [Errno 110] Connection timed out"
    nodes.changes = {
        "c": {"storage_error": away},
        "d": {"storage_error": "it does not find there what this launch has written"},
        "e": {"storage_error": away, "code": "other"},
        "f": {"storage_error": "", "disk_error": "/c is full"},
    }
    faults = readiness.judge([node("c"), node("d"), node("e"), node("f")])
    assert {id_: fault.may_pass for id_, fault in faults.items()} == {
        "c": True,
        "d": False,
        "e": False,  # its code stays wrong
        "f": True,
    }


def test_a_node_writes_to_its_cache_where_it_lacks_something_and_to_no_home_otherwise(
    task: RunTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("RML_CACHE", str(tmp_path / "file" / "cache"))
    storage = str(tmp_path / "storage")
    in_place = Readiness([task], lambda text: None).tasks[0].inputs
    lacking = tuple(replace(one, place=str(tmp_path / "nowhere")) for one in in_place)
    ask = functools.partial(Question, storage=storage, launch_id="launch", plugins=())
    assert answer(ask(inputs=in_place)).disk_error == ""
    error = answer(ask(inputs=lacking)).disk_error
    assert error.startswith(f"this node cannot write to its own disk, {tmp_path}/file/cache: ")
    assert "set RML_CACHE on that node" in error
    monkeypatch.setenv("RML_CACHE", str(tmp_path / "cache"))
    assert answer(ask(inputs=lacking)).disk_error == ""
    assert not [path for path in (tmp_path / "cache").iterdir() if path.suffix != ".lock"]


def test_a_node_writes_to_its_temporary_folder_where_runs_work_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, s3_uri: str
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    ask = functools.partial(Question, launch_id="launch", plugins=(), inputs=())
    assert answer(ask(storage=str(tmp_path))).disk_error == ""
    error = answer(ask(storage=s3_uri)).disk_error
    assert str(tmp_path / "gone") in error
    assert "set TMPDIR on that node" in error


def test_nothing_is_said_of_a_newcomer_that_dies_while_it_is_asked(
    task: RunTask, nodes: Nodes
) -> None:
    readiness = made(task, nodes)
    there = list(NODES)

    def judge(new: Sequence[Node]) -> Mapping[str, Unfit]:
        there.remove(new[0])
        return readiness.judge(new)

    newcomers = Newcomers(judge, pytest.fail, look=lambda: list(there))
    there.append(node("c"))
    nodes.late["c"] = 1
    newcomers.look()
    assert newcomers.unusable() == set()


def test_on_one_machine_nobody_is_asked() -> None:
    there = list(NODES)
    newcomers = Newcomers(None, pytest.fail, look=lambda: there)
    there.append(node("c"))
    newcomers.look()
    assert newcomers.unusable() == set()
