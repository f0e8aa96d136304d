"""Where a launch puts what it makes. Imports nothing heavy: every command's help reads it."""

from dataclasses import dataclass
from pathlib import Path

from rml_platform.run.files.reaching import check_no_secret

DEFAULT_OUT = Path("outputs")


@dataclass(frozen=True, kw_only=True)
class OutputLayout:
    """Where everything goes."""

    root: Path
    """Prepared data (`cache/`), `mlflow.db`, `mlartifacts/` and tables (`studies/`)."""
    storage: str
    """Path or URI under which `runs/` lies; the same as `root` unless a cluster's nodes share
    another place."""

    def __post_init__(self) -> None:
        check_no_secret(self.storage)

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"
