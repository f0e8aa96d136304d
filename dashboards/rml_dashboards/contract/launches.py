"""What launches and people leave beside plans and runs: queues, and what is asked of a study's
runs."""

from rml_dashboards.contract.study_plan import file_suffix

LAUNCHES = "launches"
"""Folder, below the storage, of what running launches say of themselves."""
QUEUE_SUFFIX = ".queue"
"""Of the file `launches/<launch id>.queue`: `under_way`, the ids of runs that were handed out;
`waiting`, run id → why it waits, in the order in which they will be started; `time` of writing."""
CANCELLED = "cancelled"
"""Why a run that somebody has cancelled is not started."""
STARTING = "starting"
"""Why a run that was handed out and has not begun waits."""


def wishes_file(profile: str | None) -> str:
    """Name of the file in a study's folder that says what people ask of its runs: `cancelled`, ids
    of runs that are not to be started; `priorities`, row → `priority`, and `instead_of`, what the
    study's file said when it was given."""
    return f"wishes{file_suffix(profile)}.json"
