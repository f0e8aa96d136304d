"""Starting Ray: quiet, swept clean, and with an error a person can act on. Ray itself runs under
distributed/."""

import os
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import ray

from rml_platform.launch import ray_session as module
from rml_platform.launch.ray_session import ENVIRONMENT, ClusterError, ray_session


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, object]]:
    """Calls of ray.init, which does nothing; whatever the session sets in the environment is taken
    back."""
    made: list[dict[str, object]] = []
    monkeypatch.setattr(ray, "init", lambda **options: made.append(options))
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True}])
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
    place = Path(tempfile.mkdtemp(prefix="t", dir="/tmp"))  # short, as the session wants it
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(place))
    with subprocess.Popen(["true"]) as dead:
        pass
    for name in (f"rml-ray-{dead.pid}-a", "rml-ray-1-b", "rml-ray-notes-c", "other"):
        (place / name).mkdir()
    with ray_session(None, with_train=True):
        pass
    assert {path.name for path in place.iterdir()} == {"rml-ray-1-b", "rml-ray-notes-c", "other"}


def test_a_ray_that_died_interrupts_the_launch(
    calls: list[dict[str, object]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_EVERY_S", 0.01)
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": False}])
    with pytest.raises(ClusterError, match="Ray died"), ray_session(None, with_train=True):
        subprocess.run(["sleep", "30"], check=False)


def test_ctrl_c_stays_ctrl_c(calls: list[dict[str, object]]) -> None:
    with pytest.raises(KeyboardInterrupt), ray_session(None, with_train=True):
        raise KeyboardInterrupt
