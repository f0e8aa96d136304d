"""One recorded run as it was read, whatever it was read from."""

from dataclasses import dataclass

from rml_dashboards.contract.states import Status


@dataclass(frozen=True, kw_only=True)
class RecordedRun:
    """One run of a tracker, or of a run's folder."""

    mlflow_run_id: str = ""
    """Empty where the run was read from its folder."""
    experiment_id: str = ""
    experiment: str
    status: Status
    deleted: bool = False
    start_ms: int
    """Milliseconds since 1970, UTC."""
    end_ms: int | None
    tags: dict[str, str]
    """Only those that begin with `rml.`."""
    scores: dict[str, float]
    """Last value of every metric, by its true key."""
