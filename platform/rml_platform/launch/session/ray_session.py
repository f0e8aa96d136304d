"""Starting and stopping Ray: a quiet one of our own on this machine, or somebody's cluster."""

import contextlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from rml_platform.launch.session.errors import ClusterError, ClusterLostError
from rml_platform.launch.session.gpu_locks import HeldGpus
from rml_platform.launch.session.local_ray import LocalRay
from rml_platform.launch.session.ray_environment import (
    ENVIRONMENT,
    LOOPBACK,
    check_address,
    job_config,
    prepare_environment,
)
from rml_platform.launch.session.ray_watch import (
    PROBE_TIMEOUT_S,
    HeadProbe,
    RayWatch,
    what_died,
)
from rml_platform.launch.stop_signals import stopping_on_signals
from rml_platform.plugins import SHIPPED
from rml_platform.run.files.temporary import temporary_folder
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin

ON_WORKERS = ("RAY_TRAIN_", "RAY_CHDIR_")
"""What the processes of a cluster must be told too; a local Ray inherits everything."""


@contextlib.contextmanager
def ray_session(
    address: str | None,
    *,
    with_train: bool,
    num_cpus: int | None = None,
    gpus: HeldGpus | None = None,
    at_once: int | None = None,
    ship: Sequence[Plugin] | None = None,
    ahead: LocalRay | None = None,
) -> Iterator[None]:
    """Ray for the duration of a launch.

    Without an address a new local one is started that only this machine can reach, and is gone with
    everything it started when the context ends or this process dies.

    Args:
        with_train: a local Ray has what `execution: train` needs.
        num_cpus: of a local Ray; default: the cores that this process may use.
        gpus: held for a local Ray, which releases them; default: what Ray finds.
        at_once: the most runs that a local Ray will have under way together; default: one per core.
        ship: plug-ins that are sent along to a cluster with the code of the project; None to go by
            what is installed there.
        ahead: a local Ray that was begun before, with all this; one that has ended by now is of no
            use, and another is started.
    Raises:
        ConfigError: `address` is of a client of Ray.
        ClusterError: Ray cannot be started, or not be reached at `address`.
    """
    if address is not None:
        check_address(address)
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
            if ahead is None or ahead.is_closed:
                ahead = LocalRay(
                    with_train=with_train, num_cpus=num_cpus, gpus=gpus, at_once=at_once
                )
            stack.callback(ahead.close)
            ahead.wait()
            watch = RayWatch(what_died)
        stack.enter_context(stopping_on_signals())  # where Ray has just taken SIGTERM for itself
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
            ray.init(address=address, runtime_env=environment, job_config=job_config(), **quiet)
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
