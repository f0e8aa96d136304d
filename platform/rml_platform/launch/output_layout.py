"""Where a launch puts what it makes. Imports nothing heavy: every command's help reads it."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_OUT = Path("outputs")


@dataclass(frozen=True, kw_only=True)
class OutputLayout:
    """Where everything goes."""

    root: Path
    """Prepared data (`cache/`), `mlflow.db`, `mlartifacts/` and tables (`studies/`)."""
    storage: str
    """Path or URI under which `runs/` lies; the same as `root` unless a cluster's nodes share
    another place."""

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"
