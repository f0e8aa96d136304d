"""Starting and stopping Ray: a quiet one of our own on this machine, or somebody's cluster."""

import contextlib
import importlib
import logging
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rml_platform.environment import usable_cores
from rml_platform.launch.session.errors import ClusterError, ClusterLostError
from rml_platform.launch.session.ray_environment import ENVIRONMENT, LOOPBACK, prepare_environment
from rml_platform.launch.session.ray_watch import (
    PROBE_TIMEOUT_S,
    HeadProbe,
    RayWatch,
    what_died,
)
from rml_platform.launch.stop_signals import StoppedBySignal, stopping_on_signals
from rml_platform.plugins import SHIPPED
from rml_platform.run.files.temporary import temporary_folder
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin

if TYPE_CHECKING:
    from ray.job_config import JobConfig

SWEEP = "rml_platform.launch.on_ray.sweep"
"""Takes a second to load, with Tune."""

ON_WORKERS = ("RAY_TRAIN_", "RAY_CHDIR_")
"""What the processes of a cluster must be told too; a local Ray inherits everything."""


@contextlib.contextmanager
def ray_session(
    address: str | None,
    *,
    with_train: bool,
    num_cpus: int | None = None,
    num_gpus: int | None = None,
    ship: Sequence[Plugin] | None = None,
) -> Iterator[None]:
    """Ray for the duration of a launch.

    `ship`: plug-ins that are sent along to a cluster with the code of the project; None to go by
    what is installed there.

    Without an address a new local one is started that only this machine can reach, and is gone with
    everything it started when the context ends or this process dies. Only `train` needs its
    dashboard process, which frees the resources of a Ray Train group whose controller was killed.

    Raises:
        ClusterError: Ray cannot be started, or not be reached at `address`.
    """
    prepare_environment(local=address is None)
    import ray

    # Otherwise Ray prints a paragraph across the live view whenever a worker dies; the view tells
    # it in one line.
    ray._private.worker._worker_logs_enabled = False
    with contextlib.ExitStack() as stack:
        if address is not None:
            _connect(address, ship)
            watch = RayWatch(HeadProbe().what_is_lost)
        else:
            _load_meanwhile(SWEEP)
            _start_local(stack.enter_context(_session_folder()), with_train, num_cpus, num_gpus)
            watch = RayWatch(what_died)
        stack.enter_context(stopping_on_signals())  # Ray has just taken SIGTERM for itself
        try:
            yield
        except KeyboardInterrupt:
            if watch.found_lost:
                raise ClusterLostError(watch.found_lost) from None
            raise
        finally:
            watch.stop.set()
            if address is not None and not watch.found_lost:  # a local Ray goes as a whole
                _leave_nothing_behind()
            ray.shutdown()


def _leave_nothing_behind() -> None:
    import ray

    from rml_platform.launch.on_ray.placement_groups import remove_own

    # A head that does not answer now: the next launch finds what is left as orphans.
    with contextlib.suppress(ray.exceptions.RayError):
        if ray.is_initialized():
            remove_own()


def _load_meanwhile(module: str) -> None:
    """Load what a launch needs next while Ray starts its processes, which is mostly waiting."""

    def load() -> None:
        with contextlib.suppress(ImportError):  # who imports it next is told why
            importlib.import_module(module)

    threading.Thread(target=load, name=f"load-{module}", daemon=True).start()


@contextlib.contextmanager
def _session_folder() -> Iterator[str]:
    """Folder for Ray's sockets and logs, named after this process; those of killed launchers are
    swept away.

    Socket paths are limited to 107 characters, so a long TMPDIR is not used.
    """
    place = Path(tempfile.gettempdir())
    place = place if len(str(place)) < 16 else Path("/tmp")
    with temporary_folder("rml-ray-", place) as folder:
        # Ray opens its folder to everybody; the one around it is this user's alone.
        inner = folder / "r"
        inner.mkdir()
        yield str(inner)


def _start_local(folder: str, with_train: bool, num_cpus: int | None, num_gpus: int | None) -> None:
    """Start Ray, a second time if need be: it gives its own processes 30 s, which a busy machine
    can exceed."""
    import ray

    # Where Ray was imported before its environment was prepared.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    for is_last in (False, True):
        try:
            ray.init(
                address="local",
                num_cpus=num_cpus or usable_cores(),
                num_gpus=num_gpus,
                include_dashboard=with_train,
                dashboard_host=LOOPBACK,
                _temp_dir=folder,
                job_config=_job_config(),
                log_to_driver=False,
                logging_level=logging.CRITICAL,
            )
            return
        except SystemExit:  # what Ray's own handler makes of a SIGTERM while it starts
            raise StoppedBySignal(signal.SIGTERM) from None
        except Exception as error:  # Ray raises bare Exception, RuntimeError and its own kinds here
            ray.shutdown()
            if is_last:
                raise ClusterError(
                    f"Ray could not be started on this machine: {error}. Is the machine very busy, "
                    "or /tmp full? `rml doctor` checks it; nothing is lost, launch again"
                ) from error


def _job_config() -> "JobConfig":
    """Marks this driver's job as a launch of ours, for `placement_groups.remove_orphans`."""
    from ray.job_config import JobConfig

    from rml_platform.launch.on_ray.placement_groups import LAUNCH_MARK

    return JobConfig(metadata={LAUNCH_MARK: "1"})


def _connect(address: str, ship: Sequence[Plugin] | None) -> None:
    import ray

    from rml_platform.launch.on_ray.fleet.shipment import pack

    # Ray takes a loopback address for this machine's other one, unless it is told not to.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = not is_on_loopback_only(address)
    try:
        told = {name: os.environ[name] for name in ENVIRONMENT if name.startswith(ON_WORKERS)}
        quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
        with temporary_folder("rml-ship-") as folder:
            environment: dict[str, Any] = {"env_vars": told}
            if ship is not None:
                environment = {
                    "env_vars": {**told, SHIPPED: "1"},
                    "py_modules": pack(folder, ship),
                }
            ray.init(address=address, runtime_env=environment, job_config=_job_config(), **quiet)
    except ConfigError:
        raise
    except Exception as error:
        raise ClusterError(
            f"no Ray cluster can be reached at {address}: {error}. Check the address and that it "
            "runs the same Ray version and token (RAY_AUTH_TOKEN), or leave --address out to use "
            "this machine"
        ) from error


def is_on_loopback_only(address: str) -> bool:
    """Whether an address is of the loopback interface, and what listens there is not to be had at
    this machine's other address: a cluster that only this machine reaches."""
    host, _, port = address.rpartition(":")
    if host not in ("localhost", LOOPBACK) or not port.isdigit():
        return False
    from ray._private.services import node_ip_address_from_perspective

    own = node_ip_address_from_perspective()
    with contextlib.suppress(OSError), socket.create_connection((own, int(port)), PROBE_TIMEOUT_S):
        return False
    return True
