"""What was measured of kinds of runs: sizes of recorded runs, and probes kept by machine."""

import functools
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyarrow import fs

from rml_dashboards.contract.run_folder import RUNS
from rml_platform.planning.cost import StageCost
from rml_platform.planning.plan_file.written_plan import WrittenRun
from rml_platform.run.codec import Codec, DamagedFileError
from rml_platform.run.run_folder import RunRecord
from rml_platform.run.storage import Folder

PROBES = "probes"
VARIANTS = frozenset({"D", "Laptop", "SUPER", "Ti"})
"""Words behind the name of a GPU that make it another one; others tell its form or memory."""


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A few steps of one kind of run on one machine."""

    kind: str
    machine: str
    """Its device, as a person knows it."""
    warm_up_s: float
    """Wall time of one step of the warm-up; 0 where the kind has none."""
    stage_s: float
    """Wall time of one step after it."""
    evaluation_s: float
    """Wall time of one evaluation with the checkpoint that follows it."""
    evaluation_every: int
    """Steps between evaluations; 0: at the end of each stage only."""
    run_bytes: int
    """What the checkpoints of a run take up: as many as are kept."""
    time: float
    """Unix time of the measurement."""

    def seconds(self, stages: Sequence[StageCost], from_step: int, warm_up_steps: int) -> float:
        """Wall time of a run from a step on."""
        seconds = 0.0
        begin = 0
        for stage in stages:
            steps = max(0, stage.last_step - max(begin, from_step))
            is_warm_up = stage.last_step <= warm_up_steps or len(stages) == 1
            seconds += steps * (self.warm_up_s if is_warm_up and self.warm_up_s else self.stage_s)
            if steps:
                times = max(1, steps // self.evaluation_every) if self.evaluation_every else 1
                seconds += times * self.evaluation_s
            begin = stage.last_step
        return seconds


PROBE = Codec[Probe](Probe)


def write_probe(out: Path, probe: Probe) -> None:
    """Keep a probe."""
    Folder.open(out).child(PROBES).write(_name(probe.kind, probe.machine), PROBE.encode(probe))


def read_probes(out: Path, machine: str, kinds: Iterable[str]) -> dict[str, Probe]:
    """The probes of a machine, by kind. One that is damaged, or that another version wrote, is
    measured again."""
    folder = Folder.open(out).child(PROBES)
    found = {}
    for kind in dict.fromkeys(kinds):
        name = _name(kind, machine)
        content = folder.read(name)
        if content is not None:
            try:
                found[kind] = PROBE.decode(content, f"{folder.path}/{name}")
            except DamagedFileError:
                folder.delete(name)
    return found


def probes_like(out: Path, kinds: Iterable[str], devices: Collection[str]) -> dict[str, Probe]:
    """Of each kind the newest probe of one of some devices, of whichever host; of any device where
    there is none to go by."""
    return _newest(out, kinds, lambda device: not devices or device in devices)


def probes_for(
    out: Path, kinds: Iterable[str], gpu: str | None, cpus_per_worker: float
) -> dict[str, Probe]:
    """Of each kind the newest probe that tells of runs on a cluster, of whichever host.

    Args:
        gpu: kind of GPU that a run gets, as Ray names it; None where it gets none.
        cpus_per_worker: cores of a run without a GPU.
    """
    if gpu is None:
        return _newest(out, kinds, lambda device: device == device_text("cpu", cpus_per_worker))
    return _newest(out, kinds, lambda device: is_of_kind(device, gpu))


@functools.cache
def is_of_kind(device: str, kind: str) -> bool:
    """Whether a GPU by its own name (`NVIDIA A100-SXM4-80GB`) is of a kind by Ray's (`A100`)."""
    wanted = set(_words(kind))
    own = set(_words(device))
    return wanted <= own and not VARIANTS.intersection(own - wanted)


def _words(text: str) -> list[str]:
    return re.findall("[A-Za-z0-9]+", text)


def _newest(out: Path, kinds: Iterable[str], fits: Callable[[str], bool]) -> dict[str, Probe]:
    wanted = set(kinds)
    folder = Folder.open(out).child(PROBES)
    found = dict[str, Probe]()
    for name in folder.files():
        try:
            probe = PROBE.decode(folder.read(name) or b"", f"{folder.path}/{name}")
        except DamagedFileError:  # `rml plan --probe` measures it again
            continue
        is_newer = probe.kind not in found or probe.time > found[probe.kind].time
        if probe.kind in wanted and fits(probe.machine.rpartition(" of ")[0]) and is_newer:
            found[probe.kind] = probe
    return found


def device_text(device: str, cpus_per_worker: float) -> str:
    """A device as the machine of a probe names it, from the name that a run has recorded."""
    return f"{cpus_per_worker:g} cores" if device == "cpu" else device


def _name(kind: str, machine: str) -> str:
    return f"{kind}-{re.sub('[^A-Za-z0-9]+', '-', machine).strip('-')}.json"


def bytes_of_kinds(
    storage: str, runs: Sequence[WrittenRun], records: Mapping[str, RunRecord]
) -> dict[str, int]:
    """Size of the folder of one finished run of each kind."""
    folder = Folder.open(storage).child(RUNS)
    sizes = dict[str, int]()
    for run in runs:
        if run.kind not in sizes and records[run.run_id].result is not None:
            everything = fs.FileSelector(
                folder.child(run.run_id).path, recursive=True, allow_not_found=True
            )
            sizes[run.kind] = sum(i.size or 0 for i in folder.filesystem.get_file_info(everything))
    return sizes
