"""A whole training step against its own compute floor: the bare forwards and backwards of the same networks.

    python tests/benchmarks/bench_step.py --threads 1
    python tests/benchmarks/bench_step.py --backbone resnet101 --crop 256 512      on a GPU

Both sides run the same networks on the same batches in the same precision. The floor does nothing but what no
implementation can leave out: per student one forward and backward over labelled and unlabelled images together, per
teacher one forward over the unlabelled ones, and the loss's one number. The step adds noise, pseudo labels,
prototypes and rectification, upsampling and cross entropies at pixel resolution, the optimiser and the mean teachers.
"""

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # run as a file: make `tests` importable

from rml_trainers.config import BatchConfig, MethodConfig, RunConfig, ScheduleConfig, SplitConfig
from rml_trainers.data.cache import PreparedData
from rml_trainers.data.loaders import Batch
from rml_trainers.data.prepare import ensure_prepared
from rml_trainers.data.scenes import ScenesConfig
from rml_trainers.data.splits import make_split
from rml_trainers.device import choose_device
from rml_trainers.learners import to_unit_range
from rml_trainers.methods.iml import ImlConfig
from rml_trainers.methods.method import StageContext
from rml_trainers.methods.rml import RmlConfig
from rml_trainers.methods.supervised import SupervisedConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.reporting import MemoryReporter
from rml_trainers.trainer import Trainer
from tests.benchmarks.harness import Comparison, compare, parser, publish

METHODS: dict[str, MethodConfig] = {
    "supervised": SupervisedConfig(),
    "iml": ImlConfig(),
    "rml": RmlConfig(distance="relative"),
}
NUM_BATCHES = 4


def make_trainer(method: MethodConfig, backbone: str, crop_px: tuple[int, int], work_dir: Path) -> Trainer:
    """A trainer at the beginning of stage 1, prototypes and p⁰ included."""
    size_px = (crop_px[0] + 32, crop_px[1] + 32)
    config = RunConfig(
        data=ScenesConfig(size_px=size_px, num_train=24, num_val=2),
        split=SplitConfig(num_labelled=8),
        method=method,
        network=DeepLabV2Config(backbone=backbone, weights="none"),
        geometry=GeometryConfig(crop_px=crop_px),
        batch=BatchConfig(labelled=4, unlabelled=4),
        schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(1000,)),
    )
    data: PreparedData = ensure_prepared(config.data, None, work_dir / "cache")
    split = make_split(data.names("train"), config.split)
    device = choose_device("auto")
    trainer = Trainer(config, data, split, device=device, reporter=MemoryReporter(), work_dir=work_dir)
    if trainer.method.uses_unlabelled:
        context = StageContext(stage=1, learners=trainer.learners, data=data, split=split, work_dir=work_dir)
        trainer.method.begin_stage(context)
    return trainer


def batches_of(trainer: Trainer) -> list[Batch]:
    """A few batches that are already on the device: reading them is measured in `bench_data.py`."""
    with_unlabelled = trainer.method.uses_unlabelled
    initial = trainer.method.initial_labels()
    made = [trainer.batches.batch(1, i, with_unlabelled=with_unlabelled, initial=initial) for i in range(NUM_BATCHES)]
    return [batch.to(trainer.device) for batch in made]


def floor_of(trainer: Trainer, batches: list[Batch]) -> Callable[[int], object]:
    """Bare forwards and backwards on the pixels of the same batches."""
    labelled = [[to_unit_range(crops.image) for crops in batch.labelled] for batch in batches]
    weak = [None if batch.unlabelled is None else to_unit_range(batch.unlabelled.image) for batch in batches]

    def floor(index: int) -> None:
        i = index % NUM_BATCHES
        images, unlabelled = labelled[i], weak[i]
        if unlabelled is not None:
            trainer.learners.label("teachers", unlabelled)
            images = [torch.cat([x, unlabelled]) for x in images]
        outputs = trainer.learners.forward_students(images)
        for parameter in trainer.learners.parameters():
            parameter.grad = None
        torch.stack([output.logits.float().mean() for output in outputs]).sum().backward()  # type: ignore[no-untyped-call]

    return floor


def bench(name: str, backbone: str, crop_px: tuple[int, int], num_rounds: int) -> Comparison:
    with tempfile.TemporaryDirectory() as folder:
        trainer = make_trainer(METHODS[name], backbone, crop_px, Path(folder))
        batches = batches_of(trainer)

        def step(index: int) -> None:
            batch = batches[index % NUM_BATCHES]
            trainer.meter.add(trainer.train_on(batch, warm_up=False, progress=0.5))

        return compare(
            f"{name}: {backbone}, crops {crop_px[0]}×{crop_px[1]}, batch 4 + 4",
            {"floor": floor_of(trainer, batches), "step": step},
            num_rounds=num_rounds,
        )


def main() -> None:
    arguments = parser(__doc__ or "", num_rounds=15)
    arguments.add_argument("--backbone", default="tf_efficientnet_lite0")
    arguments.add_argument("--crop", type=int, nargs=2, default=(128, 160), metavar=("HEIGHT", "WIDTH"))
    options = arguments.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    crop_px = (options.crop[0], options.crop[1])
    publish("Training step", [bench(name, options.backbone, crop_px, options.rounds) for name in METHODS], options)


if __name__ == "__main__":
    main()
