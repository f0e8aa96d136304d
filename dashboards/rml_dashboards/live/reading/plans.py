"""The plans of studies, read anew when their files change."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyarrow import ArrowException, fs

from rml_dashboards.contract.freshness import ReadFiles
from rml_dashboards.contract.planned import StudyPlan
from rml_dashboards.contract.study_plan import STUDIES
from rml_dashboards.contract.uris import without_secrets
from rml_dashboards.errors import DashboardError
from rml_dashboards.studies.plan import plan_of_json

_BEGIN = "plan"
_END = ".json"


@dataclass(frozen=True, kw_only=True)
class ShownStudy:
    """A study with the key that it has in addresses."""

    key: str
    """`<study>`, or `<study>:<profile>`."""
    plan: StudyPlan


class PlanFolder:
    """Plans below `studies/` of an output folder and of a storage; of two of one study the one
    written later counts."""

    def __init__(self, places: Sequence[str], wanted: Sequence[str] = ()) -> None:
        """`wanted`: keys or names of studies to show; without any, all that there are."""
        self._places = [_open(place) for place in dict.fromkeys(places)]
        self._wanted = frozenset(wanted)
        self._files = ReadFiles()

    def read(self) -> tuple[dict[str, ShownStudy], tuple[str, ...]]:
        """Studies by key, in order of their names, and what is wrong with files that are no plans.

        Raises:
            DashboardError: a place cannot be read at all.
        """
        found: dict[str, ShownStudy] = {}
        problems = []
        for filesystem, root in self._places:
            for info in _plan_files(filesystem, root):
                content = self._plan(filesystem, info)
                if isinstance(content, str):
                    problems.append(content)
                    continue
                name = content.name
                key = name if content.profile is None else f"{name}:{content.profile}"
                if self._wanted and not self._wanted & {key, name}:
                    continue
                known = found.get(key)
                if known is None or known.plan.written_at < content.written_at:
                    found[key] = ShownStudy(key=key, plan=content)
        return dict(sorted(found.items())), tuple(problems)

    def _plan(self, filesystem: Any, info: Any) -> StudyPlan | str:
        try:
            return self._files.content(
                info.path, info.size, info.mtime_ns, lambda: _read(filesystem, info.path)
            )
        except FileNotFoundError:
            return f"{info.path} has gone"
        except (ArrowException, OSError) as error:
            return without_secrets(f"{info.path} cannot be read: {error}")


def _open(place: str) -> tuple[Any, str]:
    text = place if "://" in place else str(Path(place).resolve())
    try:
        filesystem, path = fs.FileSystem.from_uri(text)
    except (ArrowException, OSError, ValueError) as error:
        raise DashboardError(without_secrets(f"{place} cannot be opened: {error}")) from error
    return filesystem, f"{path.rstrip('/')}/{STUDIES}"


def _plan_files(filesystem: Any, root: str) -> list[Any]:
    try:
        folders = filesystem.get_file_info(fs.FileSelector(root, allow_not_found=True))
        files = []
        for folder in sorted(folders, key=lambda info: str(info.base_name)):
            if folder.type == fs.FileType.Directory and not folder.base_name.startswith("."):
                selected = fs.FileSelector(folder.path, allow_not_found=True)
                files += filesystem.get_file_info(selected)
    except (ArrowException, OSError) as error:
        raise DashboardError(without_secrets(f"{root} cannot be read: {error}")) from error
    return [info for info in files if info.type == fs.FileType.File and _is_plan(info.base_name)]


def _is_plan(name: str) -> bool:
    return name == f"{_BEGIN}{_END}" or (name.startswith(f"{_BEGIN}-") and name.endswith(_END))


def _read(filesystem: Any, path: str) -> StudyPlan | str:
    try:
        with filesystem.open_input_stream(path) as stream:
            return plan_of_json(stream.read(), path)
    except DashboardError as error:
        return str(error)
