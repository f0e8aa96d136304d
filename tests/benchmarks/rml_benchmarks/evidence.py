"""`make evidence`: a study from its records to everything that is shown of it, in one command.

What is recorded so far is unpacked, the runs that are missing are trained, and all that are done
are packed. Tables, figures and report are then made of the packed records alone, in a fresh folder:
nothing is shown that they do not hold. Called again it goes on; once all runs are there it only
writes, and what it writes is the same. A run that is packed is never lost: where it is only begun
under --out, and nothing trains it, the call ends with an error and the records stay.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import yaml

from rml_benchmarks.processes.own_commands import ROOT, environment, rml

RECORDS = "records.zip"


def main(arguments: Sequence[str] | None = None) -> int:
    """Unpack, train, write; returns the exit code of the first step that failed, else 0."""
    words = argparse.ArgumentParser(prog="python -m rml_benchmarks.evidence")
    words.add_argument("study", help="study file")
    words.add_argument("--to", type=Path, help="its results; default: beside the study file")
    words.add_argument("--out", type=Path, default=Path("outputs"), help="where runs are trained")
    words.add_argument("--profile", help="another size of the study")
    words.add_argument(
        "--paired",
        help="row that every other is compared with; default: RML, or else the first that is named",
    )
    words.add_argument("--write-only", action="store_true", help="train nothing")
    words.add_argument("--with-ray", action="store_true", help="several runs at once")
    chosen = words.parse_args(arguments)
    study = Path(chosen.study)
    shown = f"{study.stem}-{chosen.profile}" if chosen.profile else study.stem
    to = (chosen.to or study.parent / "results" / shown).resolve()
    # as a person in the checkout names it: the plan that is packed holds no path of this machine
    name = os.path.relpath(study.resolve(), ROOT)
    with tempfile.TemporaryDirectory() as fresh:
        for step in _steps(chosen, name, to, fresh):
            print("$ rml", *step, flush=True)
            code = subprocess.run(rml(*step), cwd=ROOT, env=environment(), check=False).returncode
            if code:
                return code
    return 0


def _steps(
    chosen: argparse.Namespace, name: str, to: Path, fresh: str
) -> Iterator[tuple[str, ...]]:
    """The commands, in order. Pictures of predictions are not packed: they are the most of it, and
    whoever trained the runs has them."""
    profile = ("--profile", chosen.profile) if chosen.profile else ()
    out = ("--out", str(chosen.out.resolve()))
    records = str(to / RECORDS)
    if Path(records).is_file():
        yield ("records", "unpack", records, *out)
    if not chosen.write_only:
        alone = () if chosen.with_ray else ("--without-ray",)
        yield ("launch", name, *out, *profile, "--tracking-uri", "none", *alone)
    yield ("records", "pack", name, *out, *profile, "--to", records)
    yield ("records", "unpack", records, "--out", fresh)
    read = (name, "--out", fresh, *profile, "--tracking-uri", "none")
    row = chosen.paired or _main_row(ROOT / name)
    paired = ("--paired", row) if row else ()
    yield ("tables", *read, "--statistics", *paired, "--latex", "--to", str(to))
    yield ("figures", *read, "--to", str(to))
    yield ("report", *read, *paired, "--light", "--to", f"{to}/report.html")


def _main_row(study: Path) -> str:
    """The row that a study is about; empty where it has axes alone."""
    labels = [str(row["label"]) for row in yaml.safe_load(study.read_text()).get("rows", [])]
    return "RML" if "RML" in labels else next(iter(labels), "")


if __name__ == "__main__":
    sys.exit(main())
