"""Students of different architectures (paper, Table 5): one convolutional, one a transformer,
through everything."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from rml_trainers.config import EvaluationConfig, RunConfig, ScheduleConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.networks.setr import SETR
from rml_trainers.prediction.inference import load_network
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.students.learners import to_unit_range
from rml_trainers.training.reporting import MemoryReporter, Progress
from rml_trainers.training.stages import Stage
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import NETWORK_CONFIGS, tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
BOTH_STUDENTS = EvaluationConfig(
    batch=3, networks=("student_1", "student_2"), monitor_pseudo_labels=True
)


def pair(method: str) -> RunConfig:
    """32×48 images and 24×32 crops: cells of 8 pixels for the one, of 16 for the other, which has
    to pad the crops."""
    networks = {"network": NETWORK_CONFIGS["deeplab_v2"], "peer_network": NETWORK_CONFIGS["setr"]}
    return tiny_config(method, evaluation=BOTH_STUDENTS, **networks)


class KeepsCheckpoints(MemoryReporter):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def on_checkpoint(self, progress: Progress, folder: Path | None) -> None:
        assert folder is not None
        shutil.copytree(folder, self.folder / str(progress.step))
        super().on_checkpoint(progress, folder)


class Killed(Exception):
    pass


class Dies(Trainer):
    at_step: int | None = None

    def _after_step(self, stage: Stage) -> None:
        if self.step == self.at_step:
            raise Killed
        super()._after_step(stage)


def make(config: RunConfig, data: PreparedData, folder: Path, **settings: Any) -> Dies:
    (folder / "work").mkdir(parents=True)
    split = make_split(data.names("train"), config.split)
    reporter = KeepsCheckpoints(folder)
    return Dies(
        config,
        data,
        split,
        device=torch.device("cpu"),
        reporter=reporter,
        work_dir=folder / "work",
        **settings,
    )


@pytest.fixture(scope="module")
def whole(
    single_thread: None, tiny_data: PreparedData, tmp_path_factory: pytest.TempPathFactory
) -> Dies:
    """An `rml` run from its beginning to its end."""
    trainer = make(pair("rml"), tiny_data, tmp_path_factory.mktemp("pair") / "whole")
    trainer.fit()
    return trainer


def folder_of(trainer: Dies) -> Path:
    return trainer.work_dir.parent


def test_both_students_learn(tiny_data: PreparedData, tmp_path: Path) -> None:
    trainer = make(pair("iml"), tiny_data, tmp_path / "run")
    before = {name: p.detach().clone() for name, p in trainer.learners.students.named_parameters()}
    scores = trainer.fit()
    still = [
        name
        for name, p in trainer.learners.students.named_parameters()
        if torch.equal(before[name], p)
    ]
    assert not still
    assert [score.protocol for score in scores] == [
        f"scenes-32x48/student_{i}/last" for i in (1, 2)
    ]
    assert isinstance(trainer.reporter, KeepsCheckpoints)
    assert {"pseudo_label_1_miou", "pseudo_label_2_miou"} <= trainer.reporter.steps[-1][1].keys()


@pytest.mark.parametrize("number", [1, 2])
def test_a_score_is_that_of_the_students_own_checkpoint(
    number: int, whole: Dies, tiny_data: PreparedData
) -> None:
    num_classes = tiny_data.num_classes
    loaded = load_network(
        folder_of(whole) / "12", whole.config, num_classes, f"student_{number}", torch.device("cpu")
    )
    assert isinstance(loaded.networks[0], SETR) is (number == 2)
    counts = torch.zeros(num_classes, num_classes, dtype=torch.int64)
    for i in range(len(tiny_data.names("val"))):
        pixels = to_unit_range(torch.tensor(tiny_data.image("val", i)).permute(2, 0, 1)[None])
        label = torch.tensor(tiny_data.label("val", i))
        counts += confusion_matrix(loaded(pixels, (32, 48)).argmax(1), label[None], num_classes)
    assert counts.numpy().tolist() == whole.evaluations[number - 1].confusion.tolist()


def test_every_networks_maps_are_upsampled_by_itself(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upsample = SegmentationNetwork.upsample
    seen: set[tuple[str, bool, tuple[int, ...]]] = set()

    def watched(network: SegmentationNetwork, maps: Tensor, size_px: tuple[int, int]) -> Tensor:
        seen.add((type(network).__name__, network.align_corners, (*size_px, *maps.shape[-2:])))
        return upsample(network, maps, size_px)

    monkeypatch.setattr(SegmentationNetwork, "upsample", watched)
    schedule = ScheduleConfig(warm_up_steps=1, stage_steps=(1,))
    make(replace(pair("rml"), schedule=schedule), tiny_data, tmp_path / "run").fit()
    assert seen == {
        ("DeepLabV2", True, (24, 32, 3, 4)),
        ("DeepLabV2", True, (32, 48, 4, 6)),
        ("SETR", False, (24, 32, 2, 2)),
        ("SETR", False, (32, 48, 2, 3)),
    }


def test_initial_labels_have_each_networks_own_cells(whole: Dies) -> None:
    cells = []
    for number in (1, 2):
        (path,) = whole.work_dir.glob(f"initial-labels-stage2-network{number}-*.arrow")
        table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
        cells.append({tuple(row or ()) for row in table.column("cells").to_pylist()})
    num_classes = whole.data.num_classes
    assert cells == [{(num_classes, 4, 6)}, {(num_classes, 2, 3)}]
    batch = whole.batches.batch(2, 0, with_unlabelled=True, initial=whole.method.initial_labels())
    assert batch.unlabelled is not None
    assert [tuple(p0.shape[1:]) for p0 in batch.unlabelled.initial] == [
        (num_classes, 3, 4),
        (num_classes, 2, 2),
    ]
    for p0 in batch.unlabelled.initial:
        torch.testing.assert_close(p0.sum(dim=1), torch.ones_like(p0[:, 0]), atol=5e-3, rtol=0)


def test_killed_in_the_middle_and_resumed_elsewhere_it_ends_with_the_same_bits(
    whole: Dies, tiny_data: PreparedData, tmp_path: Path
) -> None:
    cut = make(whole.config, tiny_data, tmp_path / "cut")
    cut.at_step = 12
    with pytest.raises(Killed):
        cut.fit()
    last = max(int(path.name) for path in (tmp_path / "cut").iterdir() if path.name.isdigit())
    assert last == 11, "in stage 2, whose p⁰ the new folder does not have"
    resumed = make(
        whole.config, tiny_data, tmp_path / "resumed", resume_from=tmp_path / "cut" / str(last)
    )
    scores = [score.confusion.tolist() for score in resumed.fit()]
    assert scores == [score.confusion.tolist() for score in whole.evaluations]
    for part in ("students", "teachers", "optimiser", "extras"):
        theirs = load_file(folder_of(whole) / "12" / f"{part}.safetensors")
        mine = load_file(tmp_path / "resumed" / "12" / f"{part}.safetensors")
        assert mine.keys() == theirs.keys()
        assert [name for name in theirs if not torch.equal(mine[name], theirs[name])] == []
