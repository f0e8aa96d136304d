"""`python -m rml_benchmarks.one_gpu.launchable STUDY PROFILE OUT [DATA_ROOT]`: whether a study can
be launched on this machine, by the checks of a launch itself. Images are prepared on the way, as
the launch would. Exit code 2, and a sentence, where it cannot."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rml_platform.planning.feasible import check_pretrained
from rml_platform.planning.plan_from_file import planned
from rml_trainers.errors import RmlError


def main(words: Sequence[str]) -> int:
    """Returns the exit code."""
    study, profile, out, *root = words
    try:
        data_root = Path(root[0]) if root else None
        plan = planned(Path(study), None, profile, out=Path(out), data_root=data_root)
        check_pretrained(run.config for run in plan.runs)
    except RmlError as error:
        print(error)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
