"""What a method adds to a step is the same for two gloo workers as for one process."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = Path(__file__).parent / "two_workers_step.py"


def test_networks_of_a_method_and_heads_that_run_alone(tmp_path: Path) -> None:
    """`mean_teacher` stands for a method with a discriminator, whose gradients are averaged outside
    DDP; `unimatch` uses the head a second time, outside DDP's forward; `augseg` pastes labelled
    images, each worker its own; `u2pl` sorts the pixels of both by entropy; `dmt` divides labelled
    and pseudo-labelled pixels together; in `adv_ssl` a discriminator learns, in `ecs` a corrector,
    in `meta_pseudo_label` the students one after the other."""
    port = str(23000 + os.getpid() % 20000)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node=2", f"--master-port={port}"]
    command = [
        sys.executable,
        *launcher,
        str(PROGRAM),
        str(tmp_path),
        "mean_teacher",
        "unimatch",
        "augseg",
        "u2pl",
        "dmt",
        "adv_ssl",
        "meta_pseudo_label",
        "ecs",
    ]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert finished.returncode == 0, finished.stderr
