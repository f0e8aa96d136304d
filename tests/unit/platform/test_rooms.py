"""The rooms of the platform import one way: a study's way from YAML to table runs forwards."""

from pathlib import Path

import rml_platform
from tests.support.rooms import imports_against_the_order, rooms_of

PACKAGE = Path(rml_platform.__file__).parent
ROOMS = (
    "environment",
    "plugins",
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
"""A room, or module beside the rooms, imports those before it only."""


def test_every_room_has_its_place_in_the_order() -> None:
    assert rooms_of(PACKAGE) - {"search_spaces"} == set(ROOMS)


def test_rooms_import_one_way() -> None:
    assert not imports_against_the_order(PACKAGE, ROOMS)
