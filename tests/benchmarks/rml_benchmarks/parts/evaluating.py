"""`eval`: what scoring costs, against scoring image by image on the host, and as a share of the
training time."""

from collections.abc import Iterator

import numpy as np
import torch

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.measuring.timing import Call, Facts, compare
from rml_benchmarks.part import Bench
from rml_benchmarks.workload.workload import METHOD_CONFIGS, Workload, warm_up_rounds
from rml_trainers.config import ScheduleConfig
from rml_trainers.data.loading.whole_images import scored_images
from rml_trainers.scoring.evaluation import evaluate
from rml_trainers.students.learners import to_unit_range

NUM_SCORED = 500
"""Validation images of Cityscapes."""
NUM_UNLABELLED = 2875
"""Unlabelled images of Cityscapes at 100 labelled ones."""
TARGET = "≤ 0.05"


def run(bench: Bench) -> Iterator[Result]:
    """Scoring against training steps, then the share that follows for a whole run."""
    workload = Workload(bench.setting, METHOD_CONFIGS["rml"], bench.folder)
    trainer = workload.trainer
    num_images = len(workload.trainer.data.names("val"))
    calls: dict[str, Call] = {
        "evaluation": lambda index: evaluate(
            workload.learners, trainer.data, trainer.config.evaluation
        ),
        "image by image, counted on the host": one_by_one(workload),
        "training step": workload.step,
    }
    facts = {name: Facts(images=num_images) for name in list(calls)[:2]}
    comparison = compare(
        f"Scoring {num_images} whole images",
        calls,
        num_rounds=bench.num_rounds(6),
        num_warm_up=warm_up_rounds(1),
        facts=facts,
    )
    yield comparison
    per_image = comparison.seconds("evaluation") / num_images
    yield cadences(bench, per_image / comparison.seconds("training step"))


def one_by_one(workload: Workload) -> Call:
    """Batches of one image, upsampled logits to the class map on the device, everything else in
    NumPy on the host."""
    learners = workload.learners
    data = workload.trainer.data
    network = workload.learners.teacher(0).eval()

    @torch.no_grad()
    def score(index: int) -> None:
        num_classes = data.num_classes
        confusion = np.zeros((num_classes, num_classes), dtype=np.int64)
        for scored in scored_images(data, "val", data.names("val"), 1):
            images = to_unit_range(scored.image.to(learners.device))
            size = (images.shape[-2], images.shape[-1])
            with learners.autocast():
                logits = network(images).logits
            predicted = network.upsample(logits, size).argmax(1).cpu().numpy()
            truth = scored.label.numpy()
            valid = truth != 255
            cells = truth[valid].astype(np.int64) * num_classes + predicted[valid]
            confusion += np.bincount(cells, minlength=num_classes**2).reshape(
                num_classes, num_classes
            )

    return score


def cadences(bench: Bench, image_per_step: float) -> Table:
    """Evaluation time ÷ training time over the default schedule, for several cadences.

    Args:
        image_per_step: time to score one image ÷ time of a training step.
    """
    schedule = ScheduleConfig()
    steps = schedule.total_steps
    num_stages = 1 + len(schedule.stage_steps)
    epoch = NUM_UNLABELLED // bench.setting.batch[1]
    rows = [("at the end of each stage (default)", num_stages, TARGET)]
    rows += [
        (f"also every {every:,} steps", num_stages + steps // every, "") for every in (5000, 1000)
    ]
    rows += [(f"after every epoch ({epoch} steps), as public scripts do", steps // epoch, "")]
    shares = [
        (what, times, times * NUM_SCORED * image_per_step / steps, target)
        for what, times, target in rows
    ]
    return Table(
        title=f"Scoring {NUM_SCORED} images as a share of {steps:,} training steps",
        columns=("when", "evaluations", "share of training", "target"),
        rows=tuple(shares),
        note="From the medians above, for one scored network.",
    )
