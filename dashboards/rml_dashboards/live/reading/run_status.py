"""How one run stands, from the files of its folder; a damaged one counts as absent and is named."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from rml_dashboards.contract import run_folder as names
from rml_dashboards.contract.metric_keys import MIOU
from rml_dashboards.contract.states import ALIVE, STALE_AFTER_S, RunState, run_state

T = TypeVar("T")
Read = Callable[[str], bytes | None]
GPU = "gpu_"
"""What a heartbeat says of its GPU has keys that begin so."""
REASON_LENGTH = 300
"""Characters of a failure's message that stand in lists; the run's own page has all of them."""


@dataclass(frozen=True, kw_only=True)
class RunStatus:
    """What lists show of a run."""

    state: RunState | Literal["waiting"] = "new"
    """As its folder says; `waiting` where a launch has it in its queue."""
    step: int = 0
    num_steps: int = 0
    """As the run itself says; 0: it has not said."""
    stage: int = 0
    num_stages: int = 0
    seconds: float = 0.0
    """Wall time spent on it so far."""
    start_up_s: float = 0.0
    """Of it, what attempts took until their first report of steps."""
    start_up_steps: int = 0
    """Steps that were made in that time."""
    elsewhere_s: float = 0.0
    """Of it, what went by on other devices than now, or with another number of workers."""
    elsewhere_steps: int = 0
    """Steps that were made in that time."""
    first_step: int = 0
    """Step that the run began at itself; what lies before it was taken over from another run."""
    seconds_per_step: float = 0.0
    loss: float | None = None
    miou: float | None = None
    """Of the final scores, else of the newest evaluation; a fraction."""
    seen: float | None = None
    """Unix time of the newest sign of life."""
    device: str = ""
    host: str = ""
    node: str = ""
    attempt: int = 0
    reason: str = ""
    """Why the last attempt failed: kind and message, cut; or why it waits."""
    gpu: Mapping[str, float | str] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    @property
    def seconds_of_a_step(self) -> float | None:
        """Evaluations and checkpoints included, over all steps that the run made itself on its
        present devices; of one that is not done without what its attempts took to start up. None
        where nothing tells."""
        is_done = self.state == "done"
        seconds, steps = names.seconds_and_steps(
            seconds=self.seconds - self.elsewhere_s,
            step=self.step - self.elsewhere_steps,
            first_step=self.first_step,
            start_up_s=0.0 if is_done else self.start_up_s,
            start_up_steps=0 if is_done else self.start_up_steps,
        )
        return seconds / steps if steps > 0 and seconds > 0 else None


NOT_BEGUN = RunStatus()


def status_of(files: Mapping[str, object], read: Read, now: float) -> RunStatus:
    """State of a run.

    Args:
        files: names of what its folder holds; nothing else is read.
        read: content of one of them.
        now: Unix time to judge the heartbeat by.
    """
    damaged: list[str] = []

    def sound(name: str, check: Callable[[Any], T]) -> T | None:
        content = read(name) if name in files else None
        if content is None:
            return None
        try:
            return check(json.loads(content))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            damaged.append(f"{name} is damaged and counts as absent ({error})")
            return None

    beat = sound(names.HEARTBEAT_FILE, _heartbeat)
    result = sound(names.RESULT_FILE, _result)
    failure = None if result else sound(names.FAILURE_FILE, _failure)
    if not (beat or result or failure):
        return RunStatus(damaged=tuple(damaged))
    told = dict(beat or {})
    said = told.pop("said", "")
    state = run_state(
        has_result=result is not None,
        failure_kind=failure["kind"] if failure else None,
        is_alive=is_alive(said, told["seen"], now) if beat else None,
    )
    if failure is not None:
        told |= {"seen": failure["time"], "reason": failure["reason"]}
    return RunStatus(**told | (result or {}), state=state, damaged=tuple(damaged))


def is_alive(state: str, seen: float, now: float) -> bool:
    """As far as a heartbeat's own word and its age tell; the rest only its host knows."""
    return state == ALIVE and now - seen < STALE_AFTER_S


def _heartbeat(value: Any) -> dict[str, Any]:
    """Fields of a RunStatus, and `said`: what the process called its own state."""
    texts = {
        "said": str(value["state"]),
        "device": str(value.get("device", "")),
        "node": str(value.get("node", "")),
        "host": str(value.get("worker", {}).get("host", "")),
    }
    whole = ["step", "num_steps", "stage", "num_stages", "attempt", "first_step"]
    whole += ["start_up_steps", "elsewhere_steps"]
    gpu = {
        str(key): item
        for key, item in value.items()
        if str(key).startswith(GPU) and isinstance(item, int | float | str)
    }
    return {
        **texts,
        **{name: int(value.get(name, 0)) for name in whole},
        "seen": float(value["time"]),
        "seconds": finite(value.get("seconds")) or 0.0,
        "start_up_s": finite(value.get("start_up_s")) or 0.0,
        "elsewhere_s": finite(value.get("elsewhere_s")) or 0.0,
        "seconds_per_step": finite(value.get("seconds_per_step")) or 0.0,
        "loss": finite(value.get("loss")),
        "miou": finite(value.get("miou")),
        "gpu": gpu,
    }


def _result(value: Any) -> dict[str, Any]:
    first = names.recorded_scores(value)[0]
    steps = int(value["steps"])
    return {
        "step": steps,
        "num_steps": steps,
        "seconds": float(value["seconds"]),
        "miou": finite(first.scores.get(MIOU)),
        "seen": float(value["time"]),
        "device": str(value.get("device", "")),
    }


def _failure(value: Any) -> dict[str, Any]:
    kind = str(value["kind"])
    text = f"{kind}: {value['message']}"
    reason = text if len(text) <= REASON_LENGTH else f"{text[: REASON_LENGTH - 1]}…"
    return {"kind": kind, "reason": reason, "time": float(value["time"])}


def finite(value: Any) -> float | None:
    """A number that JSON can hold; None for NaN, infinities and nothing."""
    number = math.nan if value is None else float(value)
    return number if math.isfinite(number) else None
