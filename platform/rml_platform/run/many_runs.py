"""How many runs stand, read from one storage with as few requests as can be."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from rml_dashboards.contract.run_folder import RUNS
from rml_platform.run.run_folder import RunFolder, RunRecord
from rml_platform.run.storage import Folder

REQUESTS_AT_ONCE = 32
"""Of a storage that is not this machine's: each of its answers takes milliseconds to come."""


def records_of(
    storage: str, run_ids: Iterable[str], now: float | None = None
) -> dict[str, RunRecord]:
    """State of every run by its id, in the given order.

    One listing of `<storage>/runs` tells which runs there are; each of those takes one listing and
    the files that are there. `now` is the Unix time to judge heartbeats by.
    """
    runs = Folder.open(storage).child(RUNS)
    wanted = tuple(dict.fromkeys(run_ids))
    begun = set(runs.folders()).intersection(wanted)
    now = time.time() if now is None else now
    folders = {run_id: RunFolder(runs.child(run_id)) for run_id in wanted if run_id in begun}
    if runs.local:
        found = {run_id: folder.record(now) for run_id, folder in folders.items()}
    else:
        with ThreadPoolExecutor(REQUESTS_AT_ONCE) as pool:
            records = pool.map(lambda folder: folder.record(now), folders.values())
            found = dict(zip(folders, records, strict=True))
    return {run_id: found.get(run_id) or RunRecord(state="new") for run_id in wanted}
