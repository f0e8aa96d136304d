"""Our own commands in processes of their own, whether or not they are installed."""

import os
import sys
from pathlib import Path

ROOT = Path(__file__).parents[4]
"""The checkout; commands run here, so that a study is named as a person names it."""
CLI = "from rml_platform.cli import main; main()"


def rml(*words: str) -> list[str]:
    """A process that is `rml` with these words."""
    return [sys.executable, "-c", CLI, *words]


def environment() -> dict[str, str]:
    """That of this process, with this checkout's packages where none is installed."""
    rooms = [str(ROOT / room) for room in ("platform", "trainers", "dashboards")]
    rooms += [str(ROOT / "tests" / "benchmarks"), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, rooms))}
