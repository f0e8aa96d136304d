"""A thread that reads the next batches while the present one is trained on."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor

from rml_trainers.data.loading.batches import Batch


def read_ahead(
    make: Callable[[int], Batch], steps: range, num_ahead: int
) -> Generator[tuple[int, Batch], None, None]:
    """Yield (step, batch), read by a background thread: up to `num_ahead` batches are ready before
    they are needed, and one more is being read.

    An error while reading is raised where the batch was wanted; leaving the loop early stops the
    thread. With `num_ahead` 0 there is no thread.
    """
    if num_ahead == 0:
        for step in steps:
            yield step, make(step)
        return
    with ThreadPoolExecutor(1, "read-ahead") as thread:
        reading = deque[Future[Batch]]()
        unread = iter(steps)
        try:
            for step in steps:
                while len(reading) < num_ahead + 2 and (later := next(unread, None)) is not None:
                    reading.append(thread.submit(make, later))
                yield step, reading.popleft().result()
        finally:
            for future in reading:
                future.cancel()
