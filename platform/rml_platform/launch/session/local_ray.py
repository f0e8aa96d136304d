"""A Ray of this machine alone: nobody else reaches it, and it goes with the process that started
it."""

import contextlib
import functools
import importlib
import logging
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rml_platform.launch.session.errors import ClusterError
from rml_platform.launch.session.gpu_locks import HeldGpus, only_visible
from rml_platform.launch.session.ray_environment import LOOPBACK, job_config, prepare_environment
from rml_platform.run.files.temporary import SHORT, temporary_folder
from rml_trainers.runtime.cores import usable_cores

SWEEP = "rml_platform.launch.on_ray.sweep"
"""What a launch needs next; takes a second to load, with Tune."""

PRELOAD = "RAY_preload_python_modules"
"""Setting of Ray: what its waiting processes import."""
WAITING = "--num_prestart_python_workers="
"""Option of Ray's node process: how many processes it has ready."""
LONG_PLACE = 10
"""Characters of a temporary folder that is too long for Ray's sockets below it."""
LOADED = "rml_platform.launch.on_ray.waiting_process"
"""Loads what a run begins with."""
MOST_CORES_WITH_TORCH = 8
"""For `train` Ray has a process waiting for each core; up to so many of them load torch."""
REGISTERS_WITHIN_S = 30.0
"""Ray's own patience with its processes."""
LOOK_EVERY_S = 0.02


@dataclass(frozen=True)
class _Waiting:
    """Processes that Ray has ready, and what they load meanwhile: a run would begin with that.

    Of 8.5 s from a launch to its first step it is 1.0 s that no more processes load than there are
    runs for them, on two cores.
    """

    processes: int
    load: str
    """Modules, with commas between them."""

    @classmethod
    def of(cls, *, with_train: bool, num_cpus: int, at_once: int) -> "_Waiting":
        """`train` has processes of several kinds. On a machine of many cores they would fill memory
        with what few of them need."""
        if not with_train:
            return cls(min(num_cpus, at_once), LOADED)
        return cls(num_cpus, "torch" if num_cpus <= MOST_CORES_WITH_TORCH else "")


class LocalRay:
    """Ray on this machine, which a thread starts: that is mostly waiting for processes, and a
    launch has other things to see to meanwhile."""

    def __init__(
        self,
        *,
        with_train: bool,
        num_cpus: int | None = None,
        gpus: HeldGpus | None = None,
        at_once: int | None = None,
    ) -> None:
        """Begin to start Ray.

        Args:
            with_train: Ray's dashboard is started too; it frees the resources of a Ray Train group
                whose controller was killed.
            num_cpus: default: the cores that this process may use.
            gpus: held for it, and released when it ends; default: what Ray finds.
            at_once: the most runs that will be under way together; default: one per core.
        """
        self.is_closed = False
        self._begun = threading.Event()
        self._runs = threading.Event()
        self._is_over = threading.Event()
        self._error: BaseException | None = None
        self._folders = contextlib.ExitStack()
        prepare_environment(local=True)
        folder = self._folders.enter_context(_session_folder())
        if gpus is not None:
            self._folders.callback(gpus.release)
        cores = num_cpus or usable_cores()
        waiting = _Waiting.of(with_train=with_train, num_cpus=cores, at_once=at_once or cores)
        options = (folder, with_train, cores, gpus, waiting)
        threading.Thread(target=self._start, args=options, name="ray", daemon=True).start()

    def wait_begun(self) -> None:
        """Return when others may use this process: the thread only waits for Ray's processes from
        now on, or could not start them. Before, whatever runs beside it makes it late."""
        self._begun.wait()

    def wait(self) -> None:
        """Return when Ray runs. Raises ClusterError."""
        self._runs.wait()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """End Ray and all that it has started."""
        if self.is_closed:
            return
        self._runs.wait()
        self.is_closed = True
        with contextlib.suppress(ImportError):  # `wait` has told it
            import ray

            ray.shutdown()
        self._is_over.set()
        self._folders.close()

    def _start(self, *options: Any) -> None:
        try:
            _start(self._begun.set, *options)
            importlib.import_module(SWEEP)
        except BaseException as error:  # told to whom waits for it
            self._error = error
        self._begun.set()
        self._runs.set()
        # The kernel ends Ray's processes with the thread that has started them.
        self._is_over.wait()


@contextlib.contextmanager
def _session_folder() -> Iterator[str]:
    """Folder for Ray's sockets and logs, named after this process; those of killed launchers are
    swept away.

    Socket paths are limited to 107 characters, so a long TMPDIR is not used.
    """
    place = Path(tempfile.gettempdir())
    place = place if len(str(place)) < LONG_PLACE else SHORT
    with temporary_folder("rml-ray-", place) as folder:
        # Ray opens its folder to everybody; the one around it is this user's alone.
        inner = folder / "r"
        inner.mkdir()
        yield str(inner)


def _start(
    tell: Callable[[], None],
    folder: str,
    with_train: bool,
    num_cpus: int,
    gpus: HeldGpus | None,
    waiting: _Waiting,
) -> None:
    """Start Ray, a second time if need be: it gives its own processes 30 s, which a busy machine
    can exceed. `tell` is called as soon as Ray only waits for them."""
    import ray

    # Where Ray was imported before its environment was prepared.
    ray._private.ray_constants.ENABLE_RAY_CLUSTER = False
    # Ray warns of a handler for SIGTERM that it cannot set in a thread: this launch has its own.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    for is_last in (False, True):
        try:
            with (
                _preloading(waiting.load),
                _with_little(tell, waiting.processes, with_dashboard=with_train),
                only_visible(gpus or HeldGpus()),
            ):
                ray.init(
                    address="local",
                    num_cpus=num_cpus,
                    num_gpus=None if gpus is None else len(gpus.names),
                    include_dashboard=with_train,
                    dashboard_host=LOOPBACK,
                    _temp_dir=folder,
                    job_config=job_config(),
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


@contextlib.contextmanager
def _preloading(modules: str) -> Iterator[None]:
    """Ray's processes load modules while they wait for their first call."""
    before = os.environ.get(PRELOAD)
    if modules:
        os.environ.setdefault(PRELOAD, modules)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(PRELOAD, None)


@contextlib.contextmanager
def _with_little(
    tell: Callable[[], None], num_waiting: int, *, with_dashboard: bool
) -> Iterator[None]:
    """Ray starts without what nothing here asks for: each of these processes takes half a second
    of a core while a launch waits for its first step.

    They are the monitor of the autoscaler, which this machine does not have; what sends the logs of
    workers to the driver, which we do not want; and, for which `ray.init` has no option either,
    where no dashboard is wanted its process and all but the frame of its agent. Of processes that
    wait for work it has `num_waiting` ready, not one per core.

    `tell` is called when the last process is on its way, after which Ray waits.
    """
    import ray

    node = ray._private.node.Node
    services = ray._private.services
    little: list[tuple[Any, str, Any]] = [
        (
            ray._private.parameter,
            "RayParams",
            functools.partial(
                ray._private.parameter.RayParams, include_log_monitor=False, no_monitor=True
            ),
        ),
        (services, "start_ray_process", _with_waiting(services.start_ray_process, num_waiting)),
        (services, "get_node", _soon(services.get_node, tell)),
    ]
    if not with_dashboard:
        little.append((node, "start_api_server", _no_dashboard))
        # Ray's way to a small agent: as if what the dashboard needs were not installed.
        little.append((ray._private.utils, "get_dashboard_dependency_error", lambda: "not wanted"))
    before = [(place, name, getattr(place, name)) for place, name, _ in little]
    try:
        for place, name, value in little:
            setattr(place, name, value)
        yield
    finally:
        for place, name, value in before:
            setattr(place, name, value)


def _with_waiting(start: Callable[..., Any], num_waiting: int) -> Callable[..., Any]:
    """In the place of `services.start_ray_process`."""

    def start_process(command: Sequence[str], *args: Any, **options: Any) -> Any:
        told = [f"{WAITING}{num_waiting}" if word.startswith(WAITING) else word for word in command]
        return start(told, *args, **options)

    return start_process


def _soon(get_node: Callable[[str, str], Any], tell: Callable[[], None]) -> Callable[..., Any]:
    """In the place of `services.get_node`, which looks once a second whether the node is there."""

    def get(gcs_address: str, node_id: str) -> Any:
        import ray

        tell()
        gcs = ray._raylet.GcsClient(address=gcs_address)
        until = time.monotonic() + REGISTERS_WITHIN_S
        while ray.NodeID.from_hex(node_id) not in gcs.get_all_node_info():
            if time.monotonic() > until:
                break  # Ray has a word for it
            time.sleep(LOOK_EVERY_S)
        return get_node(gcs_address, node_id)

    return get


def _no_dashboard(node: Any, **options: Any) -> None:
    """In the place of `Node.start_api_server`."""
    node._webui_url = ""
