"""The options of every command that goes by a study's plan: which plan is meant, and where it
lies."""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rml_platform.commands.options import (
    DEFAULT_OUT,
    DataRoot,
    Out,
    Overrides,
    PluginsForPlanning,
    Profile,
    Storage,
)

if TYPE_CHECKING:
    from rml_platform.planning.plan_file.written_plan import WrittenPlan


@dataclass(frozen=True, kw_only=True)
class PlanOptions:
    """What such a command was given."""

    set_: Overrides = None
    plugin: PluginsForPlanning = None
    profile: Profile = None
    out: Out = DEFAULT_OUT
    storage: Storage = None
    data_root: DataRoot = None

    @property
    def place(self) -> str:
        """Where the run folders are: a path or URI."""
        return self.storage or str(self.out)

    def plan_of(self, study: str) -> "WrittenPlan":
        """The plan of a study's file or name; raises what `find_plan` raises."""
        from rml_platform.planning.plan_file.find_plan import find_plan

        return find_plan(
            study,
            overrides=self.set_,
            plugins=self.plugin,
            profile=self.profile,
            out=self.out,
            storage=self.storage,
            data_root=self.data_root,
        )

    def plans_to_show(self, studies: Sequence[str]) -> "list[WrittenPlan]":
        """The plans of studies whose results are shown. Raises DashboardError for a search, too."""
        from rml_dashboards.studies.plan import check_no_search

        plans = [self.plan_of(study) for study in studies]
        for plan in plans:
            check_no_search(plan)
        return plans


def takes_plan_options(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command have the fields of PlanOptions as options, where its own parameter `asked`
    stands; it gets them as that parameter."""
    hints = typing.get_type_hints(PlanOptions, include_extras=True)
    options = [
        inspect.Parameter(
            one.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=one.default,
            annotation=hints[one.name],
        )
        for one in dataclasses.fields(PlanOptions)
    ]
    parameters: list[inspect.Parameter] = []
    for one in inspect.signature(command, eval_str=True).parameters.values():
        is_asked = one.annotation is PlanOptions
        parameters += options if is_asked else [one.replace(kind=inspect.Parameter.KEYWORD_ONLY)]

    @functools.wraps(command)
    def taking(**given: Any) -> None:
        asked = PlanOptions(**{option.name: given.pop(option.name) for option in options})
        command(asked=asked, **given)

    # typer reads both: the names and defaults of the one, the types of the other.
    taking.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    taking.__annotations__ = {one.name: one.annotation for one in parameters}
    return taking
