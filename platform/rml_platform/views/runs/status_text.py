"""How `rml status` shows where the runs of a study stand."""

import itertools
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.text import Text

from rml_platform.launch.live_view import duration
from rml_platform.launch.scheduling.wishes import WAITS_FOR_ROOM
from rml_platform.planning.costs.forecast import by_row
from rml_platform.views.runs.cost_table import hours, size
from rml_platform.views.runs.standing import RunStanding, Standing
from rml_platform.views.text_columns import Cell, text_columns
from rml_trainers.scoring.score import in_per_cent

SHOWN = {"new": "to do", "cut_off": "cut off"}
STYLES = {
    "done": "green",
    "running": "cyan",
    "waiting": "blue",
    "failed": "red",
    "cancelled": "yellow",
    "cut_off": "yellow",
    "new": "dim",
}
LONGEST_REASON = 80


def status_text(now: Standing) -> RenderableType:
    """One line per run, why some failed, one line per row that is left, and the sum."""
    parts = [_runs(now), *_troubles(now)]
    rows = _rows(now)
    return Group(*parts, *([rows] if rows else []), *map(Text, _sums(now)))


def _runs(now: Standing) -> Text:
    on_gpus = any(r.record.heartbeat and r.record.heartbeat.gpu_memory_bytes for r in now.runs)
    gpu = ("GPU %", "memory") if on_gpus else ()
    right = ("step", "loss", "mIoU", "steps/s", *gpu, "left", "seen")
    headings = ("run", "state", *right, "why")
    lines = [_run(run, now.time, on_gpus=on_gpus) for run in now.runs]
    return text_columns(headings, lines, frozenset(right))


def _run(run: RunStanding, now: float, *, on_gpus: bool) -> tuple[Cell, ...]:
    beat = run.record.heartbeat
    is_running = run.state == "running"
    gpu: tuple[str, ...] = ()
    if on_gpus:
        memory = beat.gpu_memory_bytes if beat and is_running else None
        busy = beat.gpu_percent if beat and is_running else None
        gpu = (
            "" if busy is None else f"{busy:.0f}",
            "" if memory is None else size(memory),
        )
    why = "" if run.record.failure else run.reason
    return (
        run.run.run_id,
        Text(SHOWN.get(run.state, run.state), style=STYLES[run.state]),
        f"{run.step}/{run.run.num_steps}",
        "" if beat is None or beat.loss is None else f"{beat.loss:.3f}",
        "" if run.miou is None else in_per_cent(run.miou),
        "" if run.steps_per_second is None else f"{run.steps_per_second:.3g}",
        *gpu,
        _left(run.seconds_left) if is_running else "",
        f"{max(0.0, now - beat.time):.0f} s ago" if beat and is_running else "",
        why if len(why) <= LONGEST_REASON else f"{why[:LONGEST_REASON]}…",
    )


def _left(seconds: float | None) -> str:
    return "unknown" if seconds is None else duration(seconds)


def _troubles(now: Standing) -> Iterator[Text]:
    for run in now.runs:
        for text in run.record.damaged:
            yield Text(f"{run.run.run_id}: {text}; it counts as absent", style="yellow")
        failure = run.record.failure
        if failure is not None:
            yield Text(f"{run.run.run_id}: {failure.kind}: {failure.message}", style="red")


def _rows(now: Standing) -> Text | None:
    rows = by_row(now.plan, now.left)
    if len(rows) < 2:
        return None
    lines = []
    for row, runs in rows.items():
        sum_ = now.total(runs)
        is_known = sum_.num_unknown < sum_.num_runs
        lines.append(
            (
                row,
                str(sum_.num_runs),
                hours(sum_.device_hours) if is_known else "?",
                duration(sum_.wall_seconds) if is_known else "?",
            )
        )
    headings = ("left of", "runs", f"{now.devices.unit}-hours", "time")
    return text_columns(headings, lines, frozenset(headings[1:]))


def _sums(now: Standing) -> Iterator[str]:
    counts = now.counts
    parts = ", ".join(f"{counts[s]} {SHOWN.get(s, s)}" for s in STYLES if counts[s])
    yield f"{len(now.runs)} runs for {len(now.plan.cells)} cells: {parts}"
    for queue in now.queues:
        launcher = queue.launcher
        turns = (run for run, why in queue.waiting.items() if why.startswith(WAITS_FOR_ROOM))
        following = "".join(f"; next: {run}" for run in itertools.islice(turns, 1))
        who = f"process {launcher.pid} on {launcher.host}"
        yield f"launch {queue.launch_id} is at it ({who}){following}"
    pace = sum(run.steps_per_second or 0 for run in now.runs)
    if pace:
        yield f"{pace:.3g} steps/s together"
    sum_ = now.total()
    if sum_.num_runs > sum_.num_unknown:
        at_once = f"{now.at_once} at once" if now.counts["running"] else "one after the other"
        yield (
            f"left: about {hours(sum_.device_hours)} {now.devices.unit}-hours, "
            f"{duration(sum_.wall_seconds)} with {at_once} (from {'; '.join(sum_.sources)})"
        )
    if sum_.num_unknown:
        yield (
            f"left: {sum_.num_unknown} runs, ETA unknown until one of them has trained some steps "
            "(rml plan --probe measures them before)"
        )
