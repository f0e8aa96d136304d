"""Which room of a package imports which, for the tests that rooms import one way."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path


def rooms_of(package: Path) -> set[str]:
    """Names of the rooms of a package, and of the modules beside them."""
    found = {path.stem for path in package.iterdir() if path.suffix == ".py" or path.is_dir()}
    return found - {"__init__", "__pycache__"}


def imports_against_the_order(package: Path, order: Sequence[str]) -> list[str]:
    """Imports of a room that comes later in the order; imports inside functions and for type
    checkers count too."""
    return [
        f"{file.relative_to(package)} imports {room}"
        for file in sorted(package.rglob("*.py"))
        for own in [file.relative_to(package).with_suffix("").parts[0]]
        for room in _imported_rooms(file, package.name)
        if own != "__init__" and order.index(room) > order.index(own)
    ]


def _imported_rooms(file: Path, package: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            yield (node.module or "").split(".")[1]
        elif isinstance(node, ast.ImportFrom) and node.module == package:
            yield from (alias.name for alias in node.names)
