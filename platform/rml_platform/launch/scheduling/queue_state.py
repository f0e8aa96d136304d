"""What a running launch says of its queue, `launches/<launch id>.queue`: which runs wait, and why.
`rml status` reads it from any machine that reaches the storage.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rml_dashboards.contract.launches import LAUNCHES
from rml_dashboards.contract.launches import QUEUE_SUFFIX as SUFFIX
from rml_dashboards.contract.states import STALE_AFTER_S
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.storage import Folder
from rml_platform.run.task import Process

EVERY_S = 2.0
EVERY_REMOTE_S = 30.0


@dataclass(frozen=True, kw_only=True)
class QueueState:
    """The queue of one launch at one moment."""

    launch_id: str
    launcher: Process
    under_way: tuple[str, ...]
    """Ids of the runs that were handed out and have not ended."""
    waiting: dict[str, str]
    """Run id → why it waits, in the order in which they will be started."""
    time: float
    """Unix time of writing."""

    def is_alive(self, now: float) -> bool:
        """Whether its launch still runs: on this machine its process tells, on another the age of
        what it wrote."""
        is_gone = self.launcher.is_gone()
        return now - self.time < STALE_AFTER_S if is_gone is None else not is_gone


QUEUE_STATE = Codec[QueueState](QueueState)


@contextlib.contextmanager
def telling(
    storage: str, launch_id: str, state: Callable[[], tuple[tuple[str, ...], dict[str, str]]]
) -> Iterator[None]:
    """Write the queue of a launch down every few seconds while the context is open.

    Args:
        state: the runs under way, and why each of the others waits.
    """
    folder = Folder.open(storage).child(LAUNCHES)
    name = f"{launch_id}{SUFFIX}"

    def write() -> None:
        under_way, waiting = state()
        now = QueueState(
            launch_id=launch_id,
            launcher=Process.current(),
            under_way=under_way,
            waiting=waiting,
            time=time.time(),
        )
        folder.write(name, QUEUE_STATE.encode(now))

    try:
        with repeated(write, EVERY_S if folder.local else EVERY_REMOTE_S, "queue-state"):
            yield
    finally:
        with contextlib.suppress(OSError):  # what is left says nothing once its launch is gone
            folder.delete(name)


def queues(storage: str, now: float | None = None) -> list[QueueState]:
    """The queues of the launches that are running now."""
    folder = Folder.open(storage).child(LAUNCHES)
    now = time.time() if now is None else now
    found = []
    for name in folder.files():
        content = folder.read(name) if name.endswith(SUFFIX) else None
        if content is not None:
            with contextlib.suppress(DamagedFileError):  # another version's: nothing is known of it
                found.append(QUEUE_STATE.decode(content, f"{folder.path}/{name}"))
    return [state for state in found if state.is_alive(now)]
