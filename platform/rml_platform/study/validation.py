"""Turning nested values into a configuration class, strictly, with errors a person can act on.

pydantic validates (`TypeAdapter.validate_json`, strict, no unknown key); this module says what it
found in the project's words: place, key path, value, and the nearest valid name.

A class with blocks that are chosen by name is put together here, field by field, because which
classes there are is only known when the values are read (a plug-in may have brought one). Of such a
block only the chosen class's errors are told.
"""

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Set
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
    may_be_null,
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


_ADAPTERS: dict[Any, pydantic.TypeAdapter[Any]] = {}


def _adapter(hint: Any) -> pydantic.TypeAdapter[Any]:
    """pydantic's validator of a type; building one takes milliseconds, a study validates hundreds
    of cells."""
    if hint not in _ADAPTERS:
        _ADAPTERS[hint] = pydantic.TypeAdapter(hint)
    return _ADAPTERS[hint]


def validate(
    config_class: type[T], values: Mapping[str, Json], place: Callable[[KeyPath], str]
) -> T:
    """The configuration that the values describe. Raises InvalidValuesError with one line per
    problem.

    `place` says where a key path was given, for the messages.
    """
    named, problems = _with_names(config_class, values)
    wrong_blocks = {path[0] for path, _ in problems}
    config, items = _built(config_class, named, wrong_blocks)
    problems += [_reword(config_class, named, tuple(item["loc"]), item) for item in items]
    if config is not None and not problems:
        return config
    assert problems, f"{config_class.__name__} was refused without a reason"
    raise InvalidValuesError(
        tuple(dict.fromkeys(f"{place(path)}: {text}" for path, text in problems))
    )


def _built(
    config_class: type[T], values: Mapping[str, Json], wrong_blocks: Set[str | int]
) -> tuple[T | None, list[dict[str, Any]]]:
    """The configuration, or everything that pydantic and the classes themselves say is wrong.

    Blocks whose name is wrong are left alone: that is told already.
    """
    blocks = named_blocks(config_class)
    if not blocks:
        return _checked(config_class, values)
    items: list[dict[str, Any]] = []
    fields: dict[str, Any] = {}
    for field in dataclasses.fields(config_class):  # type: ignore[arg-type]
        if field.name in wrong_blocks:
            continue
        if field.name in values:
            given = values[field.name]
            hint = hints(config_class)[field.name]
            if field.name in blocks:  # null where the field may be null, else a name that exists
                hint = class_of(hint, given)
            fields[field.name], wrong = _checked(hint, given)
            items += [{**item, "loc": (field.name, *item["loc"])} for item in wrong]
        elif field.default is dataclasses.MISSING:
            items.append({"type": "missing", "loc": (field.name,), "input": values})
    items += [
        {"type": "unexpected_keyword_argument", "loc": (key,), "input": value}
        for key, value in values.items()
        if key not in hints(config_class)
    ]
    if items or wrong_blocks:
        return None, items
    try:
        return config_class(**fields), []
    except ValueError as error:
        return None, [{"type": "value_error", "loc": (), "msg": str(error), "input": values}]


def _checked(hint: Any, value: object) -> tuple[Any, list[dict[str, Any]]]:
    """A value of a type, or pydantic's complaints about it."""
    try:
        return _adapter(hint).validate_json(json.dumps(value)), []
    except pydantic.ValidationError as error:
        return None, [dict(item) for item in error.errors(include_url=False)]


def _with_names(
    config_class: ConfigClass, given: Mapping[str, Json]
) -> tuple[dict[str, Json], list[Problem]]:
    """Values with the default name written into blocks that give none, and what is wrong with the
    names."""
    values = dict(given)
    problems = list[Problem]()
    for field, by_name in named_blocks(config_class).items():
        block = values.get(field)
        if field not in values or (block is None and may_be_null(hints(config_class)[field])):
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
