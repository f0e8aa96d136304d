"""`make gpu-evidence`: what only a GPU can show, in one command that needs neither network, Ray nor
MLflow.

First the step time and memory of the paper's settings, then the ladder of `evidence.yaml` at its
medium size, seed by seed, as far as the minutes reach. Everything that is worth keeping lands in
one small folder: tables, and the records of the runs without their networks. A later call that is
given those records goes on where the last one stopped, on another machine too.
"""

import argparse
import os
import signal
import sys
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rml_benchmarks.one_gpu.commands import STOP_SIGNALS, TIME_UP, Commands, ask
from rml_benchmarks.one_gpu.needs import gpu_fault, lacking, launch_fault
from rml_benchmarks.one_gpu.records import put
from rml_benchmarks.processes.own_commands import ROOT, rml

STUDY = ROOT / "search_spaces" / "evidence.yaml"
SETTINGS = (
    "cityscapes",
    "voc",
    "setr_base",
    "setr_large",
    "cityscapes_v3_plus",
    "voc_v3_plus",
    "cityscapes_dpt",
    "voc_dpt",
)
"""Settings whose steps are measured: the paper's first, then its images, crops and batches with the
networks that people use today."""
TINY = ("--backbone", "test_resnet", "--crop", "24", "32", "--batch", "2", "2")
"""Makes the setting `small` one of seconds."""
MAX_BYTES = 16 * 2**20
"""Size of the folder that is brought back, at most."""
SHARE_OF_STEPS = 0.4
"""Of the minutes, at most, for step times; the rest trains."""
SECONDS_FOR_TABLES = 60.0
SECONDS_OF_A_TABLE = 600.0
"""What packing, or writing tables, takes at most on any machine."""
SECONDS_OF_A_SETTING = 180.0
"""With less its steps are not begun."""
SOME_FAILED = 1
"""Exit code of a launch that carried all runs out, some of which failed."""
ENDS = frozenset(
    {2, TIME_UP}
    | {128 + one for one in STOP_SIGNALS}
    | {-one for one in (*STOP_SIGNALS, signal.SIGKILL)}
)
"""Exit codes of a launch after which no other is begun: it could not start, or was stopped."""
RECORDS = "records.zip"
_ALONE = "; step times need less: --only steps"


class Clock:
    """How much of the time is left."""

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes

    def left(self) -> float:
        """Seconds, at least 0."""
        return max(0.0, self._end - time.monotonic())


class Evidence:
    """One call: where it works, and what it brings back."""

    def __init__(
        self,
        to: Path,
        work: Path,
        *,
        dry: bool,
        clock: Clock,
        commands: Commands | None = None,
    ) -> None:
        self.to = to
        self.out = work / "outputs"
        self.profile = "dry" if dry else "medium"
        self.settings = ("small",) if dry else SETTINGS
        self._tiny = TINY if dry else ()
        self._least_s = 0.0 if dry else SECONDS_OF_A_SETTING
        root = os.environ.get("RML_DATA")
        self._data_root = Path(root).resolve() if root else None
        self.clock = clock
        self.commands = Commands() if commands is None else commands
        self._has_trained = False
        self.problems = list[str]()
        """What could not be done; told at the end."""

    def measure_steps(self, share: float = SHARE_OF_STEPS) -> None:
        """Time and memory of every setting's step, the most important first, each in a process of
        its own, so that one that does not fit the memory takes no other along.

        Args:
            share: of the time that is left, at most. Each setting may take all that those before it
                have left over; none is begun with less than it needs.
        """
        kept = (1 - share) * self.clock.left()
        for setting in self.settings:
            if self.commands.stopped_by is not None:
                return
            seconds = self.clock.left() - kept
            if seconds <= self._least_s:
                self.problems.append(f"there was no time for the steps of {setting}")
                continue
            words = ("floor", "--setting", setting, "--method", "rml", "--rounds", "5")
            files = ("--markdown", f"{self.to}/steps_{setting}.md")
            words = ("-m", "rml_benchmarks", *words, *self._tiny, *files)
            code = self._run("rml_benchmarks", words, seconds)
            if code:
                self.problems.append(f"the steps of {setting} were not measured ({_ended(code)})")
                if self._has_no_gpu():
                    return

    def train(self) -> None:
        """The ladder: the first seed of every row, then the second, until the time is up. What was
        cut off keeps its checkpoint where this machine keeps its disk. What is done is packed and
        shown after every seed, and packed while one is trained.

        A run that failed is named and not tried again: each seed is launched for itself.
        """
        for seed in self._seeds():
            if not self._train_seed(seed):
                return

    def _train_seed(self, seed: int) -> bool:
        """Every row with one seed; whether the next may be begun. Where a GPU was lost, or the
        process died, a fresh one goes on once."""
        for is_last in (False, True):
            seconds = self.clock.left() - SECONDS_FOR_TABLES
            if seconds <= 0:
                self.problems.append(f"the time was up before seed {seed} was done")
                return False
            if self.commands.stopped_by is not None or self._has_no_gpu():
                return False
            if self._has_trained:
                self.save()
                seconds = self.clock.left() - SECONDS_FOR_TABLES
            self._has_trained = True
            since = time.time()
            words = ("launch", str(STUDY), "--without-ray", "--set", f"seeds=[{seed}]")
            options = self._options()
            code = self._rml(*words, *options, seconds=seconds, meanwhile=self.pack)
            if code == 0:
                return True
            failed = self._failed_since(since) if code == SOME_FAILED else {}
            is_worth_it = "device" in failed.values() or code not in {SOME_FAILED, *ENDS}
            if is_worth_it and not is_last and self.commands.stopped_by is None:
                print(f"seed {seed} is launched once more: {_ended(code)}", flush=True)
                continue
            what = f"these runs failed: {', '.join(failed)}" if failed else _ended(code)
            self.problems.append(f"seed {seed} was not trained to the end, {what}")
            return code not in ENDS
        return True

    def _failed_since(self, since: float) -> dict[str, str]:
        """Runs that have failed since then, with the kind of their failure."""
        words = ("-m", "rml_benchmarks.one_gpu.failures", str(self.out), str(since))
        code, output, errors = ask(words, SECONDS_FOR_TABLES)
        if code:
            self.problems.append(f"which runs failed is not known ({_ended(code)}): {errors}")
        return {run_id: kind for kind, run_id in map(str.split, output.splitlines())}

    def _has_no_gpu(self) -> bool:
        """Whether the GPU that was there at the start cannot be used any more; then it is told.
        Without it, everything would go on on the CPU."""
        fault = None if self.profile == "dry" else gpu_fault()
        if fault is not None:
            self.problems.append(f"the GPU cannot be used any more: {fault}")
        return fault is not None

    def save(self) -> None:
        """Pack what is done, and show it."""
        self.pack()
        self.write_tables()

    def write_tables(self) -> None:
        """The table, the paired comparison with IML and the scores of every run."""
        words = ("tables", str(STUDY), "--statistics", "--paired", "IML (+ full noises)")
        places = (*self._options(), "--to", str(self.to))
        is_written = self._rml(*words, *places, seconds=SECONDS_OF_A_TABLE) == 0
        self._settle("not every table could be written", is_so=not is_written)

    def pack(self) -> None:
        """The records of all finished runs as one archive, beside one that holds more."""
        has_any = any((self.out / "runs").glob("*/result.json"))
        self._settle("no run is done, so there are no records", is_so=not has_any)
        if not has_any:
            return
        fresh = self.out / "packed.zip"
        words = ("records", "pack", str(STUDY), "--to", str(fresh), *self._places())
        is_packed = self._rml(*words, seconds=SECONDS_OF_A_TABLE) == 0
        self._settle("the records could not be packed", is_so=not is_packed)
        if is_packed:
            self._bring(fresh)

    def _bring(self, fresh: Path) -> None:
        try:
            place = put(fresh, self.to / RECORDS)
        except (OSError, zipfile.BadZipFile) as error:  # what is trained goes on all the same
            self.problems.append(f"{fresh} could not be brought to {self.to}: {error}")
            return
        richer = f"{self.to / RECORDS} holds what this call has not; its own are in {place}"
        self._settle(richer, is_so=place.name != RECORDS)

    def _settle(self, problem: str, *, is_so: bool) -> None:
        """Note a problem, or that it is none any more."""
        if problem in self.problems:
            self.problems.remove(problem)
        if is_so:
            self.problems.append(problem)

    def unpack(self, archive: Path) -> bool:
        """Lay the records of an earlier call where this one looks for runs that are done; whether
        that could be done."""
        return self._rml("records", "unpack", str(archive), "--out", str(self.out)) == 0

    def faults(self, only: str | None) -> Iterator[str]:
        """Why the halves that are wanted cannot be had on this machine, a sentence each. `--dry`
        needs neither a GPU nor images."""
        if self.profile == "dry":
            return
        fault = gpu_fault()
        if fault:
            yield f"a process of this Python cannot compute on a GPU: {fault}"
        if only != "steps":
            fault = launch_fault(STUDY, self.profile, self.out, self._data_root)
            if fault:
                yield f"the ladder cannot be trained{_ALONE if only is None else ''}: {fault}"

    def _options(self) -> tuple[str, ...]:
        return (*self._places(), "--tracking-uri", "none")

    def _places(self) -> tuple[str, ...]:
        own = ("--profile", self.profile, "--out", str(self.out))
        return (*own, "--data-root", str(self._data_root)) if self._data_root else own

    def _seeds(self) -> Sequence[int]:
        return (0,) if self.profile == "dry" else (0, 1, 2, 3, 4)

    def _rml(
        self,
        *words: str,
        seconds: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        return self._run("rml", rml(*words)[1:], seconds, meanwhile)

    def _run(
        self,
        name: str,
        words: Sequence[str],
        seconds: float | None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        """A command of ours in a process of its own, stopped as a scheduler stops it: SIGTERM, and
        some time to write down what it has."""
        print("$", name, *words[2:], flush=True)
        return self.commands.run(words, seconds=seconds, meanwhile=meanwhile)


def _ended(code: int) -> str:
    return "the time was up" if code == TIME_UP else f"exit code {code}"


def size_of(folder: Path) -> int:
    """Bytes of all files below a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, train, write the tables; returns the exit code: 1 where something is missing."""
    words = argparse.ArgumentParser(prog="python -m rml_benchmarks.gpu_evidence")
    words.add_argument("--minutes", type=float, default=180.0, help="time for all of it")
    words.add_argument("--to", type=Path, default=Path("gpu_evidence"), help="receives the tables")
    words.add_argument("--work", type=Path, help="runs and prepared images; default: TO/../work")
    words.add_argument("--records", type=Path, help=f"{RECORDS} of an earlier call, to go on")
    words.add_argument("--only", choices=("steps", "training"), help="one half of it")
    words.add_argument("--dry", action="store_true", help="everything once, tiny, on any machine")
    chosen = words.parse_args(arguments)
    if chosen.records is not None and chosen.only == "steps":
        words.error("--records: it is for the training, which --only steps leaves out")
    if absent := lacking(chosen.only, dry=chosen.dry):
        alone = "" if chosen.only else _ALONE
        return _refuse(f"this Python lacks {', '.join(absent)}{alone}")
    to = chosen.to.resolve()
    work = chosen.work.resolve() if chosen.work else to.with_name(f"{to.name}_work")
    evidence = Evidence(to, work, dry=chosen.dry, clock=Clock(chosen.minutes))
    if faults := list(evidence.faults(chosen.only)):
        return _refuse(*faults)
    to.mkdir(parents=True, exist_ok=True)
    with evidence.commands.heeding_signals():
        if chosen.only != "steps":
            for archive in _archives(chosen.records, to):
                if not evidence.unpack(archive):
                    stopped_by = evidence.commands.stopped_by
                    code = _refuse(f"{archive} could not be unpacked")
                    return code if stopped_by is None else 128 + stopped_by
        return _carry_out(evidence, chosen.only)


def _carry_out(evidence: Evidence, only: str | None) -> int:
    if only != "training":
        evidence.measure_steps(share=1.0 if only == "steps" else SHARE_OF_STEPS)
    if only != "steps":
        evidence.train()
    stopped_by = evidence.commands.stopped_by
    if stopped_by is not None:
        evidence.problems.append(f"what {signal.Signals(stopped_by).name} left undone")
        evidence.commands.finish()
    if only != "steps":
        evidence.save()
    code = _tell(evidence)
    return code if stopped_by is None else 128 + stopped_by


def _archives(given: Path | None, to: Path) -> list[Path]:
    """The records to go on with: those that were given, and those that this call will replace."""
    own = to / RECORDS
    found = [] if given is None else [given.resolve()]
    return found if own in found or not own.exists() else [*found, own]


def _refuse(*reasons: str) -> int:
    for reason in reasons:
        print(f"nothing was begun, {reason}", file=sys.stderr)
    return 1


def _tell(evidence: Evidence) -> int:
    size = size_of(evidence.to)
    if size > MAX_BYTES:
        evidence.problems.append(f"{evidence.to} has {size:,} bytes, more than {MAX_BYTES:,}")
    for problem in evidence.problems:
        print(f"missing: {problem}")
    print(f"{evidence.to}: {size / 2**20:.1f} MB")
    return 1 if evidence.problems else 0


if __name__ == "__main__":
    sys.exit(main())
