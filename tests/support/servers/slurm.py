"""A Slurm that starts real processes on this machine: `srun`, `scontrol` and `hostname` for a
script that is run as Slurm would run it."""

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SRUN = """#!/usr/bin/env bash
# One process per task, in a session of its own as on another node; SIGTERM goes to all of them.
echo "srun $*" >> "$FAKE_CALLS"
tasks=1
while [[ $1 == --* ]]; do
  [[ $1 != --ntasks=* ]] || tasks=${1#*=}
  shift
done
# It may hand on its own umask or that of the submission.
[[ -z ${FAKE_UMASK:-} ]] || umask "$FAKE_UMASK"
pids=()
is_over=
trap 'is_over=yes; kill -TERM "${pids[@]}" 2>/dev/null' TERM
for ((i = 0; i < tasks && !${#is_over}; i++)); do
  SLURM_PROCID=$i setsid "$@" &
  pids+=($!)
  echo "$!" >> "$FAKE_PIDS"
done
[[ -z $is_over ]] || kill -TERM "${pids[@]}" 2>/dev/null # the one that was just being started, too
code=0
for pid in "${pids[@]}"; do
  while true; do
    wait "$pid"
    code=$?
    kill -0 "$pid" 2>/dev/null || break
  done
done
exit "$code"
"""
SCONTROL = """#!/usr/bin/env bash
echo "scontrol $*" >> "$FAKE_CALLS"
[[ $1 != show ]] || tr ',' '\\n' <<< "$3"
"""
HOSTNAME = """#!/usr/bin/env bash
# On Debian the name of a node stands for 127.0.1.1; -I lists what its interfaces have.
[[ $* != -I ]] || { echo "${FAKE_ADDRESSES-fd00::7 10.0.0.7 172.17.0.1} "; exit; }
echo 127.0.1.1
"""


@dataclass(frozen=True)
class Slurm:
    """One job on so many nodes."""

    folder: Path
    nodes: Sequence[str]

    def install(self, programs: Mapping[str, str]) -> None:
        """Put programs (name → text) in front of those of this machine, beside Slurm's own."""
        (self.folder / "bin").mkdir(exist_ok=True)
        own = {"srun": SRUN, "scontrol": SCONTROL, "hostname": HOSTNAME}
        for name, text in (own | dict(programs)).items():
            file = self.folder / "bin" / name
            file.write_text(text)
            file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def start(self, script: Path, *words: str, **environment: str) -> "subprocess.Popen[str]":
        """Run a batch script as its first node would."""
        variables = {
            **{key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")},
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            "FAKE_CALLS": str(self.folder / "calls"),
            "FAKE_PIDS": str(self.folder / "pids"),
            "SLURM_JOB_ID": "4711",
            "SLURM_JOB_NUM_NODES": str(len(self.nodes)),
            "SLURM_JOB_NODELIST": ",".join(self.nodes),
            "SLURM_CPUS_PER_TASK": "1",
            "TMPDIR": str(self.folder),
            **environment,
        }
        return subprocess.Popen(
            ["bash", str(script), *words],
            env=variables,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            umask=0o022,
        )

    def calls(self) -> list[str]:
        """Everything that was asked of Slurm, and what the programs noted there."""
        file = self.folder / "calls"
        return file.read_text().splitlines() if file.is_file() else []

    def still_there(self) -> list[int]:
        """Processes of the job that did not end with it."""
        pids = [int(line) for line in (self.folder / "pids").read_text().split()]
        return [pid for pid in pids if Path(f"/proc/{pid}").is_dir()]
