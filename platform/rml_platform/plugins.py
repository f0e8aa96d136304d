"""Loading of plug-ins: methods, networks, data sets and metrics from outside the repository.

A plug-in adds entries to the dictionaries that the project's own stand in, when it is imported:

    from rml_trainers.methods import METHODS
    METHODS["mine"] = …

`--plugin MODULE` and `RML_PLUGINS` load one into the process of a command. A run that uses it takes
its location along to the processes of Ray, and the hash of its content into its id.
"""

import hashlib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

from rml_trainers.errors import ConfigError
from rml_trainers.settings.plugins import LOADED, Entry, Kind, Plugin

VARIABLE = "RML_PLUGINS"
"""Plug-ins of every command, separated as in PATH."""
SHIPPED = "RML_SHIPPED"
"""Set to 1 where plug-ins came along with the code, and are found by their names."""
IF_IT_IS_OUTSIDE = f"if it lives in a plug-in, give --plugin MODULE or set {VARIABLE}"
"""For every message about a name that is not known."""
Registries = Mapping[Kind, dict[str, Any]]


def load_plugins(given: Iterable[str]) -> None:
    """Load the plug-ins of RML_PLUGINS and then those that are given, each once.

    Raises:
        ConfigError: one cannot be imported, adds nothing, or takes a name that exists; names it.
    """
    for location in _asked_for(given):
        load_plugin(location)


def content_hashes(given: Iterable[str]) -> set[str]:
    """Hashes of the contents of the plug-ins that `load_plugins` would load, none of which is
    imported. Raises ConfigError where one is not there."""
    return {_content_hash(_files(_path(location), location)) for location in _asked_for(given)}


def hash_here(plugin: Plugin) -> str:
    """Hash of the content that `load_again` would import here for a plug-in that another process
    loaded. Raises ConfigError where there is none."""
    location = plugin.name if os.environ.get(SHIPPED) == "1" else plugin.location
    return _content_hash(_files(_path(location), location))


def module_of(plugin: Plugin) -> Path:
    """What has to be in PYTHONPATH for a plug-in of this process to be found by its name: its file,
    or the folder of the package that it is in. Raises ConfigError where it is not there any
    more."""
    path = _path(plugin.location)
    return path if path is not None else _found(plugin.name.partition(".")[0])


def _asked_for(given: Iterable[str]) -> list[str]:
    of_environment = os.environ.get(VARIABLE, "").split(os.pathsep)
    return [location for location in (*of_environment, *given) if location]


def load_plugin(location: str) -> Plugin:
    """Import a plug-in, unless this process has it already.

    Args:
        location: dotted name of a module that Python finds, or path of a `.py` file or of a package
            folder (a text with a separator in it, or ending in `.py`, is a path).
    Raises:
        ConfigError: as `load_plugins`. What a plug-in that is refused has added is taken back.
    """
    path = _path(location)
    location = location if path is None else str(path)
    if location in LOADED:
        return LOADED[location]
    files = _files(path, location)
    dictionaries = registries()
    before = {kind: dict(entries) for kind, entries in dictionaries.items()}
    modules = set(sys.modules)
    content = _content_hash(files)
    try:
        module = _import(location, path)
        entries = _added(location, before, dictionaries)
    except ConfigError:
        for kind, known in dictionaries.items():
            known.clear()
            known.update(before[kind])
        for name in set(sys.modules) - modules:
            if _is_of(sys.modules[name], files):
                del sys.modules[name]
        raise
    plugin = Plugin(name=module.__name__, location=location, hash=content, entries=entries)
    LOADED[location] = plugin
    return plugin


def load_again(plugins: Iterable[Plugin]) -> None:
    """Load in this process what another one planned a run with.

    Raises:
        ConfigError: as `load_plugins`; or a plug-in has another content by now, or on this machine.
    """
    is_shipped = os.environ.get(SHIPPED) == "1"
    for planned in plugins:
        here = load_plugin(planned.name if is_shipped else planned.location)
        if here.hash != planned.hash:
            raise ConfigError(
                f"plug-in {planned.location}: its content is {here.hash}, the run was planned with "
                f"{planned.hash}; it was changed meanwhile, or differs on this machine. Launch "
                "again"
            )


def require_loaded(plugins: Iterable[Plugin], what: str) -> None:
    """Check that this process can read the configuration of `what`, a run that is recorded.

    Nothing is imported from a place that a recorded file names: that is for a person to decide.

    Raises:
        ConfigError: a plug-in that it was trained with is not loaded; says how to load it.
    """
    entries = {entry for plugin in LOADED.values() for entry in plugin.entries}
    for plugin in plugins:
        needed = {entry for entry in plugin.entries if entry[0] != "metric"}
        if not needed <= entries:
            raise ConfigError(
                f"{what} was trained with the plug-in {plugin.name} (content {plugin.hash}), which "
                f"is not loaded: give --plugin {plugin.location} or set {VARIABLE}"
            )


def registries() -> Registries:
    """The dictionaries that a plug-in may add to, by kind."""
    from rml_trainers.data import DATASETS
    from rml_trainers.methods import METHODS
    from rml_trainers.networks import NETWORKS
    from rml_trainers.scoring.metrics import METRICS

    return {"method": METHODS, "network": NETWORKS, "data": DATASETS, "metric": METRICS}


def _path(location: str) -> Path | None:
    """Absolute path of a file or folder; None for the dotted name of a module."""
    is_path = location.endswith(".py") or os.sep in location
    return Path(location).expanduser().resolve() if is_path else None


def _files(path: Path | None, location: str) -> tuple[Path, ...]:
    """The Python files of a module or package. Raises ConfigError where there is none."""
    root = path if path is not None else _found(location)
    if root.is_dir() and (root / "__init__.py").is_file():
        return tuple(root.rglob("*.py"))
    if root.suffix == ".py" and root.is_file():
        return (root,)
    is_folder = root.is_dir()
    reason = "no __init__.py in this folder" if is_folder else "no such file or package folder"
    raise ConfigError(f"plug-in {location}: {reason}")


def _found(name: str) -> Path:
    """File, or folder for a package, of a module that Python finds by its dotted name."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError) as error:
        raise ConfigError(f"plug-in {name}: {error}") from error
    if spec is None or spec.origin is None:
        raise ConfigError(
            f"plug-in {name}: no module of this name is installed or in PYTHONPATH; a file or "
            f"folder is given by its path (./{name.replace('.', '/')})"
        )
    return Path(spec.origin).parent if spec.submodule_search_locations else Path(spec.origin)


def _content_hash(files: Iterable[Path]) -> str:
    """Over the content alone: the files may be renamed, moved and listed in any order."""
    contents = sorted(hashlib.sha256(file.read_bytes()).digest() for file in files)
    return hashlib.sha256(b"".join(contents)).hexdigest()[:12]


def _import(location: str, path: Path | None) -> ModuleType:
    try:
        return importlib.import_module(location) if path is None else _import_path(path)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # whatever a stranger's module may raise
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise ConfigError(
            f"plug-in {location} cannot be imported: {type(error).__name__}: {error} "
            f"({where.filename}:{where.lineno})"
        ) from error


def _import_path(path: Path) -> ModuleType:
    """Import a file or package folder under its own name, as if its folder were in PYTHONPATH."""
    file = path / "__init__.py" if path.is_dir() else path
    name = path.stem
    if not name.isidentifier():
        raise ConfigError(f"plug-in {path}: {name!r} cannot be the name of a module; rename it")
    other = importlib.util.find_spec(name)
    if other is not None and (other.origin is None or Path(other.origin).resolve() != file):
        raise ConfigError(
            f"plug-in {path}: another module is called {name!r} ({other.origin}); rename the "
            "plug-in"
        )
    folders = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=folders)
    assert spec is not None and spec.loader is not None, "the file is there and ends in .py"
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def _added(
    location: str, before: Mapping[Kind, Mapping[str, Any]], after: Registries
) -> tuple[Entry, ...]:
    """What an import added. Raises ConfigError when that is nothing, or something was replaced."""
    entries = list[Entry]()
    for kind in get_args(Kind):
        known = before[kind]
        now = after[kind]
        replaced = sorted(name for name, entry in known.items() if now.get(name) is not entry)
        if replaced:
            noun = "data set" if kind == "data" else kind
            raise ConfigError(
                f"plug-in {location} registers the {noun} {replaced[0]!r}, which exists already; "
                "give it another name"
            )
        entries += [(kind, name) for name in sorted(now.keys() - known.keys())]
    if not entries:
        raise ConfigError(
            f"plug-in {location} adds nothing to METHODS, NETWORKS, DATASETS or METRICS (if "
            "another plug-in imports it, give this one before that)"
        )
    return tuple(entries)


def _is_of(module: ModuleType, files: Iterable[Path]) -> bool:
    origin = getattr(module, "__file__", None)
    return origin is not None and Path(origin).resolve() in files
