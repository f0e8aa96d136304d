"""Launching the runs of a plan: what is done is left alone, what was cut off goes on, the rest is
started.

Every launch is a fresh sweep over the runs that have no result yet. Launching twice does nothing
the second time; launching again after anything was killed finishes it.
"""

import functools
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console

from rml_platform.launch.claiming import LaunchClaims, new_launch_id
from rml_platform.launch.direct import carry_out_here
from rml_platform.launch.live_view import LiveView, note_on, poll_seconds
from rml_platform.launch.on_ray.carrying_out import on_ray, ray_ahead
from rml_platform.launch.outcomes import (
    LaunchReport,
    close_all,
    note_old_metrics,
    storage_error,
    told_as_one_sentence,
    triage,
    write_losses,
)
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.scheduling.budgets import DEADLINE_PASSED, NO_TERMS, Terms, budget_of
from rml_platform.launch.scheduling.notices import (
    End,
    StudyEnds,
    end_without_result,
    notifying,
    tell_failure,
    watching,
)
from rml_platform.launch.scheduling.queue_state import telling
from rml_platform.launch.scheduling.search import Searches
from rml_platform.launch.scheduling.turns import Judge, Turns, places_of
from rml_platform.launch.scheduling.wishes import CANCELLED, WAITS_FOR_ROOM, LiveWishes
from rml_platform.launch.session.local_ray import LocalRay
from rml_platform.launch.sizing import labels_of, sized_ahead, tasks_of
from rml_platform.launch.stop_signals import exit_code_of, stopping_on_signals
from rml_platform.planning.feasible import check_pretrained
from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan
from rml_platform.run.faults.ending import Ending
from rml_platform.run.faults.lease import lease
from rml_platform.run.faults.outages import until_it_answers
from rml_platform.run.faults.repeated import repeated
from rml_platform.run.files.temporary import sweep
from rml_platform.run.many_runs import REQUESTS_AT_ONCE
from rml_platform.run.run_folder import CANCEL_FILE, RunFolder
from rml_platform.run.shared_stages import StageEnds, mark_shared
from rml_platform.run.storage import Folder
from rml_platform.run.task import RunTask
from rml_platform.tracking.opening import open_tracker
from rml_platform.tracking.publisher import sync_at_the_end
from rml_platform.tracking.several_studies import StudyPublishers

CarryOut = Callable[..., Mapping[str, str]]
"""Carries tasks out in the order that `turns` gives; returns what Ray says of those that were
lost."""


def launch(
    plans: Plan | Sequence[Plan],
    *,
    layout: OutputLayout,
    data_root: Path | None,
    tracking_uri: str | None = None,
    address: str | None = None,
    max_concurrent: int | None = None,
    with_ray: bool = True,
    ship: bool = False,
    terms: Terms = NO_TERMS,
    notify: Sequence[str] = (),
    system_metrics: bool = False,
    console: Console | None = None,
    trainer_class: Callable[..., Any] | None = None,
    carry_out: CarryOut | None = None,
) -> LaunchReport:
    """Bring every run of the plans to its end, in one queue. Ctrl-C, SIGTERM and SIGHUP stop it
    cleanly. A run of several studies is trained once, with the resources and rules of the first.

    Args:
        tracking_uri: MLflow server or database, or `none`; default: SQLite under the root.
        address: Ray cluster; default: a local Ray for this launch alone.
        max_concurrent: most runs at the same time; default: as many as the resources allow.
        terms: budget and deadline.
        notify: URLs that are told of ends, failures and standstill.
        system_metrics: runs also record what they use of their machines.
        with_ray: False: one run after the other in this process, on a machine without Ray.
        ship: send this version of the code and its plug-ins along to the nodes of the cluster.
        carry_out: who trains the runs; default: Ray, or this process.
    Raises:
        TrackingError, HubAwayError: MLflow cannot be used, or weights be had; nothing was started.
        ConfigError: one run needs more than the cluster has, or Ray, or its nodes run other code.
    """
    started = time.monotonic()
    report = LaunchReport()
    note = note_on(console := console or Console())
    plans = (plans,) if isinstance(plans, Plan) else tuple(plans)
    studies = labels_of(plans)
    try:
        here = (is_local := address is None) and with_ray and carry_out is None
        with stopping_on_signals(), ray_ahead(plans, layout.storage, here, max_concurrent) as ahead:
            tracker = open_tracker(tracking_uri, layout.root, layout.artifacts)
            publisher = StudyPublishers.checked(tracker, studies, note)
            carry_out = functools.partial(
                carry_out or (on_ray(ahead) if with_ray else carry_out_here),
                studies={plan.study.name: plan.study for plan in plans},
                address=address,
                max_concurrent=max_concurrent,
                ship=ship,
                trainer_class=trainer_class,
                on_note=note,
            )
            with notifying(notify, own := new_launch_id(), note, studies, report) as told:
                asked = (console, report, terms, told, own, system_metrics, is_local, with_ray)
                _Launch(plans, layout, data_root, publisher, *asked).bring_to_end(carry_out, ahead)
    except KeyboardInterrupt as stop:
        report.stopped_with = exit_code_of(stop)
    report.seconds = time.monotonic() - started
    return report


class _Launch:
    """The runs of one or several plans, and what one launch does with them."""

    def __init__(
        self,
        plans: Sequence[Plan],
        layout: OutputLayout,
        data_root: Path | None,
        publisher: StudyPublishers,
        console: Console,
        report: LaunchReport,
        terms: Terms,
        told: StudyEnds,
        launch_id: str,
        system_metrics: bool,
        is_local: bool,
        with_ray: bool,
    ) -> None:
        self._is_local = is_local
        self.launch_id = launch_id
        self._told = told
        here = Machine.here()
        self.tasks = dict[str, RunTask]()
        for one, study in tasks_of(plans, layout, data_root, launch_id):
            task = sized_ahead(one, study, here, is_local=is_local, with_ray=with_ray)
            task = replace(task, stop_by=terms.deadline, system_metrics=system_metrics)
            self.tasks[task.run_id] = task
        self.folders = {run_id: RunFolder.of(layout.storage, run_id) for run_id in self.tasks}
        self._configs = {run.run_id: run.config for plan in plans for run in plan.runs}
        self._ends = StageEnds(self._configs)
        self._storage = layout.storage
        self._on_note = note_on(console)
        self._places = places_of(plans)
        self._budget = budget_of(plans, self.folders, terms, layout.root, is_local=is_local)
        self._searches = Searches(plans, layout.storage, self.folders, self._on_note)
        self._wishes = {
            plan.study.name: LiveWishes.of(plan.study, layout.storage, self._on_note)
            for plan in plans
        }
        self.claims = LaunchClaims(layout.storage, self.folders, self.launch_id, self._on_note)
        self._lease = lease(layout.storage, self.launch_id)
        self._publisher = publisher
        self._console = console
        self._report = report
        self._poll_s = poll_seconds(self.folders.values())
        self._at_once = 1 if Folder.open(layout.storage).local else REQUESTS_AT_ONCE
        self._on_started: Callable[[str], None] = lambda run_id: None

    def bring_to_end(self, carry_out: CarryOut, ahead: LocalRay | None) -> None:
        """Carry out what is left of the plan, and follow what another launch is at; the report
        says what became of each run, also when this is interrupted.

        Args:
            ahead: a Ray that was started beforehand; while this launch only follows, others have
                what it holds of the machine.
        Raises:
            StorageError: the storage lets nothing be written, such as one that is full; what could
                be closed, sent and given back is.
        """
        with told_as_one_sentence(self._storage):
            self._bring_to_end(carry_out, ahead)

    def _bring_to_end(self, carry_out: CarryOut, ahead: LocalRay | None) -> None:
        sweep()  # of a launch that was killed; this one may have nothing to do that would
        pending = triage(self.folders, self._report, self._on_note)
        self._told.look()
        done = [self.folders[run_id] for run_id in self._report.done_before]
        note_old_metrics(done, self._on_note)
        if not pending:
            self._publisher.sync(done)
        else:
            if self._is_local:
                check_pretrained(self._configs[run_id] for run_id in pending)
            open_runs = [self.folders[run_id] for run_id in pending]
            view = LiveView(
                open_runs,
                self._publisher,
                self._console,
                self.launch_id,
                self.claims.give_back,
                done,
            )
            self._on_started = view.on_started
            try:
                with self._lease, view, watching(self._told.notifier, open_runs):
                    while pending := self._one_round(pending, carry_out):
                        if self._budget.is_past_deadline:
                            self._report.held_back |= dict.fromkeys(pending, DEADLINE_PASSED)
                            break
                        if ahead is not None:
                            ahead.close()
                        self._wait()
            finally:
                self._end()

    def _wait(self) -> None:
        time.sleep(self._poll_s)

    def _one_round(self, pending: Sequence[str], carry_out: CarryOut) -> list[str]:
        """Look what another launch brought to an end, and carry out what nobody is at; returns what
        another launch still is at."""
        left = [
            run_id
            for run_id in pending
            if not until_it_answers(functools.partial(self._settled_elsewhere, run_id))
        ]
        own = self._claimed(left)
        if own:
            self._carry_out(own, carry_out)
        self._told.look()
        settled = self._report.settled()
        return [run_id for run_id in left if run_id not in settled]

    def _claimed(self, pending: Sequence[str]) -> list[str]:
        """Claim the runs that nobody is at, except those that another launch has just finished."""
        own = until_it_answers(functools.partial(self.claims.take, pending))
        records = {run_id: until_it_answers(self.folders[run_id].record) for run_id in own}
        done = [run_id for run_id, record in records.items() if record.result is not None]
        self._budget.take(records)
        for run_id in done:
            until_it_answers(functools.partial(self._give_back, run_id))
        self._report.done_elsewhere += done
        return [run_id for run_id in own if run_id not in done]

    def _carry_out(self, own: Sequence[str], carry_out: CarryOut) -> None:
        for run_id in own:
            if not self._is_cancelled(run_id):
                folder = self.folders[run_id].folder
                until_it_answers(functools.partial(folder.delete, CANCEL_FILE))
        mine = set(own)
        neighbours = [task for run_id, task in self.tasks.items() if run_id not in mine]
        turns = Turns(
            self._places,
            self._wishes,
            self._judging,
            on_given_up=lambda run_id: self._tell_failure(run_id, turns),
            on_started=self._on_started,
            ends=self._ends,
            on_done=lambda run_id: self._note_end(run_id, "done", turns),
        )
        tasks = mark_shared([self.tasks[run_id] for run_id in own], neighbours, self._ends)
        self.tasks |= {task.run_id: task for task in tasks}  # once, of thousands
        try:
            lost: Mapping[str, str] = {}
            until_it_answers(self._searches.take_in)  # what whoever had these runs has decided
            if until_it_answers(functools.partial(turns.may_any_start, tasks)):
                # Otherwise Ray is not needed at all.
                told = telling(
                    self._storage, self.launch_id, lambda: (turns.under_way(), turns.reasons())
                )

                def stop() -> None:
                    self._budget.stop_what_is_over(turns.under_way())
                    self._searches.look(turns.under_way())

                watch = repeated(stop, self._poll_s, "budget", self._on_note)
                with told, watch:
                    lost = carry_out(tasks, turns=turns)
            else:
                for task in tasks:  # it says why of those that wait
                    turns.add(task)
            kept = {i: text for i, text in lost.items() if self._holds(i)}
            until_it_answers(lambda: write_losses(kept, self.folders, self.launch_id))
        finally:
            self._close(own, turns)

    def _close(self, own: Sequence[str], turns: Turns) -> None:
        """Close the runs, send what the tracker lacks of them, and give them back, whatever goes
        wrong with one of these. Raises StorageError in the end, unless something else ends the
        launch already."""
        is_ending = sys.exception() is not None
        ending = Ending(self._at_once)
        try:
            still = ending.of_each(lambda i: self.claims.holds(i) or self._has_result(i), own)
            # A run that another launch took over in the meantime is followed from here on.
            mine = [self.folders[run_id] for run_id in own if still.get(run_id, True)]
            close_all(mine, self.launch_id, self._report, ending)
            ending.do(functools.partial(self._note_held_back, turns))
            self._send_last(own)
        finally:
            ending.of_each(self._give_back, own)
        if ending.error is not None:
            error = storage_error(ending.error, self._storage)
            if not is_ending:
                raise error from ending.error
            self._on_note(str(error))

    def _send_last(self, run_ids: Iterable[str]) -> list[str]:
        """Bring the tracker up to date for good; returns the runs for which that failed."""
        runs = [self.folders[run_id] for run_id in run_ids]
        return sync_at_the_end(self._publisher, runs, self._on_note)

    def _holds(self, run_id: str) -> bool:
        return until_it_answers(functools.partial(self.claims.holds, run_id))

    def _has_result(self, run_id: str) -> bool:
        return self.folders[run_id].record().result is not None

    def _give_back(self, run_id: str) -> None:
        self.claims.give_back(run_id)
        self._budget.give_back(run_id)

    def _judging(self, under_way: Sequence[RunTask], started: RunTask | None) -> Judge:
        within_budget = self._budget.judging(under_way, started)

        def judge(task: RunTask, without: Collection[str] = ()) -> str:
            return self._searches.why_stopped(task.run_id) or within_budget(task, without)

        return judge

    def _tell_failure(self, run_id: str, turns: Turns) -> None:
        record = self.folders[run_id].record()
        tell_failure(self._told.notifier, run_id, record, self.launch_id)
        self._note_end(run_id, end_without_result(record, self.launch_id), turns)

    def _note_end(self, run_id: str, end: End, turns: Turns) -> None:
        """A run has come to its end; where its study has, people are told while the runs of others
        go on. What is cancelled, or stopped by a search, is not waited for."""
        self._told.note(run_id, end)
        if not self._told.notifier.has_listeners:
            return
        under_way = set(turns.under_way())
        cancelled = {i for wishes in self._wishes.values() for i in wishes.now().cancelled}

        def is_waited_for(other: str) -> bool:
            is_held = other in cancelled or bool(self._searches.why_stopped(other))
            return other in under_way or not is_held

        self._told.look(is_waited_for)

    def _note_held_back(self, turns: Turns) -> None:
        """Why runs that are left were not started, where it was not for want of time."""
        reasons = turns.reasons(())
        for run_id in self._report.left:
            why = self._searches.why_stopped(run_id) or self._budget.why_stopped(run_id)
            reason = why or reasons.get(run_id, WAITS_FOR_ROOM)
            if self._is_cancelled(run_id):
                self._report.held_back[run_id] = CANCELLED
            elif not reason.startswith(WAITS_FOR_ROOM):
                self._report.held_back[run_id] = reason

    def _is_cancelled(self, run_id: str) -> bool:
        studies = (place.study for place in self._places[run_id])
        return any(run_id in self._wishes[study].now().cancelled for study in studies)

    def _settled_elsewhere(self, run_id: str) -> bool:
        """Whether another launch brought the run to an end; it is in the report then."""
        end = self.claims.end_elsewhere(run_id)
        failure = self.folders[run_id].record().failure if end == "failed" else None
        if failure is not None:
            self._report.failed[run_id] = failure
        elif end == "done":
            self._report.done_elsewhere.append(run_id)
        elif end is not None:
            self._report.left.append(run_id)
        return end is not None

    def _end(self) -> None:
        """Report what another launch still is at, and bring the tracker up to date with the
        rest."""
        settled = self._report.settled()
        self._report.running_elsewhere = [i for i in self.folders if i not in settled]
        self._report.untracked = self._send_last(i for i in self.folders if i in settled)
