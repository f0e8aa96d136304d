"""This version of the code, and its plug-ins, as Ray sends them along with a launch."""

import shutil
from collections.abc import Iterable
from pathlib import Path

from rml_platform.environment import package_folders
from rml_platform.plugins import module_of
from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import Plugin


def pack(folder: Path, plugins: Iterable[Plugin]) -> list[str]:
    """Copy the project's packages, as this process imports them, and plug-ins into a folder.

    Returns the paths of the copies, for `py_modules` of a runtime environment. Copies, because
    caches of bytecode would make another package of the same code.

    Raises:
        ConfigError: two plug-ins have one name, or one is not there any more.
    """
    sources = {source.name: source for source in package_folders().values()}
    for plugin in plugins:
        source = module_of(plugin)
        if sources.setdefault(source.name, source) != source:
            raise ConfigError(
                f"--ship: {sources[source.name]} and {source} have one name; rename one of them"
            )
    return [str(_copied(source, folder / name)) for name, source in sources.items()]


def _copied(source: Path, target: Path) -> Path:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    else:
        shutil.copyfile(source, target)
    return target
