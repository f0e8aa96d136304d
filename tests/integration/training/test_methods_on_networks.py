"""Every method takes a step on every kind of network, and on pairs of a convolutional network and a
transformer."""

from pathlib import Path

import pytest
import torch

from rml_trainers.config import ScheduleConfig, TeacherConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import METHOD_CONFIGS, NETWORK_CONFIGS, tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
PAIRS = {
    "deeplab_v3_plus": "dpt",
    "dpt": "deeplab_v2",
    "segformer_head": "deeplab_v3_plus",
    "setr": "segformer_head",
}
"""Network of the first student → of the second, where a method has two."""


@pytest.mark.parametrize("network", PAIRS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_learns_on_a_network(
    method: str, network: str, tiny_data: PreparedData, tmp_path: Path
) -> None:
    """Crops of 24×32, which patches of 16 do not divide."""
    has_peer = METHOD_CONFIGS[method].num_students == 2
    config = tiny_config(
        method,
        network=NETWORK_CONFIGS[network],
        peer_network=NETWORK_CONFIGS[PAIRS[network]] if has_peer else None,
        geometry=GeometryConfig(crop_px=(24, 32)),
        teacher=TeacherConfig(ema_decay=0.5),
        schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(1, 1)),
    )
    reporter = MemoryReporter()
    split = make_split(tiny_data.names("train"), config.split)
    trainer = Trainer(
        config,
        tiny_data,
        split,
        device=torch.device("cpu"),
        reporter=reporter,
        work_dir=tmp_path,
    )
    before = {name: p.detach().clone() for name, p in trainer.learners.students.named_parameters()}
    trainer.fit()
    still = [
        name
        for name, p in trainer.learners.students.named_parameters()
        if p.requires_grad and torch.equal(before[name], p)
    ]
    assert not still
    (_, scalars) = reporter.steps[-1]
    assert all(torch.isfinite(torch.tensor(value)) for value in scalars.values())
