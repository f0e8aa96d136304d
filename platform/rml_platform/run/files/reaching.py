"""Whether a storage can be reached, asked before anything is begun. Imports nothing heavy until it
asks: the help of every command reads it."""

from datetime import timedelta
from typing import Any

from rml_dashboards.contract.uris import has_secrets, without_secrets
from rml_trainers.errors import ConfigError

ANSWERS_WITHIN_S = 10
TRIES = 2
"""pyarrow's own patience is minutes, which is right during a run."""
CREDENTIALS = (
    "AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, for s3://, "
    "GOOGLE_APPLICATION_CREDENTIALS for gs://"
)


def check_no_secret(storage: str) -> None:
    """Raise ConfigError for a storage that holds a password: it would be written into records."""
    if has_secrets(storage):
        raise ConfigError(
            f"storage {without_secrets(storage)}: a password in it would be written into the "
            "records of runs; give it to the storage's own client instead: "
            f"{CREDENTIALS}, on every node"
        )


def check_storage(storage: str, *, is_written: bool) -> None:
    """Look at a storage that is given as a URI, within seconds.

    Args:
        is_written: its folder is made where it is missing.
    Raises:
        ConfigError: it holds a password, is of a kind that pyarrow does not know, or cannot be
            reached, or not be written to; says in one sentence which one, why, and what to do.
    """
    check_no_secret(storage)
    if "://" not in storage:
        return
    import pyarrow
    from pyarrow import fs

    from rml_platform.run.storage import Folder

    try:
        folder = Folder.open(storage)
        filesystem = _impatient(folder.filesystem)
        is_there = filesystem.get_file_info(folder.path).type == fs.FileType.Directory
        if is_written and not is_there:
            filesystem.create_dir(folder.path, recursive=True)
    except (OSError, pyarrow.ArrowException) as error:
        raise ConfigError(
            f"storage {without_secrets(storage)} cannot be "
            f"{'reached and written to' if is_written else 'reached'} "
            f"({without_secrets(_reason(error))}): correct --storage, or see to its server and to "
            f"the credentials in the environment ({CREDENTIALS})"
        ) from error


def _impatient(filesystem: Any) -> Any:
    """The same file system, which gives up sooner."""
    from pyarrow import fs

    soon: dict[str, Any]
    if filesystem.type_name == "s3":
        soon = {
            "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=TRIES),
            "connect_timeout": ANSWERS_WITHIN_S / TRIES,
            "request_timeout": ANSWERS_WITHIN_S / TRIES,
        }
    elif filesystem.type_name == "gcs":
        soon = {"retry_time_limit": timedelta(seconds=ANSWERS_WITHIN_S)}
    else:
        return filesystem
    make, (options,) = filesystem.__reduce__()
    return make({**options, **soon})


def _reason(error: Exception) -> str:
    """The part of an error that a person needs: S3 and Google's client say the cause last, and Java
    every place that it looked at."""
    first, *_ = str(error).splitlines() or [type(error).__name__]
    for before in ("Details: ", "message was: "):
        first = first.rpartition(before)[2]
    return first.partition(" error_info=")[0].rstrip(".})")
