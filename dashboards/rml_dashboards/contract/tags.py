"""The tags of a run: what it can be found by and traced to."""

import json
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any

PREFIX = "rml."
CURRENT_RESULTS = 1
"""The trainer's `RESULT_VERSION` in this version of the program, for those who do not import the
trainer; scores of another one are stale. A test holds the two together."""
SUMMARY = "rml.summary"
"""Tag of the one record per study that holds its table; such a record has no run id, and is no
run."""
SEEDS = ("seed", "split.seed")
FIRST_RESULTS = 1
"""Version of runs that state none: there was no other when they were recorded."""


class Tag(StrEnum):
    """Every tag that is recorded, by its full name."""

    RUN_ID = "rml.run_id"
    """Identity of the run; a tracker has one record for each."""
    STUDY = "rml.study"
    """Study that trained it."""
    STUDIES = "rml.studies"
    """All studies that have it, sorted, with commas between them."""
    METHOD = "rml.method"
    DATA = "rml.data"
    SPLIT = "rml.split"
    """`<family>/<number or share of labelled images>/<seed>`."""
    SPLIT_HASH = "rml.split_hash"
    DATA_HASH = "rml.data_hash"
    SEED = "rml.seed"
    PROTOCOL = "rml.protocol"
    """Protocol of the first scored network's final scores."""
    CODE_VERSION = "rml.code_version"
    DIRTY = "rml.dirty"
    """`true` where the code had uncommitted changes."""
    HOST = "rml.host"
    DEVICE = "rml.device"
    DEVICES = "rml.devices"
    """What the run holds while it trains: `2 GPU`, or `4 core` where it has no GPU."""
    THREADS = "rml.threads"
    """CPU threads of a worker: on the CPU sums are cut, and so rounded, by their number."""
    ATTEMPT = "rml.attempt"
    """Starts of the run so far."""
    MICRO_BATCHES = "rml.micro_batches"
    """How many times more micro-batches than asked for its steps were cut into, after the device
    ran out of memory; absent where they were not."""
    RESULT_VERSION = "rml.result_version"
    """Version of the trainer's results that the code had which planned the run."""
    REPEAT_OF = "rml.repeat_of"
    """Run id of the run that it repeats with other rounding; absent where it repeats none."""
    PLUGINS = "rml.plugins"
    """`<name>@<hash of its content>` of every plug-in that the run uses, with blanks between them;
    absent where it uses none."""
    FAILURE = "rml.failure"
    """`<class of the error>: <message>`; empty once it is overcome."""

    @property
    def short(self) -> str:
        """The name without `rml.`, as columns of tidy tables have it."""
        return self.value.removeprefix(PREFIX)


def place_tags(study: str, places: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Where a run stands in a study's table: `rml.row.<study>` and `rml.column.<study>`, by which
    a tracker can group its runs. Of a run in several places all labels are told, once each.

    Args:
        places: row and column of each cell that the run fills.
    """
    found = tuple(places)
    rows = dict.fromkeys(row for row, _ in found)
    columns = dict.fromkeys(column for _, column in found)
    labels = {"row": ", ".join(rows), "column": ", ".join(columns)}
    return {f"{PREFIX}{what}.{study}": text for what, text in labels.items() if text}


def differences_tag(study: str, settings: Mapping[str, Any]) -> dict[str, str]:
    """What a run has in those settings in which the runs of a study differ, so that a tracker's
    list shows it beside eighty parameters that are all alike: `rml.differs.<study>`.

    Args:
        settings: by dotted key; seeds are left out, because rows and columns do not differ in them.
    """
    own = {key: value for key, value in settings.items() if key not in SEEDS}
    text = ", ".join(f"{key}={_shown(value)}" for key, value in sorted(own.items()))
    return {f"{PREFIX}differs.{study}": text} if text else {}


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def task_tags(task: Mapping[str, Any]) -> dict[str, str]:
    """Tags that follow from what was asked for: the content of task.json."""
    config = json.loads(task["config_json"])
    split = config["split"]
    amount = split["fraction"] if split["num_labelled"] is None else split["num_labelled"]
    tags = {
        Tag.STUDY: task["study"],
        Tag.METHOD: config["method"]["name"],
        Tag.DATA: config["data"]["name"],
        Tag.SPLIT: f"{split['family']}/{amount}/{split['seed']}",
        Tag.SPLIT_HASH: task["split_hash"],
        Tag.DATA_HASH: task["data_hash"],
        Tag.SEED: config["seed"],
        Tag.CODE_VERSION: task["code_version"],
        Tag.DIRTY: str(task["dirty"]).lower(),
        Tag.RESULT_VERSION: task.get("result_version", FIRST_RESULTS),
    }
    plugins = [f"{plugin['name']}@{plugin['hash']}" for plugin in task.get("plugins", ())]
    if "num_workers" in task:
        tags[Tag.DEVICES] = _devices_text(task)
        own = config.get("runtime", {}).get("threads")
        tags[Tag.THREADS] = threads_of(own, task["cpus_per_worker"])
    if task.get("repeat_of"):
        tags[Tag.REPEAT_OF] = task["repeat_of"]
    if plugins:
        tags[Tag.PLUGINS] = " ".join(plugins)
    return {tag.value: str(value) for tag, value in tags.items()}


def threads_of(asked: int | None, cpus_per_worker: float) -> int:
    """CPU threads of a worker.

    Args:
        asked: by the setting `runtime.threads`; without, a thread for each whole core of its own.
    """
    return asked or max(1, int(cpus_per_worker))


def _devices_text(task: Mapping[str, Any]) -> str:
    gpus = task["num_workers"] * task["gpus_per_worker"]
    cores = task["num_workers"] * task["cpus_per_worker"]
    return f"{gpus:g} GPU" if gpus else f"{cores:g} core"


def devices_of(text: str, device: str) -> tuple[float, str]:
    """How many devices a run holds, and which: `GPU` or `core`.

    Args:
        text: value of the tag of the devices; empty where the run has none: then it is one device.
        device: value of the tag of the device. A run that was given no GPU and trained on one holds
            that.
    """
    has_gpu = device not in ("", "cpu")
    count, _, unit = text.partition(" ")
    if not unit or (unit == "core" and has_gpu):
        return 1.0, "GPU" if has_gpu else "core"
    return float(count), unit


def heartbeat_tags(heartbeat: Mapping[str, Any]) -> dict[str, str]:
    """Tags that follow from where the run was last at work: the content of heartbeat.json."""
    tags = {
        Tag.HOST.value: heartbeat["worker"]["host"],
        Tag.DEVICE.value: heartbeat["device"],
        Tag.ATTEMPT.value: str(heartbeat["attempt"]),
    }
    if heartbeat.get("micro_batches", 1) > 1:
        tags[Tag.MICRO_BATCHES.value] = str(heartbeat["micro_batches"])
    return tags


def failure_text(kind: str, message: str) -> str:
    """Value of the tag of a failure."""
    return f"{kind}: {message}"


def studies_text(*studies: str) -> str:
    """Value of the tag of all studies; each may itself be such a value, or empty."""
    return ",".join(sorted({name for text in studies for name in text.split(",")} - {""}))
