"""Trainers, batches and floors: the work that steps are compared on."""

import tempfile
from pathlib import Path

import torch

from rml_benchmarks.measuring.timing import Call
from rml_benchmarks.settings import Setting
from rml_benchmarks.workload.images import blurred_noise
from rml_trainers.config import (
    BatchConfig,
    EvaluationConfig,
    MethodConfig,
    RunConfig,
    ScheduleConfig,
    SplitConfig,
)
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.methods.paper.supervised import SupervisedConfig
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.runtime.device import choose_device
from rml_trainers.runtime.distributed import rank
from rml_trainers.settings.contract import Labeller
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer

METHOD_CONFIGS: dict[str, MethodConfig] = {
    "supervised": SupervisedConfig(),
    "iml": ImlConfig(),
    "rml": RmlConfig(),
    "cps": CpsConfig(),
    "unimatch": UniMatchConfig(),
}
NUM_BATCHES = 4
NUM_TRAIN = 8
NUM_VAL = 8
PROGRESS = 0.5


class Workload:
    """One method's trainer at the beginning of stage 1 (prototypes and p⁰ included), with batches
    on the device.

    Reading a batch and copying it to the device is not part of a step here: it is measured for
    itself.
    """

    def __init__(
        self,
        setting: Setting,
        method: MethodConfig,
        folder: Path,
        *,
        num_batches: int = NUM_BATCHES,
    ) -> None:
        self.setting = setting
        self.trainer = make_trainer(setting, method, folder)
        self.learners: Learners = self.trainer.learners
        self.num_images = setting.batch[0] + (
            setting.batch[1] if self.trainer.config.method.uses_unlabelled else 0
        )
        begin_stage(self.trainer)
        self.batches = [self.read(i).to(self.trainer.device) for i in range(num_batches)]

    def read(self, step: int) -> Batch:
        """A batch as the trainer reads it."""
        method = self.trainer.method
        initial = method.initial_labels()
        return self.trainer.batches.batch(
            1, step, with_unlabelled=self.trainer.config.method.uses_unlabelled, initial=initial
        )

    def step(self, index: int) -> None:
        """The whole training step on a batch that is on the device."""
        batch = self.batches[index % len(self.batches)]
        self.trainer.meter.add(self.trainer.train_on(batch, warm_up=False, progress=PROGRESS))

    def floor(self) -> Call:
        """What no implementation can leave out, on the pixels of the same batches, where a student
        has one strong view.

        Per labelling network one forward over the unlabelled images, per student one forward and
        backward over labelled and unlabelled images together, and one number as the loss.
        """
        labeller: Labeller = getattr(self.trainer.method, "labeller", "teachers")
        labelled = [
            [to_unit_range(crops.image) for crops in batch.labelled] for batch in self.batches
        ]
        weak = [
            None if batch.unlabelled is None else to_unit_range(batch.unlabelled.image)
            for batch in self.batches
        ]

        def floor(index: int) -> None:
            i = index % len(self.batches)
            images = labelled[i]
            unlabelled = weak[i]
            if unlabelled is not None:
                self.learners.label(labeller, unlabelled)
                images = [torch.cat([x, unlabelled]) for x in images]
            outputs = self.learners.forward_students(images)
            for parameter in self.learners.parameters():
                parameter.grad = None
            torch.stack([output.logits.float().mean() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]

        return floor


def warm_up_rounds(default: int) -> int:
    """Rounds before steps are timed: on a GPU no batch is met there for the first time, which costs
    memory from the driver and cuDNN's search; elsewhere as many as usual."""
    return max(default, NUM_BATCHES) if choose_device("auto").type == "cuda" else default


def make_trainer(setting: Setting, method: MethodConfig, folder: Path) -> Trainer:
    """Trainer of one method in a setting, with scratch files of its own under `folder`."""
    data_config, data = blurred_noise(
        folder / "data", setting.size_px, setting.num_classes, num_train=NUM_TRAIN, num_val=NUM_VAL
    )
    config = RunConfig(
        data=data_config,
        split=SplitConfig(num_labelled=NUM_TRAIN // 2),
        method=method,
        network=setting.network,
        geometry=GeometryConfig(crop_px=setting.crop_px, scale=setting.scale),
        batch=BatchConfig(
            labelled=setting.batch[0], unlabelled=setting.batch[1], accumulate=setting.accumulate
        ),
        runtime=setting.runtime,
        schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(1000,)),
        evaluation=EvaluationConfig(batch=4),
        precision=setting.precision,
    )
    work_dir = Path(tempfile.mkdtemp(prefix=f"{method.name}-", dir=folder))
    split = make_split(data.names("train"), config.split)
    device = choose_device("auto", rank())
    return Trainer(config, data, split, device=device, reporter=MemoryReporter(), work_dir=work_dir)


def begin_stage(trainer: Trainer) -> None:
    """Stage 1 as the trainer begins it: for `rml` the pass that gives prototypes and p⁰."""
    if trainer.config.method.uses_unlabelled:
        trainer.method.begin_stage(trainer.stage_context(1))
