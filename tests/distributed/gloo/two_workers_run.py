"""Program for the two-worker tests: trains a tiny `rml` run without what differs by worker (batch
statistics, dropout).

The students are of two kinds, as DDP has to carry both in one wrapper.

torchrun --nproc-per-node=N two_workers_run.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import distributed as dist

sys.path.insert(0, str(Path(__file__).parents[3]))

from rml_trainers.config import BatchConfig, OptimiserConfig
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.runtime.distributed import leave_group
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import tiny_config


def train(folder: Path) -> None:
    config = tiny_config(
        "rml",
        network=DeepLabV2Config(
            backbone="test_efficientnet", weights="none", batchnorm="frozen", aspp_branches=2
        ),
        peer_network=SetrConfig(
            backbone="test_vit",
            weights="none",
            batchnorm="frozen",
            decoder="naive",
            decoder_width=16,
        ),
        noise=NoiseConfig(model=False),
        batch=BatchConfig(
            labelled=2, unlabelled=4
        ),  # CutMix pairs images: a worker's share must be even
        # Soft labels: a hard one flips on rounding where two classes are equally likely.
        method=RmlConfig(min_cells=1, soft_labels=True),
        optimiser=OptimiserConfig(lr=0.001),
    )
    data = ensure_prepared(config.data, None, folder / "cache")
    reporter = MemoryReporter()
    trainer = Trainer(
        config,
        data,
        make_split(data.names("train"), config.split),
        device=torch.device("cpu"),
        reporter=reporter,
        work_dir=folder,
    )
    (score,) = trainer.fit()
    if dist.get_rank() == 0:
        labels = [data.label("val", i) for i in range(len(data.names("val")))]
        log = {
            "scalars": reporter.steps[-1][1],
            "confusion": score.confusion.tolist(),
            "miou": score.miou,
            "valid_pixels": sum(int((label != 255).sum()) for label in labels if label is not None),
        }
        (folder / "log.json").write_text(json.dumps(log))
        tensors = {f"students/{n}": t for n, t in trainer.learners.students.state_dict().items()}
        tensors |= {n: t for n, t in trainer.method.tensors().items() if n.startswith("rectifier")}
        save_file(
            {n: t.detach().contiguous() for n, t in tensors.items()}, folder / "weights.safetensors"
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    train(Path(sys.argv[1]))
    leave_group()
