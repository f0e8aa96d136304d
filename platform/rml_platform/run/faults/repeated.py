"""Work that is repeated beside something else, in a thread of its own."""

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator

_logger = logging.getLogger(__name__)


@contextlib.contextmanager
def repeated(
    work: Callable[[], None],
    pause_s: float,
    name: str,
    on_note: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Call a function every `pause_s` seconds in a thread of this name while the context is open;
    nothing of it is under way any more when the context is left.

    Whatever it raises, it is called again the next time: what it does is needed for as long as the
    context is open. A storage that is away for a moment (OSError) is not worth a word; any other
    error is told once for each type.

    Args:
        on_note: is told; default: the log, with the traceback.
    """
    stop = threading.Event()
    told = set[type[Exception]]()

    def tell(error: Exception) -> None:
        if type(error) in told:
            return
        told.add(type(error))
        text = f"{name}: {type(error).__name__}: {error}; it is tried again"
        if on_note is None:
            _logger.warning("%s", text, exc_info=error)
        else:
            on_note(text)

    def repeat() -> None:
        while not stop.wait(pause_s):
            try:
                with contextlib.suppress(OSError):
                    work()
            except Exception as error:
                tell(error)

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
