"""Work that is repeated beside something else, in a thread of its own."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(work: Callable[[], None], pause_s: float, name: str) -> Iterator[None]:
    """Call a function every `pause_s` seconds in a thread of this name while the context is open;
    nothing of it is under way any more when the context is left.

    A storage that is away for a moment (OSError) is asked again the next time. Any other error ends
    the thread, and Python tells it on standard error.
    """
    stop = threading.Event()

    def repeat() -> None:
        while not stop.wait(pause_s):
            with contextlib.suppress(OSError):
                work()

    thread = threading.Thread(target=repeat, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
