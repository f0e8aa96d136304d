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
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rml_benchmarks.one_gpu.needs import gpu_fault, lacking, launch_fault
from rml_benchmarks.one_gpu.records import put
from rml_benchmarks.processes.own_commands import ROOT, environment, rml

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

    def __init__(self, to: Path, work: Path, *, dry: bool, clock: Clock) -> None:
        self.to = to
        self.out = work / "outputs"
        self.profile = "dry" if dry else "medium"
        self.settings = ("small",) if dry else SETTINGS
        self._tiny = TINY if dry else ()
        root = os.environ.get("RML_DATA")
        self._data_root = Path(root).resolve() if root else None
        self.clock = clock
        self.problems = list[str]()
        """What could not be done; told at the end."""

    def measure_steps(self, share: float = SHARE_OF_STEPS) -> None:
        """Time and memory of every setting's step, each in a process of its own, so that one that
        does not fit the memory takes no other along.

        Args:
            share: of the time that is left, at most. What a setting leaves over is for those
                after it.
        """
        kept = (1 - share) * self.clock.left()
        for index, setting in enumerate(self.settings):
            left = max(0.0, self.clock.left() - kept)
            per_setting = left / (len(self.settings) - index)
            files = ("--markdown", f"{self.to}/steps_{setting}.md")
            words = (
                "floor",
                "--setting",
                setting,
                "--method",
                "rml",
                "--rounds",
                "5",
                *self._tiny,
                *files,
            )
            code = self._run("rml_benchmarks", ("-m", "rml_benchmarks", *words), per_setting)
            if code:
                self.problems.append(f"the steps of {setting} were not measured ({_ended(code)})")

    def train(self) -> None:
        """The ladder: the first seed of every row, then the second, until the time is up. What was
        cut off keeps its checkpoint where this machine keeps its disk."""
        for seeds in self._seeds():
            seconds = self.clock.left() - SECONDS_FOR_TABLES
            if seconds <= 0:
                self.problems.append(f"the time was up before seeds {seeds}")
                return
            words = ("launch", str(STUDY), "--without-ray", "--set", f"seeds={seeds}")
            code = self._rml(*words, *self._options(), seconds=seconds)
            if code:
                self.problems.append(f"training of seeds {seeds} ended early ({_ended(code)})")
                return

    def write_tables(self) -> None:
        """The table, the paired comparison with IML and the scores of every run."""
        words = ("tables", str(STUDY), "--statistics", "--paired", "IML (+ full noises)")
        if self._rml(*words, *self._options(), "--to", str(self.to)):
            self.problems.append("the tables could not be written")

    def pack(self) -> None:
        """The records of all finished runs as one archive, beside one that holds more."""
        fresh = self.out / "packed.zip"
        words = ("records", "pack", str(STUDY), "--to", str(fresh))
        if self._rml(*words, *self._places()):
            self.problems.append("the records could not be packed")
            return
        place = put(fresh, self.to / RECORDS)
        if place.name != RECORDS:
            self.problems.append(
                f"{self.to / RECORDS} holds what this call has not; its own records are in {place}"
            )

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

    def _seeds(self) -> Iterator[list[int]]:
        numbers = [0] if self.profile == "dry" else [0, 1, 2, 3, 4]
        for count in range(1, len(numbers) + 1):
            yield numbers[:count]

    def _rml(self, *words: str, seconds: float | None = None) -> int:
        return self._run("rml", rml(*words)[1:], seconds)

    def _run(self, name: str, words: Sequence[str], seconds: float | None) -> int:
        """A command of ours in a process of its own, stopped as a scheduler stops it: SIGTERM, and
        some time to write down what it has."""
        print("$", name, *words[2:], flush=True)
        process = subprocess.Popen([sys.executable, *words], cwd=ROOT, env=environment())
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGTERM)
        try:
            return process.wait(SECONDS_FOR_TABLES / 2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _ended(code: int) -> str:
    return "the time was up" if code in (143, -signal.SIGTERM) else f"exit code {code}"


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
    if chosen.only != "steps":
        for archive in _archives(chosen.records, to):
            if not evidence.unpack(archive):
                return _refuse(f"{archive} could not be unpacked")
    if chosen.only == "steps":
        evidence.measure_steps(share=1.0)
    elif chosen.only is None:
        evidence.measure_steps()
    if chosen.only != "steps":
        evidence.train()
        evidence.write_tables()
        evidence.pack()
    return _tell(evidence)


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
