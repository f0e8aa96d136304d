"""The view of a grid while it runs: a live table on a terminal, plain lines at changes elsewhere.

It reads run folders only, from a thread of its own, beside the one that sends them to the tracker.
"""

import contextlib
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from rml_platform.planning.costs.forecast import trained
from rml_platform.run.faults.ending import Ending
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.many_runs import REQUESTS_AT_ONCE
from rml_platform.run.run_folder import RunFolder, RunRecord, to_keep
from rml_platform.tracking.publisher import Synchronises
from rml_trainers.scoring.score import in_per_cent

POLL_LOCAL_S = 1.0
POLL_REMOTE_S = 10.0
MAX_ROWS = 12
OTHERS_AT_ONCE = 100
"""How many of the runs that this launch has not started are read at each look, in turns: another
launch may be at them."""
ENDED = ("done", "failed", "cancelled")
STYLES = {
    "done": "green",
    "running": "cyan",
    "restarting": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "to do": "dim",
}


class LiveView:
    """Shows the runs of a launch and keeps the tracker up to date while its context is open."""

    def __init__(
        self,
        runs: Sequence[RunFolder],
        publisher: Synchronises,
        console: Console,
        launch_id: str,
        on_published: Callable[[str], None] = lambda run_id: None,
        done_before: Sequence[RunFolder] = (),
    ) -> None:
        """Only what an attempt of `launch_id` did is sent to the tracker: the runs of another
        launch are shown, and are its to send. `on_published` is told the id of each finished run
        that the tracker has in full. `done_before`: runs that are sent first, while the others
        begin."""
        self._launch_id = launch_id
        self._on_published = on_published
        self._published = set[str]()
        self._done_before = list(done_before)
        self._runs = {run.run_id: run for run in runs}
        self._publisher = publisher
        self._console = console
        self._started_at = time.time()
        self._records = {run_id: RunRecord(state="new") for run_id in self._runs}
        self._counts = Counter({shown_state(RunRecord(state="new")): len(self._runs)})
        self._started = dict[str, None]()
        """Runs that were started and have not come to an end."""
        self._others = itertools.cycle(self._runs)
        self._poll_s = poll_seconds(runs)
        self._threads = contextlib.ExitStack()
        self._live = (
            Live(console=console, refresh_per_second=2, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> "LiveView":
        if self._live:
            self._live.start()
        for work in (self._look, self._publish):
            self._threads.enter_context(repeated(work, self._poll_s, f"view-{work.__name__}"))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        self._threads.close()
        ending = Ending(1 if self._poll_s == POLL_LOCAL_S else REQUESTS_AT_ONCE)
        left = [run_id for run_id, record in self._records.items() if record.state != "done"]
        found = ending.of_each(lambda run_id: self._runs[run_id].record(), left)
        for run_id, record in found.items():
            self._take_in(run_id, record)
        if self._live:
            self._live.update(render(self._records))
            self._live.stop()
        if ending.error is not None and error is None:
            raise ending.error
        # Otherwise the launch ends anyhow, and says what became of its runs.

    def on_started(self, run_id: str) -> None:
        """The launch has started a run: it is read at every look from here on, until it has come
        to an end."""
        self._started[run_id] = None

    def _publish(self) -> None:
        done_before = self._done_before
        self._done_before = []
        self._publisher.sync(done_before)
        own = {
            run_id: record
            for run_id, record in self._records.items()
            if record.heartbeat is not None
            and record.heartbeat.launch_id == self._launch_id
            and run_id not in self._published
        }
        behind = self._publisher.sync(self._runs[run_id] for run_id in own)
        for run_id, record in own.items():
            if record.state == "done" and run_id not in behind:
                self._published.add(run_id)
                self._on_published(run_id)

    def _look(self) -> None:
        """Read how the runs stand that may have moved; with thousands that wait all of them would
        take longer than the pause between two looks."""
        others = itertools.islice(self._others, min(OTHERS_AT_ONCE, len(self._runs)))
        for run_id in dict.fromkeys((*self._started.copy(), *others)):
            if self._records[run_id].state != "done":
                self._take_in(run_id, self._runs[run_id].record())
        if self._live:
            self._live.update(render(self._records))

    def _take_in(self, run_id: str, record: RunRecord) -> None:
        before = self._records[run_id]
        now = self._records[run_id] = self._fresh(record)
        self._counts[shown_state(before)] -= 1
        self._counts[shown_state(now)] += 1
        if now.state in ENDED:
            self._started.pop(run_id, None)
        elif now.state != "new":
            self._started[run_id] = None
        if not self._live:
            self._print_change(run_id, before, now)
        # What was told of its end is not needed any more.
        self._records[run_id] = replace(to_keep(now), result=None)

    def _fresh(self, record: RunRecord) -> RunRecord:
        """What earlier launches left behind (a failure, an old heartbeat) is not news: the run is
        still to do."""
        beat = record.heartbeat
        is_old = record.state != "done" and (beat is None or beat.time < self._started_at)
        return RunRecord(state="new", heartbeat=beat) if is_old else record

    def _print_change(self, run_id: str, before: RunRecord, now: RunRecord) -> None:
        stage = now.heartbeat.stage if now.heartbeat else 0
        stage_before = before.heartbeat.stage if before.heartbeat else 0
        if now.state == before.state and (now.state != "running" or stage == stage_before):
            return
        line = f"{time.strftime('%H:%M:%S')} {run_id}: {shown_state(now)}"
        if now.state == "running" and now.heartbeat is not None:
            beat = now.heartbeat
            line += (
                f", stage {beat.stage}/{max(0, beat.num_stages - 1)}, step "
                f"{beat.step}/{beat.num_steps}"
            )
        if now.result is not None:
            line += f", mIoU {in_per_cent(now.result.evaluations[0].miou)}"
        if now.failure is not None:
            line += f": {now.failure.message}"
        self._console.print(
            f"{line}  [{self._counts['done']}/{len(self._records)} done]",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def poll_seconds(runs: Iterable[RunFolder]) -> float:
    """How often to look at runs; object stores are asked more rarely."""
    return POLL_LOCAL_S if all(run.folder.local for run in runs) else POLL_REMOTE_S


def shown_state(record: RunRecord) -> str:
    """In words; a run that is cut off while its launch lives has lost its process and is about to
    get a new one."""
    return {"new": "to do", "cut_off": "restarting"}.get(record.state, record.state)


def render(records: dict[str, RunRecord]) -> RenderableType:
    """Summary line and one line for each run that is moving or failed."""
    counts = Counter(shown_state(record) for record in records.values())
    parts = [
        Text(f"{counts[state]} {state}", style=style)
        for state, style in STYLES.items()
        if counts[state]
    ]
    left = seconds_left(records)
    summary = Text(" · ").join([*parts, *([Text(f"about {duration(left)} left")] if left else [])])
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("run", "stage", "", "step", "loss", "mIoU", "left"):
        table.add_column(
            heading, justify="left" if heading in ("run", "") else "right", no_wrap=True
        )
    moving = [(i, r) for i, r in records.items() if r.state in ("running", "cut_off", "failed")]
    for run_id, record in moving[:MAX_ROWS]:
        table.add_row(*_row(run_id, record))
    more = (
        [Text(f"… and {len(moving) - MAX_ROWS} more", style="dim")]
        if len(moving) > MAX_ROWS
        else []
    )
    return Group(summary, *([table] if moving else []), *more)


def _row(run_id: str, record: RunRecord) -> Iterable[RenderableType]:
    if record.failure is not None:
        return (
            Text(run_id, style="red"),
            "",
            Text(record.failure.message.splitlines()[0][:60], style="red"),
        )
    beat = record.heartbeat
    if beat is None or beat.num_steps == 0:
        return (run_id,)
    loss = "" if beat.loss is None else f"{beat.loss:.3f}"
    miou = "" if beat.miou is None else f"{100 * beat.miou:.1f}"
    bar = ProgressBar(total=beat.num_steps, completed=beat.step, width=20)
    stage = f"{beat.stage}/{max(0, beat.num_stages - 1)}"
    left = _own_seconds_left(record)
    return (
        run_id,
        stage,
        bar,
        f"{beat.step}/{beat.num_steps}",
        loss,
        miou,
        duration(left) if left else "",
    )


def _own_seconds_left(record: RunRecord) -> float | None:
    """From the run's own pace so far, evaluations and checkpoints included, its start left out."""
    beat = record.heartbeat
    seconds, steps = trained(record)
    if beat is None or steps <= 0:
        return None
    return seconds / steps * (beat.num_steps - beat.step)


def seconds_left(records: dict[str, RunRecord]) -> float | None:
    """Until the whole grid is done, taking runs not begun to be as long as the mean of the others;
    None: no idea."""
    whole = [
        r.heartbeat.start_up_s + seconds / steps * r.heartbeat.num_steps
        for r in records.values()
        for seconds, steps in [trained(r)]
        if r.heartbeat is not None and steps > 0
    ]
    if not whole:
        return None
    moving = [
        left
        for r in records.values()
        if r.state in ("running", "cut_off") and (left := _own_seconds_left(r))
    ]
    waiting = sum(r.state == "new" for r in records.values())
    at_once = max(1, sum(r.state == "running" for r in records.values()))
    total = sum(moving) + waiting * sum(whole) / len(whole)
    return max(total / at_once, max(moving, default=0.0))


def duration(seconds: float) -> str:
    """Rough and short: 40 s, 12 min, 3.5 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def note_on(console: Console) -> Callable[[str], None]:
    """Where the publisher's notes go."""
    return lambda text: console.print(f"note: {text}", markup=False, highlight=False)
