"""Settings laid over each other: base, profile, row, axis, column, seed and `--set`, each knowing
where it came from.

A layer is a flat list of assignments to key paths. Keys may be nested or dotted
(`optimiser: {lr: 1}` is `optimiser.lr: 1`). Two rules, the same everywhere:

1. A mapping is laid over what is there, key by key. Lists and single values replace.
2. A block that chooses a class by `name` (`data`, `method`, `network`, `peer_network`): a mapping
   that gives `name` replaces the whole block, so that it starts from that class's defaults; the
   dotted key `method.name` exchanges the class and keeps those keys which the new class has too.
   Within one layer such choices are made first.

By hand and not by a configuration library (OmegaConf, Hydra), because every message names the line
of the file that set a value, and no library keeps lines through its merges.
"""

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rml_platform.study.config_tree import keys, named_blocks
from rml_platform.study.validation import InvalidValuesError, shown
from rml_platform.study.yaml_document import Json, KeyPath, dotted, read_value
from rml_trainers.config import RunConfig
from rml_trainers.errors import ConfigError

NAMED_BLOCKS = frozenset(named_blocks(RunConfig))
"""Blocks that choose a class by name."""


@dataclass(frozen=True)
class Assignment:
    """One value for one key path, and where it was given ("study.yaml:12", "--set
    optimiser.lr")."""

    path: tuple[str, ...]
    value: Json
    place: str
    more_places: Mapping[tuple[str, ...], str] = field(default_factory=dict)
    """Places of the blocks around it, and of the keys inside a mapping that is assigned whole."""

    @property
    def is_choice(self) -> bool:
        """Whether it exchanges the class of a named block, wholly or by its name."""
        if self.path[0] not in NAMED_BLOCKS:
            return False
        return len(self.path) == 1 or self.path[1:] == ("name",)


Layer = tuple[Assignment, ...]
Places = dict[tuple[str, ...], str]


@dataclass
class Settings:
    """Nested values and the place of each: what the layers add up to."""

    source: str
    """The file that all of it belongs to."""
    values: dict[str, Json] = field(default_factory=dict)
    places: dict[tuple[str, ...], tuple[int, str]] = field(default_factory=dict)
    """Key path → number of the layer that set it, and the place there."""

    def place(self, path: KeyPath) -> str:
        """Where a key was set, or the nearest block around it; the file when nothing was.

        Of a block it is where it was changed last: what is wrong with its keys together came with
        the last change.
        """
        names = tuple(part for part in path if isinstance(part, str))
        for length in range(len(names), 0, -1):
            found = [
                (-number, len(known), text)
                for known, (number, text) in self.places.items()
                if known[:length] == names[:length]
            ]
            if found:
                return min(found)[2]
        return self.source


def layer(
    mapping: Mapping[str, Json], places: Mapping[KeyPath, str], prefix: KeyPath, source: str
) -> Layer:
    """Assignments of a mapping that stands at `prefix` of a document. Raises ConfigError for a key
    given twice."""

    def place(path: KeyPath) -> str:
        return next(
            (places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in places), source
        )

    def flatten(
        value: Json, path: tuple[str, ...], origin: KeyPath, around: Places
    ) -> Iterable[Assignment]:
        is_block = len(path) == 1 and path[0] in NAMED_BLOCKS
        if isinstance(value, dict) and value and not (is_block and "name" in value):
            for key, item in value.items():
                inside = (*origin, key)
                yield from flatten(
                    item, (*path, *key.split(".")), inside, {**around, path: place(origin)}
                )
            return
        within = (
            [known for known in places if known[: len(origin)] == origin and known != origin]
            if isinstance(value, dict)
            else ()
        )
        inner = {(*path, *map(str, known[len(origin) :])): places[known] for known in within}
        yield Assignment(path, value, place(origin), {**around, **inner})

    found = [
        a
        for key, value in mapping.items()
        for a in flatten(value, tuple(key.split(".")), (*prefix, key), {})
    ]
    return _each_once(found)


def override_layer(overrides: Iterable[Assignment]) -> Layer:
    """Overrides as one layer: a mapping is laid over what is there key by key, as in a file. Raises
    ConfigError for a key given twice."""
    return _each_once(
        [
            assignment
            for one in overrides
            for assignment in layer({dotted(one.path): one.value}, {}, (), one.place)
        ]
    )


def read_overrides(texts: Sequence[str]) -> tuple[Assignment, ...]:
    """`optimiser.lr=1e-3` texts of the command line; the values are YAML. Raises ConfigError, also
    for a key given twice."""
    return _each_once([_read_override(text) for text in texts])


def _each_once(assignments: Sequence[Assignment]) -> Layer:
    first: dict[tuple[str, ...], Assignment] = {}
    for assignment in assignments:
        if assignment.path in first:
            earlier = first[assignment.path].place
            raise ConfigError(
                f"{assignment.place}: {dotted(assignment.path)}: given twice (first at {earlier})"
            )
        first[assignment.path] = assignment
    return tuple(assignments)


def _read_override(text: str) -> Assignment:
    key, separator, value = text.partition("=")
    key = key.strip()
    if not separator or not all(key.split(".")):
        raise ConfigError(
            f"--set {text}: expected KEY.PATH=VALUE, for example --set optimiser.lr=1e-3"
        )
    place = f"--set {key}"
    return Assignment(
        tuple(key.split(".")), read_value(value, place, key.rpartition(".")[2]), place
    )


def compose(layers: Sequence[Layer], source: str) -> Settings:
    """Lay every layer over the ones before it. Raises InvalidValuesError for a key inside a plain
    value."""
    settings = Settings(source)
    for number, assignments in enumerate(layers):
        # Choices first, whole blocks before names: what else the layer says belongs to the class it
        # chooses.
        for assignment in sorted(
            assignments, key=lambda a: (not a.is_choice, len(a.path) if a.is_choice else 0)
        ):
            _assign(settings, assignment, number)
    return settings


def _assign(settings: Settings, assignment: Assignment, number: int) -> None:
    path = assignment.path
    if assignment.is_choice and len(path) == 2:
        _drop_foreign_keys(settings, path[0], assignment.value)
    block: dict[str, Json] = settings.values
    for depth, key in enumerate(path[:-1], start=1):
        if block.get(key) is None:
            block[key] = {}
        inner = block[key]
        if not isinstance(inner, dict):
            holder = f"{dotted(path[:depth])} = {shown(inner)}"
            raise InvalidValuesError(
                (f"{assignment.place}: {dotted(path)}: {holder} holds no keys",)
            )
        block = inner
    if assignment.value == {} and isinstance(block.get(path[-1]), dict):
        return  # an empty mapping lays nothing over what is there
    block[path[-1]] = copy.deepcopy(assignment.value)
    for known in [known for known in settings.places if known[: len(path)] == path]:
        del settings.places[known]
    for known, place in {**assignment.more_places, path: assignment.place}.items():
        settings.places[known] = (number, place)


def _drop_foreign_keys(settings: Settings, block: str, name: Json) -> None:
    """Keep of a named block what the class called `name` has too (everything if the name does not
    exist)."""
    present = settings.values.get(block)
    new_class = named_blocks(RunConfig)[block].get(str(name))
    if not isinstance(present, dict) or new_class is None or present.get("name") == name:
        return
    for key in set(present) - set(keys(new_class)):
        del present[key]
        settings.places.pop((block, key), None)
