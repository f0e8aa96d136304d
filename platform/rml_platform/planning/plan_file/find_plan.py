"""Which written plan a command is about, by the name of a study or by its file.

A plan is shown only where it is the plan of what was asked for. Where the file, `--set`, the
plug-ins or the version of the results are others than when it was written, the study is planned
anew, which needs its images; numbers of another plan are never shown silently.
"""

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from rml_dashboards.contract.names import PLAIN_NAME
from rml_dashboards.contract.study_plan import plan_file
from rml_platform.planning.plan_file.written_plan import (
    WrittenPlan,
    planned_studies,
    read_plan,
)
from rml_platform.plugins import content_hashes, load_plugins
from rml_platform.study.yaml_document import Document, read_document
from rml_trainers import RESULT_VERSION
from rml_trainers.errors import ConfigError, DataMissingError


def find_plan(
    study: str,
    *,
    overrides: Sequence[str] | None = None,
    plugins: Sequence[str] | None = None,
    profile: str | None = None,
    out: Path,
    storage: str | None = None,
    data_root: Path | None = None,
) -> WrittenPlan:
    """The plan that a command goes by; says on stderr where it is not simply the written one.

    Args:
        study: path of a study file, or name of a study whose plan was written.
        overrides: `--set` texts.
        plugins: `--plugin` texts; a plug-in is imported only where the study is planned anew.
    Raises:
        ConfigError: there is no such plan, it is damaged, or it is another one than asked for and
            cannot be made anew here.
        DataError: as making a plan does.
    """
    asked = _Asked(
        study=study,
        overrides=tuple(overrides or ()),
        plugins=tuple(plugins or ()),
        profile=profile,
        out=out,
        places=tuple(dict.fromkeys((str(out), storage or str(out)))),
        data_root=data_root,
    )
    is_path = study.endswith((".yaml", ".yml")) or os.sep in study or Path(study).is_file()
    return _of_file(asked) if is_path else _of_name(asked)


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """What a command was asked about."""

    study: str
    overrides: tuple[str, ...]
    plugins: tuple[str, ...]
    profile: str | None
    out: Path
    places: tuple[str, ...]
    """Output folder and storage: where the plan may lie."""
    data_root: Path | None


def _of_name(asked: _Asked) -> WrittenPlan:
    name = asked.study
    for text, what in ((name, "study"), (asked.profile, "--profile")):
        if text is not None and not PLAIN_NAME.fullmatch(text):
            raise ConfigError(f"{what} {text!r}: expected a name, or the path of a study file")
    plans = _written(asked, name)
    if not plans:
        raise ConfigError(_no_plan(asked))
    plan = max(plans, key=lambda one: one.written_at)
    if asked.overrides and tuple(sorted(asked.overrides)) != plan.overrides:
        raise ConfigError(
            f"{name}: its plan was written {_with(plan.overrides)}, not {_with(asked.overrides)}; "
            f"give the study's file instead of its name, or leave --set out"
        )
    if plan.overrides:
        _say(f"{name}: the plan of {plan.written_at}, {_with(plan.overrides)}")
    if plan.result_version != RESULT_VERSION:
        _say(f"{name}: {_other_results(plan)}; shown are the runs of that version")
    if changed := _what_has_changed(plan):
        _say(f"{name}: {changed}. Write it anew: rml plan {plan.source}")
    return plan


def _of_file(asked: _Asked) -> WrittenPlan:
    document = read_document(Path(asked.study))
    name = document.value.get("name")
    is_name = isinstance(name, str) and PLAIN_NAME.fullmatch(name)
    if not is_name or (asked.profile is not None and not PLAIN_NAME.fullmatch(asked.profile)):
        return _planned_anew(asked)  # planning says what is wrong with it
    plans = _written(asked, str(name))
    if not plans:
        return _planned_anew(asked, "no plan of it was written")
    differences = [_difference(asked, document, plan) for plan in plans]
    if None in differences:
        return plans[differences.index(None)]
    return _planned_anew(asked, str(differences[0]), plans)


def _written(asked: _Asked, name: str) -> list[WrittenPlan]:
    """The plans of a study in the output folder and in the storage: a machine may have written its
    own to either since the other was written."""
    found = [read_plan(place, name, asked.profile) for place in asked.places]
    return [plan for plan in found if plan is not None]


def _difference(asked: _Asked, document: Document, plan: WrittenPlan) -> str | None:
    """What makes the plan another one than that of what was asked for; None: nothing."""
    if document.source_hash != plan.source_hash:
        return f"the file has changed since its plan was written ({plan.written_at})"
    if tuple(sorted(asked.overrides)) != plan.overrides:
        return f"its plan was written {_with(plan.overrides)}, not {_with(asked.overrides)}"
    given = content_hashes(asked.plugins)
    if given and not {plugin.hash for plugin in plan.plugins} <= given:
        names = ", ".join(plugin.name for plugin in plan.plugins)
        return f"its plan was written with plug-ins of another content than those given ({names})"
    if plan.result_version != RESULT_VERSION:
        return _other_results(plan)
    return None


def _planned_anew(asked: _Asked, why: str = "", before: Sequence[WrittenPlan] = ()) -> WrittenPlan:
    from rml_platform.planning.plan_file.writing import to_written
    from rml_platform.planning.plan_from_file import planned  # seconds of torch

    load_plugins(asked.plugins)
    command = " ".join(["rml plan", asked.study, *_options(asked)])
    try:
        made = planned(
            Path(asked.study),
            asked.overrides,
            asked.profile,
            out=asked.out,
            data_root=asked.data_root,
            is_local=False,
        )
    except DataMissingError as error:
        instead = ""
        if before:
            plan = before[0]
            options = f" --profile {plan.profile}" if plan.profile else ""
            instead = f", or give the name instead of the file, {plan.name}{options}, to see the "
            instead += "plan as it was written"
        raise ConfigError(
            f"{asked.study}: {why}, and it cannot be planned here. Run `{command}` where its "
            f"images are{instead}. Missing: {error}"
        ) from error
    if why:
        _say(f"{asked.study}: {why}, so it was planned now; `{command}` writes the plan down")
    return to_written(made, asked.overrides, asked.out, before)


def _no_plan(asked: _Asked) -> str:
    file = plan_file(asked.study, asked.profile)
    known = [study for place in asked.places for study in planned_studies(place)]
    there = f"plans are there of: {', '.join(dict.fromkeys(known))}" if known else "there is none"
    return (
        f"{asked.study}: no such file, and no plan {file} under {' or '.join(asked.places)}; "
        f"{there}. `rml plan STUDY.yaml` writes one"
    )


def _what_has_changed(plan: WrittenPlan) -> str:
    """What is to be said of a study file that is here, where the plan names it, and another one by
    now, as one that somebody is writing at the moment; empty where there is nothing."""
    file = Path(plan.source)
    how = "has changed since"
    try:
        if not file.is_file() or read_document(file).source_hash == plan.source_hash:
            return ""
    except PermissionError:  # in a folder of somebody else: as if it were on another machine
        return ""
    except ConfigError as error:
        how = f"cannot be read now ({error}) and may have changed since"
    return (
        f"{file} {how} its plan was written ({plan.written_at}); shown is the plan as it was "
        "written"
    )


def _other_results(plan: WrittenPlan) -> str:
    return (
        f"its plan is of version {plan.result_version} of the results, and this rml makes version "
        f"{RESULT_VERSION}, whose runs have other ids"
    )


def _with(overrides: tuple[str, ...]) -> str:
    return f"with {' '.join(_options_of(overrides))}" if overrides else "without --set"


def _options(asked: _Asked) -> list[str]:
    profile = ["--profile", asked.profile] if asked.profile else []
    plugins = [word for plugin in asked.plugins for word in ("--plugin", plugin)]
    return [*profile, *_options_of(asked.overrides), *plugins]


def _options_of(overrides: tuple[str, ...]) -> list[str]:
    return [word for text in sorted(overrides) for word in ("--set", shlex.quote(text))]


def _say(text: str) -> None:
    Console(stderr=True).print(text, style="yellow", markup=False, highlight=False, soft_wrap=True)
