"""The file of a study's plan, `studies/<study>/plan.json`, below an output folder or a storage.

The platform writes it (`rml plan`, `rml launch`) and goes by it; `rml_dashboards.studies` reads of
it what tables and figures need.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

STUDIES = "studies"
"""Folder of the studies, each with its plan, tables and figures."""
FORMAT = 1
"""Version of the file's format; raised whenever an older program would misread a newer file."""


def plan_file_name(profile: str | None) -> str:
    """Name of the plan in the study's folder; every size of the study has one of its own."""
    return f"plan{file_suffix(profile)}.json"


def plan_file(study: str, profile: str | None) -> str:
    """Path of the plan below an output folder or storage."""
    return f"{STUDIES}/{study}/{plan_file_name(profile)}"


def file_suffix(profile: str | None) -> str:
    """What the names of a study's files end with: another size has files of its own."""
    return "" if profile is None else f"-{profile}"


NAMED_FILES = ("publications", "imports")
"""Keys of a study file that name files of numbers; what is in these belongs to the study."""


def source_hash(content: bytes, study_file: Path, values: Mapping[str, object]) -> str:
    """sha256 of a study file and of the files of numbers that it names.

    Args:
        values: what the study file says. A named file that is not there counts as empty: who reads
            it says so.
    """
    found = hashlib.sha256(content)
    for key in NAMED_FILES:
        names = values.get(key)
        for name in names if isinstance(names, list | tuple) else ():
            path = study_file.parent / str(name)
            own = path.read_bytes() if path.is_file() else b""
            found.update(hashlib.sha256(own).digest())
    return found.hexdigest()
