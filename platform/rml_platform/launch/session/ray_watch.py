"""Whether the Ray of a launch lives: Tune would wait for ever for the runs of one that died."""

import os
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from rml_platform.launch.session.errors import ClusterLostError
from rml_platform.launch.stop_signals import interrupt_main_thread, signal_that_came
from rml_platform.run.files.temporary import remove_open

WATCH_EVERY_S = 1.0
LEAVE_AFTER_S = 10.0
PROBE_TIMEOUT_S = 5.0
LOST_AFTER_S = 30.0
"""How long the head of a cluster may not answer: its own processes give up after 60 s, and take
this one with them without a word that a person could use."""
LONGEST_GAP_S = 2 * PROBE_TIMEOUT_S
"""Between two probes at most so much counts as silence: a machine that stood still asked nobody."""


def what_died() -> str:
    """What a person has to know of the local Ray: empty while its own processes live."""
    import ray

    node = ray._private.worker._global_node
    dead = [] if node is None else [kind for kind, _ in node.dead_processes()]
    parts = sorted({"gcs_server", "raylet"}.intersection(dead))
    if not parts:
        return ""
    return (
        f"Ray died on this machine ({' and '.join(parts)}; memory full?); nothing is lost, launch "
        "again"
    )


class HeadProbe:
    """Asks the head of a cluster for a sign of life."""

    def __init__(self) -> None:
        self._silent_s = 0.0
        self._asked_s = time.monotonic()

    def what_is_lost(self) -> str:
        """Empty unless the head has not answered for too long."""
        import ray

        client = ray._private.worker.global_worker.gcs_client
        try:
            client.internal_kv_exists(b"rml", b"rml", PROBE_TIMEOUT_S)
        except Exception:  # Ray raises RpcError, RaySystemError and others of its own
            now_s = time.monotonic()
            self._silent_s += min(now_s - self._asked_s, LONGEST_GAP_S)
            self._asked_s = now_s
            if self._silent_s > LOST_AFTER_S:
                return (
                    f"the head of the Ray cluster has not answered for {self._silent_s:.0f} s; "
                    "nothing is lost, launch again when it is back"
                )
        else:
            self._asked_s = time.monotonic()
            self._silent_s = 0.0
        return ""


class RayWatch:
    """Ends the launch when Ray died under it: Tune would wait for its runs for ever.

    The main thread is interrupted first. Where it is inside a call of Ray that will never return to
    Python, the process is ended instead: everything that a launch knows is in the run folders.
    """

    def __init__(self, look: Callable[[], str]) -> None:
        self.found_lost = ""
        self.stop = threading.Event()
        self._look = look
        threading.Thread(target=self._watch, name="ray-watch", daemon=True).start()

    def _watch(self) -> None:
        while not self.stop.wait(WATCH_EVERY_S):
            lost = self._look()
            if lost and not self.stop.is_set():
                came = signal_that_came()
                if came is None:
                    self.found_lost = lost
                    interrupt_main_thread()
                # Otherwise Ray got the same signal as this process, which is on its way out.
                if not self.stop.wait(LEAVE_AFTER_S):
                    _leave(lost, ClusterLostError.exit_code if came is None else 128 + came)
                return


def _leave(lost: str, exit_code: int) -> NoReturn:
    """End this process and what is left of its Ray without the main thread."""
    import ray

    sys.stdout.write("\x1b[?25h" if sys.stdout.isatty() else "")  # the live view hides the cursor
    sys.stdout.flush()
    sys.stderr.write(f"rml: {lost}\n")
    sys.stderr.flush()
    node = ray._private.worker._global_node
    if node is not None:
        node.kill_all_processes(check_alive=False, allow_graceful=False)
    remove_open()
    os._exit(exit_code)
