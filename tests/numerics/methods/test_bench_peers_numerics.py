"""The peers of the benchmark compute what our step computes: the same loss, and the same networks
and prototypes after.

Only then does the time of one say something about the other.
"""

from pathlib import Path

import pytest
import torch
from torch import nn

from rml_benchmarks.peers import PEERS
from rml_benchmarks.peers.proda_style import ProdaStyle
from rml_benchmarks.peers.script import Kernels, load
from rml_trainers.config import MethodConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.training.trainer import Trainer
from tests.support.method_case import Case
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
PROGRESS = 0.25

METHODS: dict[str, MethodConfig] = {
    "cps": CpsConfig(),
    "unimatch": UniMatchConfig(threshold=0.13, channel_dropout=0.0, box_probability=1.0),
    "rml": RmlConfig(min_cells=2, temperature=0.5, prototype_momentum=0.5),
}


def trainer(method: MethodConfig, data: PreparedData, folder: Path) -> tuple[Trainer, Case]:
    """Without dropout and batch statistics, which differ where forwards are separate."""
    network = DeepLabV2Config(
        backbone="test_resnet", weights="none", aspp_branches=2, batchnorm="frozen"
    )
    folder.mkdir()
    torch.manual_seed(0)
    case = Case(
        tiny_config("rml", method=method, network=network, noise=NoiseConfig(model=False)),
        data,
        folder,
    )
    return case.trainer, case


def test_every_peer_is_compared_here() -> None:
    assert set(METHODS) == set(PEERS)


@pytest.mark.parametrize("kernels", ["our", "plain"])
@pytest.mark.parametrize("name", PEERS)
def test_a_peer_takes_the_same_step(
    name: str, kernels: Kernels, tiny_data: PreparedData, tmp_path: Path
) -> None:
    ours, case = trainer(METHODS[name], tiny_data, tmp_path / "ours")
    theirs, _ = trainer(METHODS[name], tiny_data, tmp_path / "theirs")
    before = [parameter.clone() for parameter in ours.learners.students.parameters()]
    script = PEERS[name](theirs, torch.float32, kernels)
    for step in range(2):
        result = ours.train_on(case.batch, warm_up=False, progress=PROGRESS)
        assert script.step(load(case.batch), PROGRESS) == pytest.approx(
            float(result.loss.detach()), rel=2e-4
        ), step
        assert float(result.scalars["pseudo_label_kept"]) > 0.1, "the case must teach something"
    moved = zip(before, ours.learners.students.parameters(), strict=True)
    assert any(not torch.equal(a, b) for a, b in moved)
    for kind in (
        ("students", "teachers") if name != "cps" else ("students",)
    ):  # public CPS keeps no mean teachers
        theirs_by_name = dict(nn.ModuleList(getattr(script, kind)).named_parameters())
        for key, parameter in getattr(ours.learners, kind).named_parameters():
            torch.testing.assert_close(
                theirs_by_name[key], parameter, rtol=1e-3, atol=1e-5, msg=f"{kind} {key}"
            )


def test_proda_style_moves_the_same_prototypes(tiny_data: PreparedData, tmp_path: Path) -> None:
    ours, case = trainer(METHODS["rml"], tiny_data, tmp_path / "ours")
    theirs, _ = trainer(METHODS["rml"], tiny_data, tmp_path / "theirs")
    script = ProdaStyle(theirs, torch.float32)
    before = [prototypes.clone() for prototypes in script.prototypes]
    ours.train_on(case.batch, warm_up=False, progress=PROGRESS)
    script.step(load(case.batch), PROGRESS)
    kept = ours.method.tensors()
    for i, prototypes in enumerate(script.prototypes):
        assert not torch.equal(prototypes, before[i]), "the case must move a prototype"
        torch.testing.assert_close(
            prototypes, kept[f"rectifier/{i + 1}.prototypes"], rtol=1e-4, atol=1e-5
        )
        assert torch.equal(script.seen[i], kept[f"rectifier/{i + 1}.seen"])
