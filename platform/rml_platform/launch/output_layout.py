"""Where a launch puts what it makes. Imports nothing heavy: every command's help reads it."""

from dataclasses import dataclass
from pathlib import Path

from rml_dashboards.contract.uris import has_secrets, without_secrets
from rml_trainers.errors import ConfigError

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
        if has_secrets(self.storage):
            raise ConfigError(
                f"storage {without_secrets(self.storage)}: a password in it would be written into "
                "the records of runs; give it to the storage's own client instead: AWS_PROFILE, or "
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for s3://, "
                "GOOGLE_APPLICATION_CREDENTIALS for gs://, on every node"
            )

    @property
    def artifacts(self) -> Path:
        return self.root / "mlartifacts"
