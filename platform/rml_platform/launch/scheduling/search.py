"""Stops runs of searches by what they report, and remembers it in `studies/<study>/search.json`,
so that neither the next launch nor one beside this one takes them up again.

A run that was stopped has no result and counts as done for nobody: a study that is no search goes
on with it from its checkpoint. Runs that such a study of the same launch has too are never stopped.
"""

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence

from rml_dashboards.contract.freshness import ReadFiles
from rml_dashboards.contract.study_plan import STUDIES
from rml_platform.launch.scheduling.halving import Halving, Verdict
from rml_platform.planning.plan import Plan
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.files.locked import locked
from rml_platform.run.metric_log import pieces
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.storage import Folder
from rml_trainers.errors import ConfigError

BY_THE_SEARCH = "stopped by the search"
"""What a reason begins with."""
STOPPED = Codec[dict[str, Verdict]](dict[str, Verdict])


def search_file(profile: str | None) -> str:
    return "search.json" if profile is None else f"search-{profile}.json"


class Searches:
    """The searches of one launch. May be asked by any thread; `look` by one."""

    def __init__(
        self,
        plans: Sequence[Plan],
        storage: str,
        folders: Mapping[str, RunFolder],
        on_note: Callable[[str], None],
    ) -> None:
        """Raises ConfigError where what an earlier launch decided cannot be read."""
        full = {run.run_id for plan in plans if plan.study.search is None for run in plan.runs}
        self._of_run: dict[str, _Search] = {}
        self._searches: list[_Search] = []
        for plan in plans:
            if plan.study.search is not None:
                search = _Search(plan, storage, folders, on_note)
                self._searches.append(search)
                own = [run.run_id for run in plan.runs if run.run_id not in full]
                self._of_run |= {run_id: search for run_id in own if run_id not in self._of_run}
        for run_id, search in self._of_run.items():
            search.read(run_id)

    def why_stopped(self, run_id: str) -> str:
        """Why a run is not started or was stopped; empty where no search did that."""
        search = self._of_run.get(run_id)
        return search.why_stopped(run_id) if search is not None else ""

    def look(self, under_way: Collection[str]) -> None:
        """Compare what runs under way have reported since; those that are to end stop after their
        next checkpoint."""
        for run_id in under_way:
            search = self._of_run.get(run_id)
            if search is not None:
                search.look(run_id)
        for one in self._searches:  # also of runs that have died since they were compared
            one.take_in()
            one.ask_to_stop()

    def take_in(self) -> None:
        """Learn what other launches have decided by now. Raises ConfigError where that cannot be
        read."""
        for one in self._searches:
            one.take_in()


class _Search:
    """The search of one study."""

    def __init__(
        self,
        plan: Plan,
        storage: str,
        folders: Mapping[str, RunFolder],
        on_note: Callable[[str], None],
    ) -> None:
        assert plan.study.search is not None
        self._config = plan.study.search
        self._halving = Halving(self._config)
        self._folders = folders
        self._on_note = on_note
        self._read_to: dict[str, int] = {}
        """Step up to which the scores of a run were read."""
        self._decided = set[str]()
        """Runs that this launch stops."""
        self._to_ask = set[str]()
        """Runs that are to stop and were not asked to so far: a score is compared once, and the
        storage may be away at that moment."""
        self._folder = Folder.open(storage).child(STUDIES, plan.study.name)
        self._file = search_file(plan.study.profile)
        self._files = ReadFiles()
        self._in_file: Mapping[str, Verdict] = {}
        self._stopped: Mapping[str, Verdict] = {}
        self.take_in()

    def take_in(self) -> None:
        """Learn what the file says now. Raises ConfigError where it is damaged."""
        found = self._folder.filesystem.get_file_info(f"{self._folder.path}/{self._file}")
        self._in_file = self._files.content(self._file, found.size, found.mtime_ns, self._read_file)
        self._stopped = {**self._stopped, **self._in_file}

    def _read_file(self) -> Mapping[str, Verdict]:
        content = self._folder.read(self._file)
        place = f"{self._folder.path}/{self._file}"
        try:
            return {} if content is None else STOPPED.decode(content, place)
        except DamagedFileError as error:
            raise ConfigError(
                f"{error}. Delete it: runs that the search has stopped go on then, and may be "
                "stopped again"
            ) from error

    def _write_down(self) -> None:
        """Add what was decided to what the file says. Object storage knows no locks: what another
        launch writes at the same moment is overwritten there, and written again by `ask_to_stop`.
        """
        with contextlib.ExitStack() as stack:
            if (place := self._folder.local) is not None:
                place.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(place / f".{self._file}.lock", ConfigError))
            stopped = {**self._stopped, **self._read_file()}
            self._folder.write(self._file, STOPPED.encode(stopped))

    def why_stopped(self, run_id: str) -> str:
        verdict = self._stopped.get(run_id)
        if verdict is None:
            return ""
        name = self._config.metric
        return (
            f"{BY_THE_SEARCH} at step {verdict.step}: {name} {verdict.score:.4g}, "
            f"{verdict.cutoff:.4g} goes on"
        )

    def read(self, run_id: str) -> None:
        """Take in what a run has reported before this launch; what was decided then stands."""
        for step, score in self._new_scores(run_id):
            self._halving.report(run_id, step, score)

    def look(self, run_id: str) -> None:
        """Compare what a run has reported since."""
        for step, score in self._new_scores(run_id):
            verdict = self._halving.report(run_id, step, score)
            if verdict is not None and run_id not in self._stopped:
                self._stopped = {**self._stopped, run_id: verdict}
                self._decided.add(run_id)
                self._to_ask.add(run_id)

    def ask_to_stop(self) -> None:
        """Write down what was decided, and ask the runs. Raises OSError where the storage is away;
        the next time what is left is done."""
        if self._decided.difference(self._in_file):
            self._write_down()
            self.take_in()
        for run_id in sorted(self._to_ask):
            why = self.why_stopped(run_id)
            self._folders[run_id].request_cancel(at_checkpoint=True, why=why)
            self._to_ask.remove(run_id)
            self._on_note(f"{run_id}: {why}")

    def _new_scores(self, run_id: str) -> list[tuple[int, float]]:
        """Steps and scores that were not read yet, in order."""
        before = self._read_to.get(run_id, -1)
        found = pieces(self._folders[run_id].folder, before, math.inf, self._on_note)
        rows = [row for _, piece in found for row in piece]
        self._read_to[run_id] = max((step for step, _ in found), default=before)
        scores = [(row.step, row.value) for row in rows if row.key == self._config.metric]
        return sorted(scores)
