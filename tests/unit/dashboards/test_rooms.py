"""The rooms of the dashboards import one way, and the contract nothing but the standard library."""

import ast
import sys
from pathlib import Path

import rml_dashboards
from tests.support.rooms import imports_against_the_order, rooms_of

PACKAGE = Path(rml_dashboards.__file__).parent
ROOMS = ("errors", "contract", "writing", "records", "statistics", "tables", "figures")
"""A room imports those before it only."""
APART = {("figures", "tables"), ("writing", "contract"), ("writing", "errors")}
"""Pairs of which the first does not import the second although the order would allow it."""


def test_every_room_has_its_place_in_the_order() -> None:
    assert rooms_of(PACKAGE) == set(ROOMS)


def test_rooms_import_one_way() -> None:
    assert not imports_against_the_order(PACKAGE, ROOMS)


def test_rooms_that_know_nothing_of_each_other() -> None:
    for room, other in APART:
        for file in (PACKAGE / room).glob("*.py"):
            assert f"rml_dashboards.{other}" not in file.read_text(), f"{file.name} imports {other}"


def test_the_contract_needs_nothing_but_the_standard_library() -> None:
    allowed = {*sys.stdlib_module_names, "rml_dashboards"}
    for file in (PACKAGE / "contract").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed
                assert not name.startswith("rml_dashboards") or ".contract." in name
