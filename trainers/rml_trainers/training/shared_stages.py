"""Stages that runs have in common: the state at the end of a stage depends on less than the whole
run.

All methods with as many students share one warm-up, and a run of two stages begins as the run of
one stage does. Because everything random is a function of seed, stage and step, a run that takes
over such a state ends with the same weights, bit for bit, as one that trains from its first step.
Where both also report the same, it has the other's reports of those steps for its own.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from rml_trainers import RESULT_VERSION
from rml_trainers.config import RunConfig
from rml_trainers.scoring.metrics import METRICS
from rml_trainers.training.identity import identity_fields, mended
from rml_trainers.training.stages import stages_of


@dataclass(frozen=True)
class StageEnd:
    """The end of one stage of a run."""

    step: int
    hash: str
    """24 hex digits over all that the networks depend on at this step."""
    history: str
    """The same over that and all that decides what a run reports up to this step."""


def stage_ends(config: RunConfig, *, split_hash: str, data_hash: str) -> tuple[StageEnd, ...]:
    """The ends of all stages of a run, in order. None for `supervised`, whose only stage is the
    whole run."""
    if not config.method.uses_unlabelled:
        return ()
    found = []
    of_run = identity_fields(config)
    for stage in stages_of(config):
        fields = dict(of_run)
        fields["schedule"] = {"warm_up_steps": config.schedule.warm_up_steps}
        if stage.index > 0:
            fields["schedule"]["stage_steps"] = config.schedule.stage_steps[: stage.index]
        if stage.index > 1:
            fields["schedule"]["students_restart"] = config.schedule.students_restart
        if stage.warm_up:
            _leave_out_what_warm_up_ignores(fields, config)
        state = [fields, split_hash, data_hash, RESULT_VERSION]
        found.append(StageEnd(stage.last_step, _hash(state), _hash([*state, _reports(config)])))
    return tuple(found)


def _reports(config: RunConfig) -> dict[str, Any]:
    """What a run tells of its steps, and when; nothing of it changes a weight."""
    over_train_set = config.evaluation.monitor_coupling == "train_set"
    return {
        "evaluation": dataclasses.asdict(config.evaluation),
        "log_every_steps": config.runtime.log_every_steps,
        "metrics": sorted(METRICS),
        "labeller": config.method.labeller if over_train_set else None,
    }


def _hash(fields: list[Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:24]


def _leave_out_what_warm_up_ignores(fields: dict[str, Any], config: RunConfig) -> None:
    """Exchange, of a copy, the parts that have no part in a supervised step. Whatever is not named
    here is taken to have one."""
    fields["method"] = {"num_students": config.method.num_students}
    fields.pop("unsupervised_weight", None)
    for name in mended(config):
        fields.pop(name)
    keep = {"noise": ("model", "dropout", "drop_path"), "batch": ("labelled", "accumulate")}
    if "moment" not in fields.get(
        "evaluation", {}
    ):  # otherwise the scores so far are part of the state
        keep["evaluation"] = ("num_holdout",)
    for block, names in keep.items():
        kept = {name: value for name, value in fields.pop(block, {}).items() if name in names}
        if kept:
            fields[block] = kept
