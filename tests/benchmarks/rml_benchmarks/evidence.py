"""`make evidence`: a study from its records to everything that is shown of it, in one command.

What is recorded so far is unpacked, the runs that are missing are trained, and then tables,
figures, report and records are written beside each other. Called again it goes on; once all runs
are there it only writes, and what it writes is the same.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from rml_benchmarks.processes.own_commands import ROOT, environment, rml

RECORDS = "records.zip"


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack, train, write; returns the exit code of the first step that failed, else 0."""
    words = argparse.ArgumentParser(prog="python -m rml_benchmarks.evidence")
    words.add_argument("study", help="study file")
    words.add_argument("--to", type=Path, help="its results; default: beside the study file")
    words.add_argument("--out", type=Path, default=Path("outputs"), help="where runs are trained")
    words.add_argument("--profile", help="another size of the study")
    words.add_argument("--paired", default="RML", help="row that every other is compared with")
    words.add_argument("--write-only", action="store_true", help="train nothing")
    words.add_argument("--with-ray", action="store_true", help="several runs at once")
    chosen = words.parse_args(arguments)
    study = Path(chosen.study)
    to = chosen.to or study.parent / "results" / study.stem
    for step in _steps(chosen, study, to):
        print("$ rml", *step, flush=True)
        code = subprocess.run(rml(*step), cwd=ROOT, env=environment(), check=False).returncode
        if code:
            return code
    return 0


def _steps(chosen: argparse.Namespace, study: Path, to: Path) -> list[tuple[str, ...]]:
    """The commands, in order. Pictures of predictions are in the report."""
    out = ("--out", str(chosen.out.resolve()))
    places = (*out, *(("--profile", chosen.profile) if chosen.profile else ()))
    read = (*places, "--tracking-uri", "none")
    # as a person in the checkout names it: the plan that is packed holds no path of this machine
    name = os.path.relpath(study.resolve(), ROOT)
    folder = str(to.resolve())
    records = to.resolve() / RECORDS
    steps = []
    if records.is_file():
        steps.append(("records", "unpack", str(records), *out))
    if not chosen.write_only:
        alone = () if chosen.with_ray else ("--without-ray",)
        steps.append(("launch", name, *read, *alone))
    table = ("--statistics", "--paired", chosen.paired, "--latex", "--html", "--to", folder)
    return [
        *steps,
        ("tables", name, *read, *table),
        ("figures", name, *read, "--to", folder),
        ("report", name, *read, "--to", f"{folder}/report.html"),
        ("records", "pack", name, *places, "--pictures", "--to", str(records)),
    ]


if __name__ == "__main__":
    sys.exit(main())
