"""Starting Ray: quiet, swept clean, and with an error a person can act on. Ray itself runs under
distributed/."""

import os
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import ray

from rml_platform.launch.session import local_ray, ray_watch
from rml_platform.launch.session import ray_session as module
from rml_platform.launch.session.errors import ClusterError, ClusterLostError
from rml_platform.launch.session.gpu_locks import HeldGpus
from rml_platform.launch.session.local_ray import LOADED, PRELOAD, WAITING, LocalRay
from rml_platform.launch.session.ray_environment import ENVIRONMENT
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.launch.stop_signals import StoppedBySignal, exit_code_of, stopping_on_signals
from rml_platform.run.files.temporary import owned_name
from rml_platform.run.task import Process
from rml_trainers.errors import ConfigError
from tests.support.platform.tasks import dead_process


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """Calls of ray.init, which does nothing; whatever the session sets in the environment is taken
    back."""
    made: list[dict[str, object]] = []
    monkeypatch.setattr(ray, "init", lambda **options: made.append(options))
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp")
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    token = (
        "RAY_AUTH_MODE",
        "RAY_AUTH_TOKEN",
        "RAY_AUTH_TOKEN_PATH",
    )  # Ray itself sets the mode where it ran before
    for name in (*ENVIRONMENT, *token, "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER"):
        monkeypatch.setenv(name, "before")
        monkeypatch.delenv(name)
    return made


def failing(times: int, made: list[dict[str, object]]) -> Callable[..., None]:
    """A ray.init that fails so often."""

    def init(**options: object) -> None:
        made.append(options)
        if len(made) <= times:
            raise Exception("The current node timed out during startup.")

    return init


def test_a_local_ray_is_reached_by_nobody_else(calls: list[dict[str, object]]) -> None:
    with ray_session(None, with_train=True, num_cpus=2):
        (call,) = calls
    assert (call["address"], call["dashboard_host"], call["num_cpus"]) == ("local", "127.0.0.1", 2)
    assert (call["include_dashboard"], call["log_to_driver"]) == (True, False)
    assert not Path(str(call["_temp_dir"])).exists()


def test_a_token_guards_it_that_is_written_nowhere(
    calls: list[dict[str, object]], tmp_path: Path
) -> None:
    with ray_session(None, with_train=False):
        assert len(os.environ["RAY_AUTH_TOKEN"]) == 64
    assert list(tmp_path.iterdir()) == []


def test_a_persons_own_settings_are_kept(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "7")
    with ray_session("auto", with_train=True):
        (call,) = calls
    environment = call["runtime_env"]
    assert isinstance(environment, dict)
    assert environment["env_vars"]["RAY_TRAIN_HEALTH_CHECK_INTERVAL_S"] == "7"
    assert "TUNE_DISABLE_SIGINT_HANDLER" not in environment["env_vars"]


def test_a_slow_start_is_tried_twice(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", failing(1, calls))
    with ray_session(None, with_train=True):
        assert len(calls) == 2


def test_a_ray_that_does_not_start_is_one_clear_error(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", failing(2, calls))
    expected = pytest.raises(
        ClusterError, match=r"Ray could not be started .*timed out.*launch again"
    )
    with expected, ray_session(None, with_train=True):
        raise AssertionError("not reached")


def test_a_cluster_that_is_not_there_is_one_clear_error(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray, "init", failing(1, calls))
    expected = pytest.raises(
        ClusterError, match=r"no Ray cluster can be reached at 1\.2\.3\.4:6379"
    )
    with expected, ray_session("1.2.3.4:6379", with_train=True):
        raise AssertionError("not reached")


def test_folders_of_killed_launchers_are_swept_away_and_no_others(
    calls: list[dict[str, object]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: "/tmp/with-a-long-name")
    monkeypatch.setattr(local_ray, "SHORT", tmp_path)
    living = owned_name("rml-ray-", Process.current(), 99)
    stays = {living, "rml-ray-notes-c", "other"}
    for name in (owned_name("rml-ray-", dead_process(), 0), *stays):
        (tmp_path / name).mkdir()
    with ray_session(None, with_train=True):
        pass
    assert {path.name for path in tmp_path.iterdir()} == stays


@pytest.mark.parametrize("sigint", [signal.default_int_handler, signal.SIG_IGN])
def test_a_ray_that_died_interrupts_the_launch(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, sigint: Any
) -> None:
    monkeypatch.setattr(ray_watch, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(module, "what_died", lambda: "Ray died")
    before = signal.signal(signal.SIGINT, sigint)  # ignored in what a shell starts with `&`
    try:
        with (
            pytest.raises(ClusterLostError, match="Ray died") as lost,
            ray_session(None, with_train=True),
        ):
            subprocess.run(["sleep", "30"], check=False)
    finally:
        signal.signal(signal.SIGINT, before)
    assert lost.value.exit_code == 75


def test_the_part_of_ray_that_died_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Node:
        def dead_processes(self) -> list[tuple[str, None]]:
            return [("log_monitor", None), ("gcs_server", None)]

    monkeypatch.setattr(ray._private.worker, "_global_node", Node())
    assert "gcs_server; memory full?" in ray_watch.what_died()
    monkeypatch.setattr(Node, "dead_processes", lambda self: [("log_monitor", None)])
    assert ray_watch.what_died() == ""


def test_a_head_that_stays_silent_is_lost_and_one_that_comes_back_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Client:
        is_away = True

        def internal_kv_exists(self, *args: object) -> bool:
            if self.is_away:
                raise RuntimeError("deadline exceeded")
            return False

    client = Client()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(ray._private.worker.global_worker, "gcs_client", client, raising=False)
    probe = ray_watch.HeadProbe()

    def after(seconds: float) -> str:
        now[0] += seconds
        return probe.what_is_lost()

    assert [after(6) for _ in range(5)] == [""] * 5
    client.is_away = False
    assert after(6) == ""
    client.is_away = True
    assert after(3600) == "", "this machine stood still, and asked nobody"
    assert [after(6) for _ in range(3)] == [""] * 3
    assert "has not answered for 34 s" in after(6)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_what_ray_takes_for_itself_is_taken_back(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch, signum: signal.Signals
) -> None:
    def init(**options: object) -> None:
        signal.signal(signum, lambda *_: pytest.fail("Ray's handler"))

    monkeypatch.setattr(ray, "init", init)
    before = signal.getsignal(signum)
    with pytest.raises(StoppedBySignal) as stop, ray_session("auto", with_train=True):
        os.kill(os.getpid(), signum)
    assert exit_code_of(stop.value) == 128 + signum
    signal.signal(signum, before)  # outside a launch Ray's handler is put back


def test_a_sigterm_while_ray_starts_is_a_stop(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    may_run = threading.Event()

    def init(**options: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        may_run.wait()

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(LocalRay, "close", lambda self: may_run.set())
    with (
        pytest.raises(StoppedBySignal),
        stopping_on_signals(),
        ray_session(None, with_train=True),
    ):
        raise AssertionError("not reached")


def test_a_ray_that_was_begun_before_is_taken_and_a_closed_one_is_not(
    calls: list[dict[str, object]],
) -> None:
    ahead = LocalRay(with_train=False, num_cpus=3)
    ahead.wait_begun()
    with ray_session(None, with_train=False, ahead=ahead):
        (call,) = calls
    assert (call["num_cpus"], ahead.is_closed) == (3, True)
    with ray_session(None, with_train=False, num_cpus=1, ahead=ahead):
        assert [one["num_cpus"] for one in calls] == [3, 1]
    ahead.close()


def test_a_local_ray_sees_the_gpus_that_are_held_for_it_until_it_ends(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, calls: list[dict[str, object]]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2")
    seen: list[str | None] = []
    monkeypatch.setattr(
        ray, "init", lambda **options: seen.append(f"{options['num_gpus']} of {visible()}")
    )

    def visible() -> str | None:
        return os.environ.get("CUDA_VISIBLE_DEVICES")

    with (tmp_path / "lock").open("w") as lock:
        with ray_session(None, with_train=False, gpus=HeldGpus(("1", "2"), (lock,))):
            assert (seen, visible(), lock.closed) == (["2 of 1,2"], "0,1,2", False)
        assert lock.closed


def test_ray_is_what_it_was_after_a_start_with_little(calls: list[dict[str, object]]) -> None:
    node = ray._private.node.Node
    services = ray._private.services

    def seen() -> list[Any]:
        own = [ray._private.parameter.RayParams, node.start_api_server, os.environ.get(PRELOAD)]
        return [*own, services.start_ray_process, services.get_node]

    before = seen()
    with ray_session(None, with_train=False):
        pass
    assert seen() == before


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    "with_train, at_once, waiting", [(False, 1, 1), (False, 9, 4), (False, None, 4), (True, 1, 4)]
)
def test_ray_has_no_more_processes_ready_than_runs_will_want(
    with_train: bool, at_once: int | None, waiting: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []
    services = ray._private.services
    monkeypatch.setattr(
        services, "start_ray_process", lambda command, kind: started.append(command)
    )

    def init(**options: object) -> None:
        services.start_ray_process(["raylet", f"{WAITING}4", "--head"], "raylet")

    monkeypatch.setattr(ray, "init", init)
    local = LocalRay(with_train=with_train, num_cpus=4, gpus=HeldGpus(), at_once=at_once)
    local.wait()
    local.close()
    assert started == [["raylet", f"{WAITING}{waiting}", "--head"]]


def test_ray_still_has_the_option_for_that() -> None:
    assert WAITING in Path(ray._private.services.__file__).read_text()


@pytest.mark.usefixtures("calls")
def test_a_node_is_seen_as_soon_as_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray looks once a second; others may use the process from the first look on."""
    node_id = ray.NodeID.from_random()
    looks: list[set[Any]] = [{node_id}, set(), set()]
    local: list[LocalRay] = []
    got: list[object] = []

    class Gcs:
        def __init__(self, address: str) -> None:
            assert address == "127.0.0.1:1"

        def get_all_node_info(self) -> set[Any]:
            assert local[0]._begun.is_set()
            return looks.pop()

    def init(**options: object) -> None:
        while not local:
            time.sleep(0.001)
        assert not local[0]._begun.is_set()
        got.append(ray._private.services.get_node("127.0.0.1:1", node_id.hex()))

    monkeypatch.setattr(ray._raylet, "GcsClient", Gcs)
    monkeypatch.setattr(ray._private.services, "get_node", lambda *what: what)
    monkeypatch.setattr(ray, "init", init)
    local.append(LocalRay(with_train=False, num_cpus=1, gpus=HeldGpus()))
    local[0].wait()
    local[0].close()
    assert (got, looks) == ([("127.0.0.1:1", node_id.hex())], [])


def test_ctrl_c_stays_ctrl_c(calls: list[dict[str, object]]) -> None:
    with pytest.raises(KeyboardInterrupt), ray_session(None, with_train=True):
        raise KeyboardInterrupt


@pytest.mark.parametrize(("interface", "expected"), [("127.0.0.1", True), ("", False)])
def test_a_cluster_that_listens_on_loopback_only_is_joined_there(
    interface: str, expected: bool
) -> None:
    with socket.socket() as head:
        head.bind((interface, 0))
        head.listen()
        port = head.getsockname()[1]
        assert module.is_on_loopback_only(f"127.0.0.1:{port}") is expected


@pytest.mark.parametrize("address", ["auto", "head:6379", "192.0.2.7:6379"])
def test_other_addresses_are_nothing_special(address: str) -> None:
    assert not module.is_on_loopback_only(address)


def test_a_client_s_address_is_refused_before_ray_is_asked(calls: list[dict[str, object]]) -> None:
    with (
        pytest.raises(ConfigError, match=r"^ray://head:10001: .*ray job submit"),
        ray_session("ray://head:10001", with_train=False),
    ):
        pass
    assert not calls


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize(
    "with_train, cores, asked, told",
    [
        (False, 2, None, LOADED),
        (False, 64, None, LOADED),
        (True, 2, None, "torch"),
        (True, 64, None, None),
        (False, 2, "numpy", "numpy"),
        (True, 64, "numpy", "numpy"),
    ],
)
def test_waiting_processes_load_what_a_run_begins_with_where_they_are_few(
    with_train: bool,
    cores: int,
    asked: str | None,
    told: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(PRELOAD, asked or "")
    if asked is None:
        monkeypatch.delenv(PRELOAD)
    seen: list[str | None] = []
    monkeypatch.setattr(ray, "init", lambda **options: seen.append(os.environ.get(PRELOAD)))
    local = LocalRay(with_train=with_train, num_cpus=cores, gpus=HeldGpus())
    local.wait()
    local.close()
    assert seen == [told]
    assert os.environ.get(PRELOAD) == asked
