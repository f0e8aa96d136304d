"""Which runs of a plan are this launch's to carry out, and which are another's."""

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from rml_platform.run.faults.claims import Claim, ClaimBoard, give_back, take_all
from rml_platform.run.faults.lease import Watchman
from rml_platform.run.run_folder import RunFolder
from rml_platform.run.task import Process

End = Literal["done", "failed", "left"]


class Holder(NamedTuple):
    """Another launch that has a run."""

    who: str
    is_at_work: bool
    """Whether it is known to live; else that is only not known to be otherwise."""


class LaunchClaims:
    """The claims of one launch on the runs of its plan."""

    def __init__(
        self,
        storage: str,
        folders: Mapping[str, RunFolder],
        launch_id: str,
        on_note: Callable[[str], None],
    ) -> None:
        self._folders = folders
        self._boards = {run_id: ClaimBoard(run.folder) for run_id, run in folders.items()}
        self._watchman = Watchman(storage)
        self._launch_id = launch_id
        self._on_note = on_note
        self._told = set[str]()
        self._seen_elsewhere = set[str]()
        """Runs that another launch was at during this one."""

    def take(self, run_ids: Sequence[str]) -> list[str]:
        """Claim the runs that nobody is at; which of them are this launch's now.

        Another launch's runs are left to it, and told once for each such launch. Asked again after
        an OSError on the way, it claims anew what it had claimed.
        """
        claim = Claim(launch_id=self._launch_id, launcher=Process.current())
        wanted = []
        held: dict[str, list[Claim]] = {}
        for run_id in run_ids:
            found = self._boards[run_id].newest()
            if found is None or self._is_own(found.claim) or self._watchman.is_free(found.claim):
                wanted.append((run_id, found))
            elif found.claim is not None:
                held.setdefault(found.claim.launch_id, []).append(found.claim)
        for launch_id, claims in held.items():
            self._tell(launch_id, claims)
        taken = take_all((self._boards[run_id], claim, found) for run_id, found in wanted)
        own = [run_id for (run_id, _), is_mine in zip(wanted, taken, strict=True) if is_mine]
        self._seen_elsewhere.update(set(run_ids).difference(own))
        return own

    def holds(self, run_id: str) -> bool:
        """Whether the run still is this launch's (or an attempt's of it)."""
        return self._is_own(self._claim_on(run_id))

    def _is_own(self, claim: Claim | None) -> bool:
        return claim is not None and claim.launch_id == self._launch_id and not claim.is_given_back

    def give_back(self, run_id: str) -> None:
        """Let anybody take the run, but none of this launch's attempts, one of which may wake up
        late; does nothing where another launch has it."""
        give_back(self._boards[run_id], self._launch_id, is_through=True)

    def end_elsewhere(self, run_id: str) -> End | None:
        """What the run came to in another launch during this one; None while it is at it, or where
        it left the run unfinished: gave it back, or died before it had decided whether what is
        written down is tried again."""
        if run_id not in self._seen_elsewhere:
            return None
        claim = self._claim_on(run_id)
        if not self._watchman.is_free(claim):
            return None
        record = self._folders[run_id].record()
        if record.result is not None:
            return "done"
        if claim is None or not claim.is_given_back:
            return None
        if record.failure_of(claim.launch_id) is None:
            return None
        return "failed" if record.state == "failed" else "left"

    def holder(self, run_id: str) -> Holder | None:
        """The launch that kept `take` from the run; None where the run is free by now."""
        claim = self._claim_on(run_id)
        if claim is None or self._is_own(claim) or self._watchman.is_free(claim):
            return None
        process = claim.launcher
        who = f"launch {claim.launch_id} (process {process.pid} on {process.host})"
        return Holder(who, self._watchman.is_at_work(claim))

    def _claim_on(self, run_id: str) -> Claim | None:
        held = self._boards[run_id].newest()
        return held.claim if held else None

    def _tell(self, launch_id: str, claims: list[Claim]) -> None:
        if launch_id in self._told:
            return
        self._told.add(launch_id)
        launcher = claims[0].launcher
        self._on_note(
            f"{len(claims)} of the runs belong to launch {launch_id} (process {launcher.pid} on "
            f"{launcher.host}): it is followed here, and what it leaves is taken over"
        )


def new_launch_id() -> str:
    """Unique and sortable."""
    return time.strftime("%Y%m%d-%H%M%S-") + uuid.uuid4().hex[:4]
