"""Program for the two-worker tests: two steps of a method by one process, then by two workers; ends
well if both agree.

The workers also take the steps in micro-batches.

torchrun --nproc-per-node=2 two_workers_step.py FOLDER METHOD…
"""

import os
import sys
from pathlib import Path

import torch
from torch import Tensor
from torch import distributed as dist

sys.path.insert(0, str(Path(__file__).parents[3]))

from rml_trainers.config import BatchConfig, OptimiserConfig, RunConfig, replace
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS, MethodEntry
from rml_trainers.methods.comparators.contrastive.u2pl import U2plConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.runtime.distributed import leave_group
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.networks.adversarial import Adversarial
from tests.support.tiny import METHOD_CONFIGS, tiny_config

DRAWING = ("u2pl", "corrmatch")
"""Methods that draw on the device, each worker for itself."""


def config_of(method: str, accumulate: int = 1) -> RunConfig:
    """Without what differs by worker and by micro-batch: batch statistics and dropout."""
    methods = {
        "unimatch": UniMatchConfig(threshold=0.0, channel_dropout=0.0),
        "u2pl": U2plConfig(contrast_weight=0.0),
    }
    changes = {"method": methods[method]} if method in methods else {}
    return tiny_config(
        method,
        network=DeepLabV2Config(
            backbone="test_efficientnet", weights="none", batchnorm="frozen", aspp_branches=2
        ),
        noise=NoiseConfig(model=False),
        optimiser=OptimiserConfig(lr=0.001),
        batch=BatchConfig(labelled=4, unlabelled=4, accumulate=accumulate),
        **changes,
    )


def two_steps(
    method: str, data: PreparedData, work_dir: Path, accumulate: int = 1
) -> dict[str, Tensor]:
    """Weights after two steps, of the students and of the method's own networks."""
    config = config_of(method, accumulate)
    device = torch.device("cpu")
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config, data, split, device=device, reporter=MemoryReporter(), work_dir=work_dir
    )
    for own in trainer.method.own_networks().values():
        own.module.eval()  # running instead of batch statistics
    trainer.method.begin_stage(trainer.stage_context(1))
    initial = trainer.method.initial_labels()
    for step in range(2):
        batch = trainer.batches.batch(1, step, with_unlabelled=True, initial=initial)
        trainer.train_on(batch, warm_up=False, progress=0.0)
    return {**trainer.learners.students.state_dict(), **trainer.own_networks.tensors()}


def compare(method: str, alone: dict[str, Tensor], shared: dict[str, Tensor]) -> None:
    """The workers hold the same, and it is what one process has."""
    for name, tensor in alone.items():
        torch.testing.assert_close(
            shared[name], tensor, rtol=1e-3, atol=1e-5, msg=f"{method}: {name} differs"
        )
        of_rank_0 = shared[name].clone()
        dist.broadcast(of_rank_0, src=0)
        assert torch.equal(of_rank_0, shared[name]), f"{method}: the workers' {name} differ"


def compare_kept(method: str, data: PreparedData, work_dir: Path) -> None:
    """Each worker draws for its own images; what the method keeps is the same in both."""
    config = replace(config_of(method), method=METHOD_CONFIGS[method])
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config,
        data,
        split,
        device=torch.device("cpu"),
        reporter=MemoryReporter(),
        work_dir=work_dir,
    )
    trainer.method.begin_stage(trainer.stage_context(1))
    for step in range(2):
        batch = trainer.batches.batch(1, step, with_unlabelled=True)
        trainer.train_on(batch, warm_up=False, progress=0.0)
    kept = {
        **trainer.method.tensors(),
        **trainer.own_networks.tensors(),
        **trainer.learners.students.state_dict(),
    }
    if method == "u2pl":
        assert int(kept["bank/num_added"].min()) > 0
    for name, tensor in kept.items():
        of_rank_0 = tensor.clone()
        dist.broadcast(of_rank_0, src=0)
        assert torch.equal(of_rank_0, tensor), f"{method}: the workers' {name} differ"


def main(folder: Path, methods: list[str]) -> None:
    torch.set_num_threads(1)
    METHODS["mean_teacher"] = MethodEntry(MeanTeacherConfig, Adversarial)
    work_dir = folder / os.environ["RANK"]
    work_dir.mkdir(parents=True)
    data = ensure_prepared(config_of(methods[0]).data, None, folder / "cache")
    alone = {method: two_steps(method, data, work_dir) for method in methods}
    dist.init_process_group("gloo")
    for method in methods:
        in_pieces = (
            METHODS[method].build is not Adversarial
        )  # it runs its student on the whole batch
        for accumulate in (1, 2) if in_pieces else (1,):
            compare(method, alone[method], two_steps(method, data, work_dir, accumulate))
    for method in DRAWING:
        compare_kept(method, data, work_dir)
    leave_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
