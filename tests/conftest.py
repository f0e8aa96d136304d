"""Fixtures that several kinds of test share."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from tests.support.tiny import SCENES


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    """Ten 32×48 training scenes and three for validation, prepared once."""
    return ensure_prepared(SCENES, None, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def single_thread() -> Iterator[None]:
    """Small tensors are faster on one thread, and results do not depend on the number of cores."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A work folder for a trainer."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder
