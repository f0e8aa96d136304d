"""A grid that several files look at."""

import os
from pathlib import Path

import pytest

from tests.support.dashboards.live_grid import LiveGrid, all_new, one_of_each


@pytest.fixture(scope="session")
def ten_thousand(tmp_path_factory: pytest.TempPathFactory) -> LiveGrid:
    """A hundred rows, two columns, fifty seeds; of five runs two are done, two at work, one has not
    begun. Their files are links to those of two runs."""
    folder = tmp_path_factory.mktemp("ten-thousand")
    rows = [f"row {number}" for number in range(100)]
    big = LiveGrid.make(folder / "big", rows=rows, num_seeds=50, state_of=all_new)
    models = LiveGrid.make(folder / "models", state_of=one_of_each)
    files = {
        state: sorted(models.folder(run_id).iterdir())
        for state, run_id in (("done", "grid-0-0-0"), ("running", "grid-0-0-2"))
    }
    for number, (*_, run_id) in enumerate(big.cells()):
        if number % 5:
            own = big.folder(run_id)
            own.mkdir(parents=True)
            for file in files["done" if number % 2 else "running"]:
                os.link(file, own / Path(file).name)
    return big
