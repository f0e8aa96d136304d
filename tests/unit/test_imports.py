"""Imports run one way: no circle between modules, and a room knows those before it only.

Imports inside functions and for type checkers count like all others.
"""

import ast
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "rml_trainers": ROOT / "trainers" / "rml_trainers",
    "rml_platform": ROOT / "platform" / "rml_platform",
    "rml_dashboards": ROOT / "dashboards" / "rml_dashboards",
}
ROOMS = {
    "rml_trainers": (
        "errors",
        "configuration",
        "runtime",
        "noise",
        "settings",
        "networks",
        "data",
        "students",
        "scoring",
        "labels",
        "methods",
        "checkpoint",
        "config",
        "training",
        "prediction",
    ),
    "rml_platform": (
        "environment",
        "system_use",
        "plugins",
        "study",
        "run",
        "planning",
        "tracking",
        "launch",
        "chaos",
        "views",
        "doctor",
        "plain_output",
        "commands",
        "cli",
    ),
    "rml_dashboards": (
        "errors",
        "contract",
        "writing",
        "records",
        "statistics",
        "tables",
        "comparisons",
        "figures",
        "diagrams",
        "studies",
        "live",
        "report",
    ),
}
"""A room, or a module beside the rooms, imports those before it only: a study's way from YAML to
table runs forwards."""
APART = {
    ("figures", "tables"),
    ("figures", "comparisons"),
    ("live", "comparisons"),
    ("live", "diagrams"),
    ("live", "figures"),
    ("writing", "contract"),
    ("writing", "errors"),
}
"""Rooms of the dashboards of which the first does not import the second, although the order would
allow it."""
Graph = Mapping[str, frozenset[str]]


def _module(package: str, file: Path) -> str:
    parts = file.relative_to(PACKAGES[package]).with_suffix("").parts
    return ".".join((package, *(part for part in parts if part != "__init__")))


def _imported(file: Path, modules: Mapping[str, Path]) -> Iterator[str]:
    """Our own modules that a file names, wherever in it."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                yield name if name in modules else node.module


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Modules that each module imports."""
    modules = {
        _module(package, file): file
        for package, folder in PACKAGES.items()
        for file in folder.rglob("*.py")
    }
    return {
        module: frozenset(set(_imported(file, modules)) & modules.keys() - {module})
        for module, file in modules.items()
    }


def _in_circles(graph: Graph) -> set[str]:
    """What is left when everything is taken away, again and again, that imports nothing of what is
    left or that nothing left imports."""
    left = set(graph)
    while True:
        wanted = set().union(*(graph[module] & left for module in left))
        circles = {module for module in left if graph[module] & left and module in wanted}
        if circles == left:
            return circles
        left = circles


def test_a_circle_is_found() -> None:
    """What the next test relies on: neither the way into a circle nor the way out is part of it."""
    circle = {"a": {"b"}, "b": {"c"}, "c": {"a", "out"}, "in": {"a"}, "out": set[str]()}
    assert _in_circles({name: frozenset(to) for name, to in circle.items()}) == {"a", "b", "c"}


def test_no_circle_anywhere(graph: Graph) -> None:
    assert not _in_circles(graph)


@pytest.mark.parametrize("package", ROOMS)
def test_every_room_has_its_place_in_the_order(package: str) -> None:
    found = {path.stem for path in PACKAGES[package].iterdir() if path.suffix in ("", ".py")}
    assert found - {"__init__", "__pycache__", "search_spaces"} == set(ROOMS[package])


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_import_one_way(package: str, graph: Graph) -> None:
    order = {f"{package}.{room}": place for place, room in enumerate(ROOMS[package])}

    def room(module: str) -> str:
        return ".".join(module.split(".")[:2])

    wrong = [
        f"{module} imports {other}"
        for module, others in sorted(graph.items())
        for other in sorted(others)
        if room(module) in order
        and room(other) in order
        and order[room(other)] > order[room(module)]
    ]
    assert not wrong


def test_rooms_that_know_nothing_of_each_other(graph: Graph) -> None:
    wrong = [
        f"{module} imports {other}"
        for room, apart in sorted(APART)
        for module, others in graph.items()
        for other in others
        if module.startswith(f"rml_dashboards.{room}.")
        and f"{other}.".startswith(f"rml_dashboards.{apart}.")
    ]
    assert not wrong


def test_the_contract_of_what_is_recorded_needs_the_standard_library_only() -> None:
    for file in (PACKAGES["rml_dashboards"] / "contract").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                is_own = name.startswith("rml_dashboards.contract.")
                assert is_own or name.split(".")[0] in sys.stdlib_module_names, file.name
