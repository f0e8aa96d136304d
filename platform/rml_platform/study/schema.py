"""The door: YAML files and `--set` become typed, checked values here, and nowhere else.

Every error is a ConfigError that names the file and line, the key path, the value and the nearest
valid name.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from rml_platform.study.cells import Study
from rml_platform.study.layers import Layer, compose, layer, override_layer, read_overrides
from rml_platform.study.overrides import resolve, split_overrides
from rml_platform.study.study_builder import build_study
from rml_platform.study.study_file import StudyConfig
from rml_platform.study.validation import InvalidValuesError, validate
from rml_platform.study.yaml_document import read_document
from rml_trainers.config import RunConfig
from rml_trainers.errors import ConfigError

T = TypeVar("T")


def load_run_config(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Configuration of one run; `overrides` are `a.b=c` texts that are laid over it. Raises
    ConfigError."""
    document = read_document(path)
    if "base" in document.value or "rows" in document.value:
        raise ConfigError(
            f"{path}: this is a study (it has `base` and `rows`); use `rml plan` or `rml launch` "
            "with it"
        )
    base = layer(document.value, document.places, (), document.source)
    own = override_layer(read_overrides(overrides))
    return validated(RunConfig, [base, own], document.source)


def validated(config_class: type[T], layers: Sequence[Layer], source: str) -> T:
    """The configuration that layers of settings add up to. Raises ConfigError with one line per
    problem."""
    try:
        settings = compose(layers, source)
        return validate(config_class, settings.values, settings.place)
    except InvalidValuesError as error:
        raise ConfigError(str(error)) from error


def load_study(path: Path, overrides: Sequence[str] = (), profile: str | None = None) -> Study:
    """A study with its profile and overrides applied. Raises ConfigError.

    An override whose first key belongs to the study (`seeds`, `execution`, `resources`, `table` …)
    changes the study. One that begins with `base` is laid over the base and its profile's, under
    rows and columns. Any other is a setting of the runs and is laid over every cell last.
    """
    document = read_document(path)
    if "base" not in document.value and {"method", "data"} & set(document.value):
        raise ConfigError(
            f"{path}: this configures one run; use `rml run` with it, or put it under `base` of a "
            "study"
        )
    given = split_overrides(read_overrides(overrides))
    document = resolve(document, profile, given.of_study)
    try:
        config = validate(StudyConfig, document.value, document.place)
    except InvalidValuesError as error:
        raise ConfigError(str(error)) from error
    return build_study(document, config, profile, given)
