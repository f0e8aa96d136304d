"""Work that is repeated beside something else, in a thread of its own."""

import contextlib
import logging
import math
import threading
from collections.abc import Callable, Iterator

from rml_platform.run.faults.outages import is_outage, patience_s

A_MOMENT_S = 1.0
"""What work gets to come to its end even when all patience is used up."""
_logger = logging.getLogger(__name__)
_own = threading.local()
"""In a thread of `repeated`, its event `is_left`."""


class NoLongerNeeded(Exception):
    """Whoever repeats this work has left its context."""


def check_needed() -> None:
    """To be called by work that waits for long. Raises NoLongerNeeded in a thread of `repeated`
    whose context is being left; does nothing in any other."""
    is_left: threading.Event | None = getattr(_own, "is_left", None)
    if is_left is not None and is_left.is_set():
        raise NoLongerNeeded


@contextlib.contextmanager
def repeated(
    work: Callable[[], None],
    pause_s: float,
    name: str,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Call a function every `pause_s` seconds in a thread of this name while the context is open;
    nothing of it is under way any more when the context is left. Only where somebody has stopped
    the launch, work that does not come back is left behind after a while (`patience_s`).

    Whatever it raises, it is called again the next time: what it does is needed for as long as the
    context is open. A storage that is away for a while is not worth a word; any other error is told
    once for each type.

    Args:
        on_note: is told; default: the log, with the traceback.
    """
    is_left = threading.Event()
    is_left_behind = threading.Event()
    told = set[type[Exception]]()

    def tell(error: Exception) -> None:
        if type(error) in told or is_left_behind.is_set():
            return
        told.add(type(error))
        text = f"{name}: {type(error).__name__}: {error}; it is tried again"
        if on_note is None:
            _logger.warning("%s", text, exc_info=error)
        else:
            on_note(text)

    def repeat() -> None:
        _own.is_left = is_left
        while not is_left.wait(pause_s):
            try:
                with contextlib.suppress(NoLongerNeeded):
                    work()
            except Exception as error:
                if not (isinstance(error, OSError) and is_outage(str(error))):
                    tell(error)

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_left.set()
        left_s = patience_s()
        thread.join(None if math.isinf(left_s) else max(A_MOMENT_S, left_s))
        is_left_behind.set()
