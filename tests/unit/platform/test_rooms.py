"""The rooms of the platform import one way: a study's way from YAML to table runs forwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import rml_platform

PACKAGE = Path(rml_platform.__file__).parent
ROOMS = (
    "environment",
    "study",
    "planning",
    "run",
    "tracking",
    "launch",
    "views",
    "doctor",
    "commands",
    "cli",
)
"""A room, or module beside the rooms, imports those before it only; imports inside functions and
for type checkers count too."""


def _imported_rooms(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("rml_platform."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == "rml_platform":
            yield from (alias.name for alias in node.names)


def test_every_room_has_its_place_in_the_order() -> None:
    found = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or path.is_dir()}
    assert found - {"__init__", "__pycache__", "search_spaces"} == set(ROOMS)


def test_rooms_import_one_way() -> None:
    wrong = [
        f"{file.relative_to(PACKAGE)} imports {room}"
        for file in PACKAGE.rglob("*.py")
        for own in [file.relative_to(PACKAGE).with_suffix("").parts[0]]
        for room in _imported_rooms(file)
        if own != "__init__" and ROOMS.index(room) > ROOMS.index(own)
    ]
    assert not wrong
