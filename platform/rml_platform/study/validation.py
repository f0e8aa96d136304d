"""Turning nested values into a configuration class, strictly, with errors a person can act on.

pydantic validates (`TypeAdapter.validate_json`, strict, no unknown key); this module says what it
found in the project's words: place, key path, value, and the nearest valid name. Of a block chosen
by name only the chosen class's errors are told.
"""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pydantic

from rml_platform.plugins import IF_IT_IS_OUTSIDE
from rml_platform.study.config_tree import (
    ConfigClass,
    choices,
    class_of,
    default_name,
    hint_at,
    hints,
    keys,
    literals,
    members,
    named_blocks,
)
from rml_platform.study.yaml_document import Json, KeyPath, dotted
from rml_trainers.configuration import suggest

T = TypeVar("T")
Problem = tuple[KeyPath, str]


class InvalidValuesError(Exception):
    """Everything that is wrong with some values, one line each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


_ADAPTERS: dict[ConfigClass, pydantic.TypeAdapter[Any]] = {}


def _adapter(config_class: ConfigClass) -> pydantic.TypeAdapter[Any]:
    """pydantic's validator of a class; building one takes milliseconds, a study validates hundreds
    of cells."""
    if config_class not in _ADAPTERS:
        _ADAPTERS[config_class] = pydantic.TypeAdapter(config_class)
    return _ADAPTERS[config_class]


def validate(
    config_class: type[T], values: Mapping[str, Json], place: Callable[[KeyPath], str]
) -> T:
    """The configuration that the values describe. Raises InvalidValuesError with one line per
    problem.

    `place` says where a key path was given, for the messages.
    """
    named, problems = _with_names(config_class, values)
    wrong_blocks = {path[0] for path, _ in problems}
    try:
        config: T = _adapter(config_class).validate_json(json.dumps(named))
    except pydantic.ValidationError as error:
        for item in error.errors(include_url=False):
            path = _own_path(config_class, named, tuple(item["loc"]))
            # A wrong name makes every class of its block complain: the choice itself is told
            # already.
            if path is not None and path[:1] not in {(block,) for block in wrong_blocks}:
                problems.append(_reword(config_class, named, path, dict(item)))
        assert problems, error
    else:
        if not problems:
            return config
    raise InvalidValuesError(
        tuple(dict.fromkeys(f"{place(path)}: {text}" for path, text in problems))
    )


def _with_names(
    config_class: ConfigClass, given: Mapping[str, Json]
) -> tuple[dict[str, Json], list[Problem]]:
    """Values with the default name written into blocks that give none, and what is wrong with the
    names."""
    values = dict(given)
    problems = list[Problem]()
    for field, by_name in named_blocks(config_class).items():
        block = values.get(field)
        if field not in values or block is None:
            continue
        if not isinstance(block, dict):
            wanted = f"expected keys and values, among them name; {suggest(str(block), by_name)}"
            problems.append(((field,), f"{field} = {shown(block)}: {wanted}"))
            continue
        name = block.get("name", default_name(config_class, field))
        if name is None:
            problems.append(((field, "name"), f"{field}.name: missing; {suggest('', by_name)}"))
        elif name not in by_name:
            noun = "data set" if field == "data" else field.replace("_", " ")
            what = f"unknown {noun}; {suggest(str(name), by_name)}; {IF_IT_IS_OUTSIDE}"
            problems.append(((field, "name"), f"{field}.name = {shown(name)}: {what}"))
        else:
            values[field] = {"name": name, **block}
    return values, problems


def _own_path(root: ConfigClass, values: object, loc: KeyPath) -> KeyPath | None:
    """Key path of a pydantic location, without class names; None for the complaint of a class that
    is not chosen."""
    path: KeyPath = ()
    for key in loc:
        hint = hint_at(root, values, path)
        here = _value_at(values, path)
        if (
            isinstance(key, str)
            and len(members(hint)) > 1
            and key in {member.__name__ for member in members(hint)}
        ):
            owner = class_of(hint, here)
            if owner is None or owner.__name__ != key:
                return None
            continue
        path = (*path, key)
    return path


def _value_at(values: object, path: KeyPath) -> object:
    for key in path:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


_OWN_CHECK = re.compile(r"^(?P<field>[\w.]+)(?P<rest> = .*)$", re.DOTALL)
_MISSING = ("missing", "missing_argument", "missing_keyword_only_argument")


def _reword(root: ConfigClass, values: object, path: KeyPath, item: Mapping[str, Any]) -> Problem:
    """One problem: the key path it is about, and its sentence."""
    kind = item["type"]
    name = dotted(path)
    given = shown(item["input"])
    owner = (
        class_of(hint_at(root, values, path[:-1]), _value_at(values, path[:-1])) if path else None
    )
    if kind == "unexpected_keyword_argument" and owner is not None:
        return path, f"{name} = {given}: unknown key; {suggest(str(path[-1]), keys(owner))}"
    if kind in _MISSING:
        return path, f"{name}: missing; {_expected(hint_at(root, values, path))}"
    if kind == "value_error":
        return _own_check(root, values, path, item["msg"].removeprefix("Value error, "))
    if kind == "literal_error":
        options = [str(option) for option in literals(hint_at(root, values, path))]
        text = (
            suggest(str(item["input"]), options)
            if options
            else f"expected {item['ctx']['expected']}"
        )
        return path, f"{name} = {given}: {text}"
    return path, f"{name} = {given}: {_plain_words(item['msg'])}"


def _own_check(root: ConfigClass, values: object, path: KeyPath, message: str) -> Problem:
    """A check of the configuration's own `__post_init__`, whose message begins with the field it is
    about."""
    owner = class_of(hint_at(root, values, path), _value_at(values, path))
    match = _OWN_CHECK.match(message)
    if match is None or owner is None or match["field"].split(".")[0] not in keys(owner):
        return path, f"{dotted(path)}: {message}" if path else message
    full = (*path, *match["field"].split("."))
    return full, f"{dotted(full)}{match['rest']}"


def _expected(hint: Any) -> str:
    """What a missing key should hold."""
    if by_name := choices(hint):
        return f"expected keys and values with one of these names: {', '.join(sorted(by_name))}"
    if options := literals(hint):
        return f"choices: {', '.join(map(str, options))}"
    if owner := next(iter(members(hint)), None):
        return f"expected keys and values, of these: {', '.join(hints(owner))}"
    return "it has no default"


def _plain_words(message: str) -> str:
    for jargon, plain in (
        ("Input should be an object", "expected keys and values"),
        ("Input should be a dictionary or an instance of", "expected keys and values for"),
        ("Input should be a valid dictionary", "expected keys and values"),
        ("Input should be a valid array", "expected a list"),
        ("Input should be a valid tuple", "expected a list"),
        ("Input should be a valid", "expected a"),
        ("expected a integer", "expected an integer (a whole number)"),
        ("expected a string", "expected text"),
        ("expected a boolean", "expected true or false"),
        ("Input should be", "expected"),
    ):
        message = message.replace(jargon, plain)
    return message


def shown(value: object) -> str:
    """A value as it stood in the file, cut to a readable length."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:77]}..."
