"""Starting and stopping Ray: a quiet one of our own on this machine, or somebody's cluster."""

import contextlib
import logging
import os
import secrets
import shutil
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import psutil

from rml_platform.environment import usable_cores
from rml_trainers.errors import RmlError

ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # default 2.0: every checkpoint would wait that long
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_DEDUP_LOGS": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    # Ctrl-C must reach us: the run folders, not Tune's state, are what we resume
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "GLOG_minloglevel": "3",
    # default 60: too short on a machine that is busy with other work
    "RAY_DASHBOARD_STARTUP_TIMEOUT_S": "180",
    "RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT": "120",
    # default 15: beside any other busy process training would nearly stand still
    "RAY_worker_niceness": "0",
}


WATCH_EVERY_S = 5.0
LEAVE_AFTER_S = 10.0
DIED = "Ray died on this machine (memory full?); nothing is lost, launch again"

ON_WORKERS = ("RAY_TRAIN_", "RAY_CHDIR_")
"""What the processes of a cluster must be told too; a local Ray inherits everything."""


class ClusterError(RmlError):
    """Ray could not be started here, or the cluster not be reached."""


@contextlib.contextmanager
def ray_session(
    address: str | None,
    *,
    with_train: bool,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
) -> Iterator[None]:
    """Ray for the duration of a launch.

    Without an address a new local one is started that only this machine can reach, and is gone with
    everything it started when the context ends or this process dies. Only `train` needs its
    dashboard process, which frees the resources of a Ray Train group whose controller was killed.

    Raises:
        ClusterError: Ray cannot be started, or not be reached at `address`.
    """
    _prepare_environment(local=address is None)
    import ray

    # Otherwise Ray prints a paragraph across the live view whenever a worker dies; the view tells
    # it in one line.
    ray._private.worker._worker_logs_enabled = False
    if address is not None:
        _connect(address)
        try:
            yield
        finally:
            ray.shutdown()
        return
    with _session_folder() as folder:
        _start_local(folder, with_train, num_cpus, num_gpus)
        watch = _RayWatch()
        try:
            yield
        except KeyboardInterrupt:
            if watch.found_dead:
                raise ClusterError(DIED) from None
            raise
        finally:
            watch.stop.set()
            ray.shutdown()


class _RayWatch:
    """Ends the launch when the local Ray died: Tune would wait for its runs for ever.

    The main thread is interrupted first. Where it is inside a call of Ray that will never return to
    Python, the process is ended instead: everything that a launch knows is in the run folders.
    """

    def __init__(self) -> None:
        self.found_dead = False
        self.stop = threading.Event()
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def _watch(self) -> None:
        import ray

        while not self.stop.wait(WATCH_EVERY_S):
            if not any(node["Alive"] for node in ray.nodes()) and not self.stop.is_set():
                self.found_dead = True
                os.kill(os.getpid(), signal.SIGINT)
                if not self.stop.wait(LEAVE_AFTER_S):
                    _leave()
                return


def _leave() -> NoReturn:
    """End this process and what is left of its Ray without the main thread."""
    import ray

    sys.stdout.write("\x1b[?25h" if sys.stdout.isatty() else "")  # the live view hides the cursor
    sys.stdout.flush()
    sys.stderr.write(f"rml: {DIED}\n")
    sys.stderr.flush()
    node = ray._private.worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    os._exit(2)


@contextlib.contextmanager
def _session_folder() -> Iterator[str]:
    """Folder for Ray's sockets and logs, named after this process; those of killed launchers are
    swept away.

    Socket paths are limited to 107 characters, so a long TMPDIR is not used.
    """
    place = Path(tempfile.gettempdir())
    place = place if len(str(place)) < 16 else Path("/tmp")
    for old in place.glob("rml-ray-*-*"):
        owner = old.name.split("-")[2]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(old, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        prefix=f"rml-ray-{os.getpid()}-", dir=place, ignore_cleanup_errors=True
    ) as folder:
        yield folder


def _start_local(folder: str, with_train: bool, num_cpus: int | None, num_gpus: int | None) -> None:
    """Start Ray, a second time if need be: it gives its own processes 30 s, which a busy machine
    can exceed."""
    import ray

    for is_last in (False, True):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus or usable_cores(),
                num_gpus=num_gpus,
                include_dashboard=with_train,
                dashboard_host="127.0.0.1",
                _temp_dir=folder,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
            return
        except Exception as error:  # Ray raises bare Exception, RuntimeError and its own kinds here
            ray.shutdown()
            if is_last:
                raise ClusterError(
                    f"Ray could not be started on this machine: {error}. Is the machine very busy, "
                    "or /tmp full? `rml doctor` checks it; nothing is lost, launch again"
                ) from error


def _connect(address: str) -> None:
    import ray

    try:
        told = {name: os.environ[name] for name in ENVIRONMENT if name.startswith(ON_WORKERS)}
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        ray.init(address=address, runtime_env={"env_vars": told}, **quiet)
    except Exception as error:
        raise ClusterError(
            f"no Ray cluster can be reached at {address}: {error}. Check the address and that it "
            "runs the same Ray version and token (RAY_AUTH_TOKEN), or leave --address out to use "
            "this machine"
        ) from error


def _prepare_environment(*, local: bool) -> None:
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    warnings.filterwarnings("ignore", module=r"ray\..*")
    token_file = Path.home() / ".ray" / "auth_token"
    known = {"RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & os.environ.keys()
    if local:
        # One process less per run.
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if local and not known and not token_file.exists():
        # Ray guards local clusters by a token that it would otherwise write into the home folder.
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
