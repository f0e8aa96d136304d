"""What `--profile` and `--set` do to a study file before it is validated."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rml_platform.study.config_tree import keys
from rml_platform.study.layers import Assignment, Layer, override_layer
from rml_platform.study.study_file import StudyConfig
from rml_platform.study.yaml_document import Document, Json, KeyPath
from rml_trainers.config import RunConfig
from rml_trainers.configuration import suggest
from rml_trainers.errors import ConfigError

RUN_KEYS = frozenset(keys(RunConfig))
STUDY_KEYS = frozenset(keys(StudyConfig))


@dataclass(frozen=True)
class StudyOverrides:
    """The overrides of one command, by what they change."""

    of_study: tuple[Assignment, ...] = ()
    """Keys of the study itself, each replaced by what the override says."""
    of_base: Layer = ()
    """Settings laid over the base and over what the profile says of it; rows and columns win."""
    of_cells: Layer = ()
    """Settings laid over every cell last."""


def split_overrides(overrides: Sequence[Assignment]) -> StudyOverrides:
    """Overrides by what they change. Raises ConfigError for keys that do not exist, that only the
    file can change, or that are given twice."""
    for override in overrides:
        first = override.path[0]
        if first == "seed":
            raise ConfigError(
                f"{override.place}: the cells of a study differ by seed; use --set seeds=[...]"
            )
        if first in ("rows", "columns", "profiles") or override.path == ("base",):
            raise ConfigError(
                f"{override.place}: `{first}` cannot be set from the command line; edit the file"
            )
        if first not in STUDY_KEYS | RUN_KEYS:
            raise ConfigError(
                f"{override.place}: unknown key {first!r}; {suggest(first, STUDY_KEYS | RUN_KEYS)}"
            )
    of_base = [replace(one, path=one.path[1:]) for one in overrides if one.path[0] == "base"]
    return StudyOverrides(
        of_study=tuple(
            one for one in overrides if one.path[0] in STUDY_KEYS and one.path[0] != "base"
        ),
        of_base=override_layer(of_base),
        of_cells=override_layer(one for one in overrides if one.path[0] in RUN_KEYS),
    )


def resolve(document: Document, profile: str | None, overrides: Sequence[Assignment]) -> Document:
    """The document with what a profile and the overrides say of the study itself (seeds, execution,
    resources …)."""
    value = copy.deepcopy(document.value)
    places = dict(document.places)
    chosen = _chosen_profile(document, profile)
    for key in ("seeds", "split_seeds", "execution", "resources", "retry"):
        if key in chosen:
            value[key] = chosen[key]
            places[(key,)] = document.place(("profiles", str(profile), key))
    _change_figures(
        document, value, places, ("profiles", str(profile), "figures"), chosen.get("figures")
    )
    _keep_split_seeds(document.value, value)
    of_profile = dict(value)
    for override in overrides:
        places[_put(value, override)] = override.place
    _keep_split_seeds(of_profile, value)
    _wrap_single_numbers(value)
    return replace(document, value=value, places=places)


def _chosen_profile(document: Document, profile: str | None) -> Mapping[str, Json]:
    if profile is None:
        return {}
    profiles = document.value.get("profiles")
    known = profiles if isinstance(profiles, dict) else {}
    if profile not in known:
        hint = suggest(profile, known) if known else "this study has none"
        raise ConfigError(f"{document.source}: --profile {profile}: no such profile; {hint}")
    chosen = known[profile]
    return (
        chosen if isinstance(chosen, dict) else {}
    )  # validation says what is wrong with anything else


def _change_figures(
    document: Document,
    value: dict[str, Json],
    places: dict[KeyPath, str],
    path: KeyPath,
    changes: Json,
) -> None:
    """Lay a profile's changes over the figures they name; validation says what is wrong with
    either."""
    figures = value.get("figures")
    if not isinstance(figures, list) or not isinstance(changes, dict):
        return
    for i, figure in enumerate(figures):
        name = figure.get("name") if isinstance(figure, dict) else None
        changed = changes.get(name) if isinstance(name, str) else None
        if isinstance(figure, dict) and isinstance(changed, dict):
            figure.update(changed)
            places.update(
                {("figures", i, key): document.place((*path, str(name), key)) for key in changed}
            )


def _put(value: dict[str, Json], override: Assignment) -> KeyPath:
    """Put an override into the study; under `axes` the rest of the path stays one dotted key."""
    first, *rest = override.path
    path = (first, ".".join(rest)) if first == "axes" and rest else override.path
    block = value
    for key in path[:-1]:
        inner = block.get(key)
        if not isinstance(inner, dict):
            inner = block[key] = {}
        block = inner
    block[path[-1]] = override.value
    return path


def _keep_split_seeds(original: Mapping[str, Json], value: dict[str, Json]) -> None:
    """Where only the seeds were exchanged, each keeps the split seed that the file pairs it
    with."""
    seeds = original.get("seeds")
    split_seeds = original.get("split_seeds")
    now = value.get("seeds")
    if value.get("split_seeds") != split_seeds or now == seeds:
        return
    if isinstance(seeds, list) and isinstance(split_seeds, list) and isinstance(now, list):
        pairs = dict(zip(map(str, seeds), split_seeds, strict=False))
        if all(str(seed) in pairs for seed in now):
            value["split_seeds"] = [pairs[str(seed)] for seed in now]


def _wrap_single_numbers(value: Mapping[str, Json]) -> None:
    """`reported: {column: {mean: …}}` is short for a list of one number."""
    rows = value.get("rows")
    for row in rows if isinstance(rows, list) else ():
        reported = row.get("reported") if isinstance(row, dict) else None
        if isinstance(reported, dict):
            reported.update(
                {label: [number] for label, number in reported.items() if isinstance(number, dict)}
            )
