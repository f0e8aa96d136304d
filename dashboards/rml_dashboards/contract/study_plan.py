"""The file of a study's plan, `studies/<study>/plan.json`, below an output folder or a storage.

The platform writes it (`rml plan`, `rml launch`) and goes by it; `rml_dashboards.studies` reads of
it what tables and figures need.
"""

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
