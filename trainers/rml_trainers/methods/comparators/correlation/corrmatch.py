"""`corrmatch`: the student teaches itself above a threshold that moves, and labels spread over what
a head takes for one region (Sun et al., CVPR 2024).

Sources: "CorrMatch: Label Propagation via Correlation Matching for Semi-Supervised Semantic
Segmentation" and the authors' code (BBBBchan/CorrMatch: `corrmatch.py`, `util/thresh_helper.py`,
`model/semseg/deeplabv3plus.py`, `dataset/semi.py`, `configs`), which decides every value here.

Their settings of the run, to be written in a study: Deeplabv3+ on ResNet-101 at output stride 8;
SGD, momentum 0.9, weight decay 1e-4, poly 0.9; scales 0.5 to 2; no warm-up, no model noise. VOC:
lr 0.001 (head ×10), 16 + 16 crops of 321×321, 80 epochs. Cityscapes: lr 0.005 (head ×1), 8 + 8
crops of 801×801, 240 epochs, a threshold of 0 that stays, `labelled_loss: {hard_examples: 0.7,
hard_fraction: 0.078}` (100,000 pixels of a GPU's two crops). They score the student.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.comparators.correlation.propagation import (
    CorrelationHead,
    coarse,
    largest_confidence,
    rows_of,
    segments,
    spread,
    spread_labels,
)
from rml_trainers.methods.comparators.unimatch import boxes_view, require_boxes
from rml_trainers.methods.method import (
    MethodContext,
    Stateless,
    StepResult,
    Supervision,
    labelled_images,
)
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import mix, strengthen
from rml_trainers.noise.strong_view import Photometry, StrongView
from rml_trainers.runtime.distributed import gathered
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import (
    hard_cross_entropy,
    labelled_cross_entropy,
    log_softmax,
    valid_counts,
)
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.own_networks import OwnNetwork, as_a_head


@configuration
class CorrMatchConfig(MethodConfig):
    """L = ½ [ ½ L_s + ½ L_s(p') + weight · ¼ ( L_1 + L_kl + L_f + ½ L'_1 + ½ L'_w ) ].

    p = h_θ(γ(x_u)), ŷ = argmax p; sure is a pixel with max p ≥ τ. p' are the student's own logits,
    detached, spread over the map by the head's affinities. ŷ* is the mixed ŷ after each of
    `num_segments` regions of γ(x_u), without the box, has taken its most frequent class where both
    the share of its sure pixels and that of the class among them reach τ; all of such a region
    teaches, as every sure pixel does. L_1 = CE(ŷ*, h_θ(Γ(x_u))), L'_1 the same of p'; L_kl =
    KL(p, h_θ(Γ(x_u))) where the mixed label is sure; L_f = CE(ŷ, ·) with half of the channels
    dropped, L'_w = CE(ŷ, p'), both on γ(x_u) where it is sure. All are means over the pixels that
    are image. τ moves by 1 − `threshold_momentum` to the mean over predicted classes of their
    largest max p, in every step before it is used.

    Differs from the authors' code: the CutMix partner is another image of the batch instead of
    another crop of the same one; the student labels all weak views in evaluation mode (theirs does
    so for partners, and labels the image itself in training mode); labelled, weak and strong images
    pass through the network together; L_kl compares inside the box with the own image's p, as
    theirs does. The head reads the last map that the network's head begins with, averaged to cells
    of 8 pixels where it is finer; theirs has stride 8. In micro-batches each piece draws regions of
    its own.
    """

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    name: Literal["corrmatch"] = "corrmatch"
    initial_threshold: float = 0.85
    """τ at first (authors: 0.85 on VOC, 0 on Cityscapes)."""
    threshold_momentum: float = 0.999
    """Of τ (authors: 0.999; on Cityscapes 1: τ stays)."""
    num_segments: int = 128
    """Regions of an image (authors' code: 128)."""
    channel_dropout: float = 0.5
    """Chance that a channel is dropped in L_f (authors: 0.5)."""
    correlation_width: int = 256
    """Channels inside the head (authors: 256)."""
    box_area: tuple[float, float] = (0.02, 0.4)
    """Smallest and largest fraction of the image that the box covers (authors' code)."""
    box_probability: float = 0.5
    """Chance that an image gets a box at all (authors' code)."""
    photometric: Photometry = "colour_jitter"
    """Colour noise of the strong view (authors: jitter, greyscale and blur)."""

    def __post_init__(self) -> None:
        for name in ("initial_threshold", "threshold_momentum"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "a number in [0, 1]")
        drop = self.channel_dropout
        require(0 <= drop < 1, "channel_dropout", drop, "a number in [0, 1)")
        for name in ("num_segments", "correlation_width"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require_boxes(self.box_area, self.box_probability)

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        return boxes_view(self.photometric, self.box_area, self.box_probability, noise)


@dataclass(frozen=True)
class _Seen:
    """What the student of one step sees and learns from, as far as that is known before its
    forward; all maps at pixel resolution."""

    labelled: Supervision
    weak: Tensor
    """γ(x_u), [B, 3, H, W] in [0, 1]."""
    strong: Tensor
    """Γ(x_u)."""
    prob: Tensor
    """p, [B, K, H, W]."""
    label: Tensor
    """ŷ, int64 [B, H, W], 255 outside the image."""
    sure: Tensor
    """bool [B, H, W], none outside."""
    mixed_label: Tensor
    mixed_sure: Tensor
    own: Tensor
    """bool [B, H, W]: pixels of Γ(x_u) that are the image's own and no padding."""
    counts: tuple[Tensor, Tensor, Tensor]
    """Pixels of the whole batch: with a label, that are image, and that are so once mixed."""

    def of(self, piece: MicroBatch) -> "_Seen":
        """That of some of the images; counts stay those of the whole batch."""
        return replace(
            self,
            labelled=Supervision(piece.of(self.labelled.images), piece.of(self.labelled.label)),
            weak=piece.of(self.weak),
            strong=piece.of(self.strong),
            prob=piece.of(self.prob),
            label=piece.of(self.label),
            sure=piece.of(self.sure),
            mixed_label=piece.of(self.mixed_label),
            mixed_sure=piece.of(self.mixed_sure),
            own=piece.of(self.own),
        )


class CorrMatch(Stateless):
    """Keeps a head and the threshold."""

    config: CorrMatchConfig
    _threshold: Tensor | None = None

    def __init__(self, config: CorrMatchConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        seed_model_noise(context.seed, "initialise", "correlation")
        self._head = OwnNetwork(
            CorrelationHead(
                context.last_map_widths[0], config.correlation_width, context.num_classes
            ),
            as_a_head(context.optimiser),
            context.optimiser.poly_power,
        )

    def own_networks(self) -> dict[str, OwnNetwork]:
        return {"correlation": self._head}

    def begin_stage(self, context: StageContext) -> None:
        """The threshold is where it begins."""
        device = context.learners.device
        self._threshold = torch.tensor(self.config.initial_threshold, device=device)

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """One forward of the student that labels, and one that learns from all its views."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        with torch.no_grad():
            (output,) = learners.label("students", weak)
            label = make_pseudo_label(
                output.logits,
                batch.unlabelled.inside,
                learners.student(0),
                soft=True,
                confidence=True,
            )
            threshold = self._moved_threshold(label)
            seen = self._seen(batch, weak, label, threshold)
        shares: list[Tensor] = []

        def loss_of(piece: MicroBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
            return self._loss(seen.of(piece), piece, learners, shares)

        learnt = learners.learn(loss_of)
        scalars = {**learnt.scalars, "loss": learnt.loss.detach(), "threshold": threshold}
        scalars["pseudo_label_kept"] = torch.stack(shares).mean()
        scalars["confident"] = seen.sure.float().mean()
        confusions = {}
        if self.context.monitor_pseudo_labels:
            truth = batch.unlabelled.truth
            confusions["pseudo_label_1"] = confusion_matrix(label.hard, truth, self.num_classes)
        return StepResult(
            loss=learnt.loss, scalars=scalars, confusions=confusions, taught=("correlation",)
        )

    def _moved_threshold(self, label: PseudoLabel) -> Tensor:
        """τ of this step, of all workers together."""
        assert self._threshold is not None, "the stage has begun"
        assert label.confidence is not None, "asked for"
        of_worker = largest_confidence(label.confidence, label.hard, self.num_classes)
        largest = gathered(of_worker.unsqueeze(0)).amax(dim=0)
        found = largest >= 0
        mean = torch.where(found, largest, 0).sum() / found.sum().clamp(min=1)
        moved = torch.lerp(mean, self._threshold, self.config.threshold_momentum)
        self._threshold = torch.where(found.any(), moved, self._threshold)
        return self._threshold

    def _seen(self, batch: Batch, weak: Tensor, label: PseudoLabel, threshold: Tensor) -> _Seen:
        assert batch.unlabelled is not None
        assert label.soft is not None and label.confidence is not None, "asked for"
        draw = batch.noise[0].given(label.hard)
        inside = batch.unlabelled.inside
        mixed_inside = mix(inside, draw)
        sure = inside & (label.confidence >= threshold)
        number = torch.arange(len(weak), device=weak.device)[:, None, None].expand_as(inside)
        labelled = labelled_images(batch.labelled[0])
        known, num_inside, num_mixed = valid_counts(
            labelled.label != IGNORE_LABEL, inside, mixed_inside
        )
        return _Seen(
            labelled,
            weak,
            strengthen(weak, draw),
            label.soft,
            label.hard,
            sure,
            mix(label.hard, draw),
            mix(sure, draw),
            mixed_inside & (mix(number, draw) == number),
            (known, num_inside, num_mixed),
        )

    def _loss(
        self, seen: _Seen, piece: MicroBatch, learners: Learners, shares: list[Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the student on some of the images, and what to report; adds the share of their
        pixels that teach."""
        images = (seen.labelled.images, seen.weak, seen.strong)
        sizes = [len(each) for each in images]
        (output,) = learners.forward_students([torch.cat(images)], piece.students)
        student = learners.student(0)
        size = (seen.weak.shape[-2], seen.weak.shape[-1])
        logits = student.upsample(output.logits, size)
        affinity = self._affinity(output, size, learners)
        with torch.no_grad():
            of_weak = torch.split(affinity, sizes)[1]
            label, teaches = self._spread_labels(seen, of_weak, output, size, learners)
            shares.append(teaches.float().mean())
        spread_logits = self._spread(logits, affinity, output, size, learners)
        own = torch.split(log_softmax(logits), sizes)
        correlated = torch.split(log_softmax(spread_logits), sizes)
        settings = self.context.labelled_loss
        (known, num_inside, num_mixed) = seen.counts
        supervised = labelled_cross_entropy(own[0], seen.labelled.label, known, settings)
        also = labelled_cross_entropy(correlated[0], seen.labelled.label, known, settings)
        on_strong = torch.where(teaches, label, IGNORE_LABEL)
        on_weak = torch.where(seen.sure, seen.label, IGNORE_LABEL)
        dropped = self._dropped(output, sizes, size, learners)
        losses = {
            "strong": hard_cross_entropy(own[2], on_strong, num_mixed),
            "kl": divergence(seen.prob, own[2], seen.mixed_sure, num_mixed),
            "feature": hard_cross_entropy(dropped, on_weak, num_inside),
            "correlation": hard_cross_entropy(correlated[2], on_strong, num_mixed) / 2
            + hard_cross_entropy(correlated[1], on_weak, num_inside) / 2,
        }
        unsupervised = torch.stack(list(losses.values())).sum() / 4
        told = {f"loss_{name}_1": loss for name, loss in losses.items()}
        told |= {"loss_supervised_1": supervised, "loss_unsupervised_1": unsupervised}
        told["loss_labelled_correlation_1"] = also
        weighted = self.context.unsupervised_weight * unsupervised
        return ((supervised + also) / 2 + weighted) / 2, told

    def _affinity(
        self, output: SegmentationOutput, size: tuple[int, int], learners: Learners
    ) -> Tensor:
        """[B, h · w, h · w] of the last map that the network's head begins with."""
        with learners.autocast():
            affinity: Tensor = self._head.module(coarse(output.head_input[-1], size))
        return affinity

    def _spread(
        self,
        logits: Tensor,
        affinity: Tensor,
        output: SegmentationOutput,
        size: tuple[int, int],
        learners: Learners,
    ) -> Tensor:
        """p' at pixel resolution; only the affinities have a gradient."""
        student = learners.student(0)
        cells = coarse(output.head_input[-1], size).shape[-2:]
        small = functional.interpolate(
            logits.detach(), size=cells, mode="bilinear", align_corners=student.align_corners
        )
        return student.upsample(spread(small, affinity), size)

    def _spread_labels(
        self,
        seen: _Seen,
        affinity: Tensor,
        output: SegmentationOutput,
        size: tuple[int, int],
        learners: Learners,
    ) -> tuple[Tensor, Tensor]:
        """ŷ* and which of its pixels teach."""
        assert self._threshold is not None
        cells = coarse(output.head_input[-1], size).shape[-2:]
        rows = rows_of(affinity, self.config.num_segments)
        maps = learners.student(0).upsample(rows.view(*rows.shape[:2], *cells), size)
        regions = segments(maps) & seen.own.unsqueeze(1)
        label, covered = spread_labels(
            seen.mixed_label, seen.mixed_sure, regions, self._threshold, self.num_classes
        )
        return label, covered | seen.mixed_sure

    def _dropped(
        self,
        output: SegmentationOutput,
        sizes: list[int],
        size: tuple[int, int],
        learners: Learners,
    ) -> Tensor:
        """Log-probabilities on γ(x_u) with channels dropped from every map that the head begins
        with."""
        of_weak = [torch.split(maps, sizes)[1] for maps in output.head_input]
        maps = [functional.dropout2d(each, self.config.channel_dropout) for each in of_weak]
        perturbed = learners.decode(0, maps, size).logits
        return log_softmax(learners.student(0).upsample(perturbed, size))

    def tensors(self) -> dict[str, Tensor]:
        return {} if self._threshold is None else {"threshold": self._threshold}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._threshold = tensors["threshold"].clone()


def divergence(prob: Tensor, log_prob: Tensor, mask: Tensor, count: Tensor) -> Tensor:
    """Sum over pixels in the mask of KL(p, q) = Σ_k p_k (log p_k − log q_k), divided by a count of
    at least 1.

    Args:
        prob: [B, K, H, W], p. log_prob: the same of q. mask: bool [B, H, W].
    """
    per_pixel = (torch.special.xlogy(prob, prob) - prob * log_prob).sum(dim=1)
    return torch.where(mask, per_pixel, 0).sum() / count.clamp(min=1)
