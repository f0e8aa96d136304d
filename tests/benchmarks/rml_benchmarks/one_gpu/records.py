"""Archives of records that are never replaced by poorer ones. Knows no platform: the machine that
reads an archive here may have none of what that needs."""

import io
import itertools
import shutil
import zipfile
from pathlib import Path

RUNS = "runs/"
INNER = "records.zip"
"""The one entry of an archive, a zip file of the records."""


def runs_in(archive: Path) -> set[str]:
    """Ids of the runs that an archive has records of.

    Raises:
        zipfile.BadZipFile: it is no archive, or it is damaged.
    """
    with zipfile.ZipFile(archive) as outer:
        names = outer.namelist()
        if names == [INNER]:
            with zipfile.ZipFile(io.BytesIO(outer.read(INNER))) as inner:
                names = inner.namelist()
    return {name.split("/")[1] for name in names if name.startswith(RUNS)}


def put(fresh: Path, archive: Path) -> Path:
    """Lay a fresh archive in the place of another, as a whole or not at all; where that one has
    runs that this one lacks, or cannot be read, beside it under a name with a number.

    Returns:
        Where it lies now.
    Raises:
        zipfile.BadZipFile: the fresh one is no archive, or it is damaged.
        OSError: it cannot be written there.
    """
    runs = runs_in(fresh)
    for number in itertools.count(1):
        numbered = f"{archive.stem}-{number}{archive.suffix}"
        place = archive if number == 1 else archive.with_name(numbered)
        if not place.exists() or _has_no_more_than(runs, place):
            break
    temporary = place.with_name(f".{place.name}.tmp")
    try:
        shutil.copyfile(fresh, temporary)
        temporary.replace(place)
    finally:
        temporary.unlink(missing_ok=True)
    return place


def _has_no_more_than(runs: set[str], archive: Path) -> bool:
    try:
        return runs_in(archive) <= runs
    except (zipfile.BadZipFile, OSError):
        return False
