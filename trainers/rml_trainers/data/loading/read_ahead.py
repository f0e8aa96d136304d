"""A thread that reads the next batches while the present one is trained on."""

import queue
import threading
from collections.abc import Callable, Generator

from rml_trainers.data.loading.batches import Batch


def read_ahead(
    make: Callable[[int], Batch], steps: range, num_ahead: int
) -> Generator[tuple[int, Batch], None, None]:
    """Yield (step, batch), read by a background thread up to `num_ahead` batches before they are
    needed.

    An error while reading is raised where the batch was wanted; leaving the loop early stops the
    thread. With `num_ahead` 0 there is no thread.
    """
    if num_ahead == 0:
        for step in steps:
            yield step, make(step)
        return
    ready: queue.Queue[tuple[int, Batch | BaseException]] = queue.Queue(maxsize=num_ahead)
    stopped = threading.Event()
    thread = threading.Thread(
        target=_read, args=(make, steps, ready, stopped), name="read-ahead", daemon=True
    )
    thread.start()
    try:
        for _ in steps:
            step, batch = ready.get()
            if isinstance(batch, BaseException):
                raise batch
            yield step, batch
    finally:
        stopped.set()
        thread.join()


def _read(
    make: Callable[[int], Batch],
    steps: range,
    ready: "queue.Queue[tuple[int, Batch | BaseException]]",
    stopped: threading.Event,
) -> None:
    """Body of the thread: hands over batches, or the first error, until it is told to stop."""
    for step in steps:
        item: tuple[int, Batch | BaseException]
        try:
            item = (step, make(step))
        except BaseException as error:  # handed to the consumer, who raises it
            item = (step, error)
        while not stopped.is_set():
            try:
                ready.put(item, timeout=0.1)
                break
            except queue.Full:
                continue
        if stopped.is_set() or isinstance(item[1], BaseException):
            return
