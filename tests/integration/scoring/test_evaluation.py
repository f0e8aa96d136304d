"""`evaluate` counts what each network says about each image by itself, whatever the protocol, batch
and workers."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from rml_trainers.config import RunConfig
from rml_trainers.data.dataset import Subset
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.scoring import evaluation as module
from rml_trainers.scoring.evaluation import evaluate
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.students.learners import Learners
from rml_trainers.training.assembly import make_learners
from tests.support.image_folders import write_mixed_sizes
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
NETWORKS = ("ensemble", "teacher_1", "student_2", "student_1", "teacher_2")
DATA = FolderConfig(
    folder="own", class_names=("road", "car", "tree"), size_px=None, val_fraction=0.6
)
PROTOCOLS: dict[str, dict[str, Any]] = {
    "folder-original": {},
    "folder-56": {"inference": "padded", "inference_px": (56, 56)},
    "folder-original-slide-32-16": {
        "inference": "sliding",
        "inference_px": (32, 32),
        "window_stride": 0.5,
    },
}
HOLDOUT = ("a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7")
Confusion = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PreparedData:
    root = tmp_path_factory.mktemp("mixed")
    write_mixed_sizes(root)
    return ensure_prepared(DATA, root, root / "cache")


def config_of(batch: int, networks: tuple[str, ...] = NETWORKS, **protocol: Any) -> RunConfig:
    evaluation = EvaluationConfig(networks=networks, batch=batch, **protocol)  # type: ignore[arg-type]
    return tiny_config("iml", data=DATA, evaluation=evaluation)


@pytest.fixture(scope="module")
@torch.no_grad()
def learners(data: PreparedData) -> Learners:
    """Four networks that differ, with input statistics of their own, each seeing all classes about
    equally often."""
    made = make_learners(config_of(1), 3, torch.device("cpu"))
    image = torch.from_numpy(data.image("val", 0).copy()).permute(2, 0, 1)[None].float() / 255
    for i, network in enumerate(itertools.chain(made.students, made.teachers)):
        torch.manual_seed(i)
        assert isinstance(network, SegmentationNetwork)
        torch.nn.init.normal_(network.get_parameter("aspp.branches.0.weight"), std=0.3)
        network.mean.add_(0.1 * i)
        network.get_parameter("aspp.branches.0.bias").sub_(
            network.eval()(image).logits.mean((0, 2, 3))
        )
    return made


def held_out(data: PreparedData) -> tuple[str, ...]:
    return tuple(name for name in HOLDOUT if name in data.names("train"))


def one_image(network: SegmentationNetwork, image: Tensor, protocol: dict[str, Any]) -> Tensor:
    """Probabilities [K, H, W] of one network on one image [3, H, W], by the plain words of the
    protocol."""
    height, width = image.shape[-2:]

    def run(part: Tensor) -> Tensor:
        return network.upsample(
            network(part[None]).logits, (part.shape[-2], part.shape[-1])
        ).softmax(1)[0]

    if protocol.get("inference") == "padded":
        canvas = network.mean[0].expand(3, *protocol["inference_px"]).clone()
        canvas[:, :height, :width] = image
        return run(canvas)[:, :height, :width]
    if protocol.get("inference") != "sliding":
        return run(image)
    tall = min(32, height)
    wide = min(32, width)
    total = torch.zeros(3, height, width)
    times = torch.zeros(height, width)
    places = {
        (min(y, height - tall), min(x, width - wide))
        for y in range(0, height, 16)
        for x in range(0, width, 16)
    }
    for y, x in sorted(places):
        total[:, y : y + tall, x : x + wide] += run(image[:, y : y + tall, x : x + wide])
        times[y : y + tall, x : x + wide] += 1
    return total / times


@torch.no_grad()
def expected(
    learners: Learners, data: PreparedData, subset: Subset, protocol: dict[str, Any]
) -> dict[str, Confusion]:
    """Confusion matrices by network, one image and one pixel class at a time."""
    learners.students.eval()
    learners.teachers.eval()
    counts = {name: np.zeros((3, 3), np.int64) for name in NETWORKS}
    for name in data.names("val") if subset == "val" else held_out(data):
        i = data.index(subset, name)
        image = torch.from_numpy(data.image(subset, i).copy()).permute(2, 0, 1).float() / 255
        prob = {
            f"student_{n + 1}": one_image(learners.student(n), image, protocol) for n in range(2)
        }
        prob |= {
            f"teacher_{n + 1}": one_image(learners.teacher(n), image, protocol) for n in range(2)
        }
        prob["ensemble"] = (prob["teacher_1"] + prob["teacher_2"]) / 2
        label = data.label(subset, i)
        assert label is not None
        for network, scores in prob.items():
            predicted = scores.argmax(0).numpy()
            for truth, guess in itertools.product(range(3), range(3)):
                counts[network][truth, guess] += int(
                    ((label == truth) & (predicted == guess)).sum()
                )
    return counts


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_network_is_scored_as_if_alone(
    name: str, batch: int, learners: Learners, data: PreparedData
) -> None:
    evaluations = evaluate(
        learners, data, config_of(batch, **PROTOCOLS[name]).evaluation, held_out(data)
    )
    assert [(e.subset, e.network) for e in evaluations] == [
        (s, n) for s in ("val", "holdout") for n in NETWORKS
    ]
    stored: dict[str, Subset] = {"val": "val", "holdout": "train"}
    wanted = {
        subset: expected(learners, data, where, PROTOCOLS[name]) for subset, where in stored.items()
    }
    assert len({wanted["val"][network].tobytes() for network in NETWORKS}) == len(NETWORKS), (
        "they should differ"
    )
    for evaluation in evaluations:
        assert evaluation.protocol == f"{name}/{evaluation.network}/last"
        moved = np.abs(evaluation.confusion - wanted[evaluation.subset][evaluation.network]).sum()
        assert moved <= 4, (
            "at most two pixels on the edge between two classes may fall to the other side by "
            "rounding"
        )
        assert evaluation.confusion.sum() == wanted[evaluation.subset][evaluation.network].sum()


@pytest.mark.parametrize("name", PROTOCOLS)
def test_workers_share_the_images(
    name: str, learners: Learners, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = config_of(2, **PROTOCOLS[name])
    joined = list[Tensor]()
    alone = evaluate(learners, data, config.evaluation, held_out(data))
    monkeypatch.setattr(module, "world_size", lambda: 2)
    monkeypatch.setattr(module, "sum_over_workers", lambda counts: joined.append(counts.clone()))
    for worker in range(2):
        monkeypatch.setattr(module, "rank", lambda worker=worker: worker)
        evaluate(learners, data, config.evaluation, held_out(data))
    assert len(joined) == 2, "one all-reduce for everything"
    assert all(int(part.sum()) > 0 for part in joined)
    together = (joined[0] + joined[1]).flatten(0, 1).numpy()
    for evaluation, confusion in zip(alone, together, strict=True):
        assert np.abs(evaluation.confusion - confusion).sum() <= 4
        assert evaluation.confusion.sum() == confusion.sum()


def test_a_network_that_nobody_asked_for_does_not_run(
    learners: Learners, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int]] = []
    predict = Learners.predict_one

    def spy(self: Learners, labeller: Any, number: int, images: Tensor) -> Any:
        asked.append((labeller, number))
        return predict(self, labeller, number, images)

    monkeypatch.setattr(Learners, "predict_one", spy)
    evaluate(learners, data, config_of(8, ("teacher_2",)).evaluation)
    assert set(asked) == {("teachers", 1)}
    asked.clear()
    evaluate(learners, data, config_of(8, ("ensemble", "student_1")).evaluation)
    assert set(asked) == {("students", 0), ("teachers", 0), ("teachers", 1)}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_device_is_read_once(
    name: str, learners: Learners, data: PreparedData, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU every read waits for all that is queued: one per evaluation, not one per image."""
    reads: list[str] = []

    def counted(method: str) -> Callable[..., Any]:
        original = getattr(Tensor, method)

        def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            reads.append(method)
            return original(self, *args, **kwargs)

        return read

    for method in (
        "item",
        "tolist",
        "cpu",
        "nonzero",
        "__bool__",
        "__int__",
        "__float__",
        "__index__",
    ):
        monkeypatch.setattr(Tensor, method, counted(method))
    evaluate(learners, data, config_of(2, **PROTOCOLS[name]).evaluation, held_out(data))
    assert reads == ["cpu"]


def test_an_image_smaller_than_every_window_is_scored_whole(
    learners: Learners, data: PreparedData, tmp_path: Path
) -> None:
    large: dict[str, Any] = {"inference": "sliding", "inference_px": (64, 64)}
    by_window, whole = (evaluate(learners, data, config_of(2, **p).evaluation) for p in (large, {}))
    for one, other in zip(by_window, whole, strict=True):
        assert np.abs(one.confusion - other.confusion).sum() <= 2
