"""Reading YAML safely: plain values plus the line of every key, and nothing else.

Stricter than YAML itself, because a silent surprise here costs a night on a cluster: a key given
twice, an alias, a tag, a key that is not text, NaN and infinity are errors. `1e-4` is a number, as
everywhere but in YAML 1.1.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

from rml_dashboards.contract.study_plan import source_hash
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError

Json = None | bool | int | float | str | list["Json"] | dict[str, "Json"]
KeyPath = tuple[str | int, ...]

NUMBERED = (("label_values",),)
"""Blocks whose keys are whole numbers; they are read as text, and nobody has to quote them."""

MAX_DIGITS = 40
_TAG = "tag:yaml.org,2002:"
_FLOAT_TAG = f"{_TAG}float"
_INT_TAG = f"{_TAG}int"
_TEXT_TAG = f"{_TAG}str"
_PLAIN_TAGS = {_FLOAT_TAG, _INT_TAG, _TEXT_TAG} | {
    f"{_TAG}{kind}" for kind in ("map", "seq", "bool", "null")
}


class _Loader(yaml.SafeLoader):
    """SafeLoader that reads `1e-4` as a float, leaves dates and `1:30` (YAML 1.1: ninety) as text,
    and notes which tags are written out."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.tags_written: dict[int, str] = {}
        """By the id of their node."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """As SafeLoader does; a node by itself does not tell whether its tag was written."""
        event = self.peek_event()  # type: ignore[no-untyped-call]
        tag = getattr(event, "tag", None)
        node = super().compose_node(parent, index)
        if tag is not None:
            self.tags_written[id(node)] = tag
        return node


_NUMBER = {
    _FLOAT_TAG: re.compile(
        r"^([-+]?(\d[\d_]*\.?[\d_]*|\.\d[\d_]*)([eE][-+]?\d+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
    ),
    "tag:yaml.org,2002:int": re.compile(r"^[-+]?(0|[1-9][\d_]*)$"),
}
_REPLACED = {*_NUMBER, "tag:yaml.org,2002:timestamp"}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag not in _REPLACED]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
for _tag in ("tag:yaml.org,2002:int", _FLOAT_TAG):  # the first that fits wins
    _Loader.add_implicit_resolver(_tag, _NUMBER[_tag], list("-+.0123456789"))


@dataclass(frozen=True)
class Document:
    """A parsed file: its value, and where each key path stands ("study.yaml:12")."""

    source: str
    value: dict[str, Json]
    places: dict[KeyPath, str]
    source_hash: str
    """sha256 of the file and of files of numbers that it names: tells whether something has changed
    since something was made of it."""

    def place(self, path: KeyPath) -> str:
        """Place of a key, or of the nearest one that contains it."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.places:
                return self.places[path[:length]]
        return self.source


def read_document(path: Path) -> Document:
    """Parse a YAML file whose top level is a mapping. Raises ConfigError naming file and line."""
    try:
        content = path.read_bytes()
        text = content.decode()
    except FileNotFoundError as error:
        others = [file.name for file in path.parent.glob("*.y*ml")]
        hint = f"; {suggest(path.name, others)}" if others else ""
        raise ConfigError(f"{path}: no such file{hint}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read as text ({error})") from error
    value, places = _parse(text, str(path), with_lines=True)
    if value is None:
        raise ConfigError(f"{path}: the file is empty")
    if not isinstance(value, dict):
        raise ConfigError(
            f"{path}: expected keys and values at the top level, got a {type(value).__name__}"
        )
    return Document(str(path), value, places, source_hash(content, path, value))


def read_value(text: str, source: str, key: str = "") -> Json:
    """Parse one YAML value from the command line, such as `1e-4`, `[8, 8]`, `null` or `french`;
    `key` is the one that it is given to."""
    return _parse(text, source, with_lines=False, below=(key,))[0]


def _parse(
    text: str, source: str, *, with_lines: bool, below: KeyPath = ()
) -> tuple[Json, dict[KeyPath, str]]:
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None, {}
            found = _Places(source, with_lines, loader.tags_written)
            found.walk(node, below, found.place(node))
            value: Json = loader.construct_document(node)
        finally:
            loader.dispose()
    except RecursionError:
        raise ConfigError(f"{source}: nested more deeply than anything here is") from None
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and with_lines else ""
        raise ConfigError(
            f"{source}{line}: not valid YAML: {error.problem or error.context}"
        ) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not valid YAML: {error}") from error
    return value, found.places


class _Places:
    """Walks a parsed tree, keeps the place of every key and refuses what could surprise."""

    def __init__(self, source: str, with_lines: bool, tags_written: Mapping[int, str]) -> None:
        """`tags_written`: tags that the text itself gives, by the id of their node. A plain type's
        is refused as well: what stands behind it need not be of that type."""
        self.places: dict[KeyPath, str] = {}
        self._tags_written = tags_written
        self._source = source
        self._with_lines = with_lines
        self._seen: set[int] = set()

    def walk(self, node: yaml.Node, path: KeyPath, place: str) -> None:
        """Note everything inside a node; `place` is where it stands (an alias itself does not
        tell)."""
        if id(node) in self._seen:
            raise ConfigError(
                f"{place}: {dotted(path)}: YAML aliases (*name) are not used here; write the value "
                "out"
            )
        self._seen.add(id(node))
        self._refuse_tag(node, path, place)
        if node.tag == _INT_TAG and len(node.value) > MAX_DIGITS:
            raise ConfigError(
                f"{place}: {dotted(path)}: a number of {len(node.value)} digits; no setting takes "
                f"more than {MAX_DIGITS}"
            )
        if isinstance(node, yaml.MappingNode):
            for key, value in node.value:
                self._walk_entry(key, value, path)
        elif isinstance(node, yaml.SequenceNode):
            for index, value in enumerate(node.value):
                # An alias carries the mark of its anchor, which stands before the list.
                at = self.place(value) if value.start_mark.index >= node.start_mark.index else place
                self.places[(*path, index)] = at
                self.walk(value, (*path, index), at)
        elif node.tag == _FLOAT_TAG and not _is_finite(node.value):
            raise ConfigError(f"{place}: {dotted(path)} = {node.value}: expected a finite number")

    def _refuse_tag(self, node: yaml.Node, path: KeyPath, place: str) -> None:
        tag = self._tags_written.get(id(node), node.tag)
        if id(node) in self._tags_written or tag not in _PLAIN_TAGS:
            raise ConfigError(
                f"{place}: {dotted(path)}: YAML tags ({tag.replace(_TAG, '!!')}) are not used "
                "here; write the value plainly"
            )

    def _walk_entry(self, key: yaml.Node, value: yaml.Node, path: KeyPath) -> None:
        place = self.place(key)
        if id(key) in self._tags_written:
            self._refuse_tag(key, path, place)
        if isinstance(key, yaml.ScalarNode) and path[-1:] in NUMBERED and key.tag == _INT_TAG:
            key.tag = _TEXT_TAG
        if not isinstance(key, yaml.ScalarNode) or key.tag != _TEXT_TAG:
            inside = f" in {dotted(path)}" if path else ""
            raise ConfigError(
                f'{place}: key {key.value!r}{inside} is not text; put it in quotes ("{key.value}")'
            )
        inner = (*path, str(key.value))
        if inner in self.places:
            raise ConfigError(
                f"{place}: {dotted(inner)}: key given twice (first at {self.places[inner]})"
            )
        self.places[inner] = place
        self.walk(value, inner, place)

    def place(self, node: yaml.Node) -> str:
        return f"{self._source}:{node.start_mark.line + 1}" if self._with_lines else self._source


def _is_finite(scalar: str) -> bool:
    text = scalar.lower().lstrip("+-")
    return text not in (".inf", ".nan") and math.isfinite(float(text.replace("_", "")))


def dotted(path: KeyPath) -> str:
    """Key path as a person writes it: `optimiser.lr`."""
    return ".".join(map(str, path)) or "top level"
