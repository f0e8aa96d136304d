"""Tests of the faults share a round in which nothing happens."""

from pathlib import Path

import pytest

from rml_platform.chaos.arena import Arena
from rml_platform.chaos.grounds import OnThisMachine


@pytest.fixture
def idle_arena(tmp_path: Path) -> Arena:
    """One process without Ray, one run of ten steps, `run-1`, and no launch."""
    return Arena(
        study=tmp_path / "study.yaml",
        options=(),
        folder=tmp_path,
        temporary=tmp_path,
        steps={"run-1": 10},
        grounds=OnThisMachine("process"),
        tracking_uri="none",
    )
