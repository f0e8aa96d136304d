"""Libraries are loaded, and left, without a search for cycles among them."""

import gc
import subprocess
import sys

import pytest

from rml_trainers.runtime import loading as module
from rml_trainers.runtime.loading import loading


@pytest.mark.parametrize("is_enabled", [True, False])
def test_there_is_no_search_while_libraries_are_loaded_and_then_as_before(
    is_enabled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    spared: list[str] = []
    monkeypatch.setattr(module, "spare_what_is_loaded", spared.append)
    before = gc.isenabled()
    try:
        (gc.enable if is_enabled else gc.disable)()
        with pytest.raises(ImportError), loading():
            assert not gc.isenabled()
            raise ImportError("no such library")
        assert (gc.isenabled(), spared) == (is_enabled, ["loaded"])
    finally:
        (gc.enable if before else gc.disable)()


WAITING = """
import gc, sys
import rml_platform.launch.on_ray.waiting_process
print(gc.isenabled(), gc.get_freeze_count() > 100_000)
print(sorted({"torch", "timm", "ray.tune"} & sys.modules.keys()))
"""


def test_a_waiting_process_has_what_a_run_begins_with_and_leaves_it_alone() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WAITING], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["True True", "['ray.tune', 'timm', 'torch']"]
