"""Label smoothing and hard examples against loops over pixels, alone and in a step."""

import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from rml_trainers.config import LabelledLossConfig, RunConfig, ScheduleConfig, replace
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods.comparators.adversarial.adv_ssl import AdvSslConfig
from rml_trainers.methods.comparators.adversarial.s4gan import S4GanConfig
from rml_trainers.methods.comparators.dmt import DmtConfig
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.students.losses import hard_cross_entropy, labelled_cross_entropy
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.method_case import Array, case, softmax, taken
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")
K = 4
BOTH = LabelledLossConfig(label_smoothing=0.2, hard_examples=0.3, hard_fraction=0.25)
FEWEST = LabelledLossConfig(label_smoothing=0.2, hard_examples=0.001, hard_fraction=0.25)
"""An untrained network gives every class about the same: here a quarter of the pixels decides."""


def reference(logits: Array, label: npt.NDArray[np.int64], settings: LabelledLossConfig) -> float:
    """Crop by crop, pixel by pixel."""
    total = 0.0
    num_valid = 0
    share = settings.label_smoothing
    for maps, labels in zip(logits, label, strict=True):
        pixels = []
        for y, x in np.ndindex(*labels.shape):
            if labels[y, x] == 255:
                continue
            prob = softmax(maps[:, y, x])
            target = np.full(len(prob), share / len(prob))
            target[labels[y, x]] += 1 - share
            loss = -sum(t * math.log(p) for t, p in zip(target, prob, strict=True))
            pixels.append((float(prob[labels[y, x]]), loss))
        num_valid += len(pixels)
        if settings.hard_examples is not None and pixels:
            pixels.sort()
            fewest = round(settings.hard_fraction * labels.size)
            limit = settings.hard_examples
            limit = max(limit, pixels[fewest - 1][0]) if fewest <= len(pixels) else 1.0
            kept = [loss for prob, loss in pixels if prob <= limit]
        else:
            kept = [loss for _, loss in pixels]
        if kept:
            total += len(pixels) * sum(kept) / len(kept)
    return total / max(1, num_valid)


def data_of(num_unlabelled: tuple[int, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits [B, K, 8, 9] and labels of which so many are 255 in each crop."""
    generator = torch.Generator().manual_seed(3)
    logits = 2 * torch.randn(len(num_unlabelled), K, 8, 9, generator=generator)
    label = torch.randint(0, K, (len(num_unlabelled), 8, 9), generator=generator)
    for crop, number in zip(label, num_unlabelled, strict=True):
        crop.view(-1)[:number] = 255
    return logits, label


@pytest.mark.parametrize(
    "settings",
    [
        LabelledLossConfig(label_smoothing=0.1),
        LabelledLossConfig(hard_examples=0.3, hard_fraction=0.01),
        LabelledLossConfig(hard_examples=0.001, hard_fraction=0.5),
        BOTH,
    ],
    ids=["smoothed", "by threshold", "by fraction", "both"],
)
@pytest.mark.parametrize("num_unlabelled", [(0, 10, 0), (30, 60, 72)], ids=str)
def test_the_loss_is_what_the_loops_give(
    num_unlabelled: tuple[int, ...], settings: LabelledLossConfig
) -> None:
    logits, label = data_of(num_unlabelled)
    count = (label != 255).sum().float()
    found = labelled_cross_entropy(logits.log_softmax(dim=1), label, count, settings)
    expected = reference(logits.double().numpy(), label.numpy(), settings)
    assert float(found) == pytest.approx(expected, rel=1e-5)
    pieces = [
        labelled_cross_entropy(logits[i : i + 1].log_softmax(1), label[i : i + 1], count, settings)
        for i in range(len(label))
    ]
    assert float(torch.stack(pieces).sum()) == pytest.approx(expected, rel=1e-5)


def test_no_pixel_with_a_label_gives_zero() -> None:
    logits, label = data_of((72, 72))
    loss = labelled_cross_entropy(logits.log_softmax(1), label, torch.tensor(0.0), BOTH)
    assert float(loss) == 0


def test_only_kept_pixels_have_a_gradient() -> None:
    logits, label = data_of((0,))
    logits.requires_grad_()
    settings = LabelledLossConfig(hard_examples=0.001, hard_fraction=0.25)
    loss = labelled_cross_entropy(logits.log_softmax(1), label, torch.tensor(72.0), settings)
    loss.backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    assert int(logits.grad.abs().sum(dim=1).gt(0).sum()) == 18


def test_off_it_is_the_plain_loss_to_the_bit() -> None:
    logits, label = data_of((5, 0))
    log_prob = logits.log_softmax(1)
    count = (label != 255).sum().float()
    plain = hard_cross_entropy(log_prob, label, count)
    assert torch.equal(plain, labelled_cross_entropy(log_prob, label, count, LabelledLossConfig()))


def test_it_is_the_supervised_part_of_a_methods_step(
    tiny_data: PreparedData, tmp_path: Path
) -> None:
    losses = {}
    for name, settings in (("plain", LabelledLossConfig()), ("both", FEWEST)):
        (tmp_path / name).mkdir()
        c = case(ImlConfig(), tiny_data, tmp_path / name, labelled_loss=settings)
        supervised = 0.0
        for i, crops in enumerate(c.batch.labelled):
            logits = c.student_logits(crops.image.float() / 255, i)
            supervised += reference(logits, crops.label.numpy().astype(np.int64), settings)
        losses[name] = (taken(c), supervised)
    unsupervised = losses["plain"][0] - losses["plain"][1]
    assert losses["both"][0] == pytest.approx(losses["both"][1] + unsupervised, rel=1e-4)
    assert abs(losses["both"][1] - losses["plain"][1]) > 0.01


@pytest.mark.parametrize("method", ["supervised", "iml"])
def test_the_warm_up_has_it_too(method: str, tiny_data: PreparedData, tmp_path: Path) -> None:
    """The first step of stage 0, of the same networks."""

    def first_loss(config: RunConfig, work_dir: Path) -> float:
        work_dir.mkdir()
        reporter = MemoryReporter()
        trainer = Trainer(
            config,
            tiny_data,
            make_split(tiny_data.names("train"), config.split),
            device=torch.device("cpu"),
            reporter=reporter,
            work_dir=work_dir,
        )
        batch = trainer.batches.batch(0, 0, with_unlabelled=False)
        crops = batch.labelled[0]
        trainer.learners.students.eval()
        student = trainer.learners.student(0)
        with torch.no_grad():
            logits = student.upsample(
                student(crops.image.float() / 255).logits, (crops.label.shape[-2], 32)
            )
        wanted = reference(
            logits.double().numpy(), crops.label.numpy().astype(np.int64), config.labelled_loss
        )
        result = trainer.train_on(batch, warm_up=True, progress=0.0)
        found = float(result.scalars["loss_supervised_1"])
        assert found == pytest.approx(wanted, rel=1e-4)
        return found

    base = tiny_config(
        method,
        noise=NoiseConfig(model=False),
        schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(1,)),
    )
    network = base.network
    base = replace(base, network=type(network)(**{**vars(network), "batchnorm": "frozen"}))
    plain = first_loss(base, tmp_path / "plain")
    assert first_loss(replace(base, labelled_loss=FEWEST), tmp_path / "both") != plain


@pytest.mark.parametrize("method", [DmtConfig(fractions=(0.5, 1.0)), AdvSslConfig(), S4GanConfig()])
def test_a_method_with_a_loss_of_its_own_refuses_it(method: object) -> None:
    with pytest.raises(ValueError, match=r"labelled_loss = .*: expected its default for"):
        tiny_config("rml", method=method, labelled_loss=BOTH)
