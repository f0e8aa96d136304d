"""`u2pl`: a mean teacher's certain labels, and a contrastive loss in which its uncertain pixels say
what a class is not (Wang et al., CVPR 2022).

Sources: "Semi-Supervised Semantic Segmentation Using Unreliable Pseudo-Labels" and the authors'
code (Haochen-Wang409/U2PL: `train_semi.py`, `u2pl/utils/loss_helper.py`, `u2pl/models/decoder.py`,
`u2pl/dataset/augmentation.py`, `experiments/*/ours/config.yaml`), which decides every value here.

Their settings of the run, to be written in a study: Deeplabv3+ on ResNet-101 (theirs at output
stride 8 with rates 12, 24, 36); SGD, momentum 0.9, poly 0.9; `teacher: {ema_decay: 0.99,
ema_warm_up: true}`; flips and scales of 0.5 to 2, no model noise. VOC: lr 0.001 (head ×10), weight
decay 1e-4, 16 + 16 crops of 513×513, 80 epochs, the first of labels alone. Cityscapes: lr 0.01
(head ×1), weight decay 5e-4, 16 + 16 crops of 769×769, 200 epochs, no warm-up, `labelled_loss:
{hard_examples: 0.7, hard_fraction: 0.085}` (100,000 pixels of a GPU's two crops), and an auxiliary
loss (0.4), which we do not have. They score the mean teacher, at its best on val.
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
from rml_trainers.labels.pseudo_labels import make_pseudo_label
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.comparators.augseg import entropy
from rml_trainers.methods.comparators.contrastive.contrast import (
    RepresentationHead,
    cells,
    check_ranks,
    class_centres,
    contrastive_losses,
    draw_cells,
    nearest_cells,
    negative_classes,
    percentiles,
)
from rml_trainers.methods.comparators.contrastive.memory_bank import MemoryBank
from rml_trainers.methods.method import (
    MethodContext,
    Stateless,
    StepResult,
    Supervision,
    labelled_images,
)
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.input_noise import InputNoiseDraw, mix, photometric
from rml_trainers.noise.mixing import Mixing
from rml_trainers.noise.mixing_masks import ClassMix
from rml_trainers.noise.sometimes import HalfBox, Sometimes, SometimesDraw
from rml_trainers.noise.strong_view import Photometry, StrongView, colour_noise
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import (
    hard_cross_entropy,
    labelled_cross_entropy,
    log_softmax,
    of_class,
    valid_counts,
)
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.named_tensors import under
from rml_trainers.students.own_networks import OwnNetwork, as_a_head

MIXINGS: dict[str, Mixing] = {"cutmix": HalfBox(), "cutout": HalfBox(), "classmix": ClassMix()}
"""What is drawn for each; the box of `cutout` is hidden instead of taken from a partner."""


@configuration
class U2plConfig(MethodConfig):
    """L = L_s + weight · [ (N/N') · CE(ŷ', h_θ(Mix(x_u))) + λ_c · L_c ].

    ŷ = argmax h_θ̃(x_u), mixed. H is the entropy of the mean teacher on Mix(x_u), as it is when a
    student learns (dropout, batch statistics). ŷ' is ŷ where H lies below its d-th percentile,
    d = 100 − (100 − `drop_percent`) · (1 − t); N are the pixels, N' those with ŷ', t is the part of
    the stage that is done.

    L_c: mean over the classes in reliable cells of −log(e^(s⁺/T) / (e^(s⁺/T) + Σ e^(s⁻/T))), 0 for
    fewer than two classes; s are cosines of a head's vectors. Reliable is a cell with a label, and
    one of x_u with H up to percentile `reliable_percent` · (1 − t). Anchors: `num_queries` reliable
    cells of the class, the student's, where the mean teacher gives it more than `anchor_threshold`.
    s⁺: with the mean of the mean teacher's reliable cells of the class. s⁻: with `num_negatives`
    each of the class's memory bank, which every step gets the mean teacher's cells of x_u with H
    from percentile 100 − `reliable_percent` · (1 − t) on, for which the class has a rank from
    `low_rank` to `high_rank` − 1 among the probabilities, from 0.

    Differs from the authors' code: anchors, mean and negatives are of one class (there, anchors and
    mean of the n-th class of all go with negatives of the n-th that is present, which its users
    have reported as a mistake); the head reads the map that the network's last classifier reads
    (theirs, two convolutions before); t moves with every step, not every epoch; percentiles and
    means are over all workers; padding of unlabelled crops is left out; partners are pairs, and one
    coin decides for all workers; the teacher follows in the warm-up (theirs is a copy at its end)
    and takes BatchNorm's statistics from the student (theirs keeps its own).
    Of a step in micro-batches, and of several workers, L_c is the mean of theirs.
    """

    num_students: ClassVar[int] = 1
    name: Literal["u2pl"] = "u2pl"
    drop_percent: float = 80.0
    """Where d begins (authors: 80)."""
    mixing: Literal["cutmix", "cutout", "classmix"] = "cutmix"
    """What Mix does (authors: one of the three, in their configurations `cutmix`)."""
    mixing_probability: float = 0.5
    """That the crops of a step are mixed at all (authors: 0.5)."""
    photometric: Photometry = "none"
    """Colour noise before the mixing (authors: none)."""
    contrast_weight: float = 1.0
    """λ_c (authors: 1); 0 leaves head and memory bank out."""
    reliable_percent: float = 20.0
    """Percentile of reliable and of unreliable cells at first (authors: 20)."""
    anchor_threshold: float = 0.3
    """Least probability of an anchor's class (authors: 0.3)."""
    low_rank: int = 3
    """Ranks before it are too likely (authors: 3)."""
    high_rank: int = 20
    """Ranks from it on are too unlikely (authors: 20, for 19 and for 21 classes)."""
    negatives: Literal["code", "paper"] = "code"
    """Which cells are a class's negatives: only those whose ŷ is the class, and so none of labelled
    images (authors' code; its users have asked why, without an answer), or all, and labelled ones
    of another class with a rank before `low_rank` (paper)."""
    temperature: float = 0.5
    """T (authors: 0.5)."""
    num_queries: int = 256
    """Anchors of a class (authors: 256)."""
    num_negatives: int = 50
    """Negatives of an anchor (authors: 50)."""
    representation_width: int = 256
    """Channels of the head (authors: 256)."""
    queue_size: int = 30_000
    """Keys of a class in the memory bank (authors: 30,000)."""
    first_queue_size: int = 50_000
    """Those of class 0, VOC's background (authors: 50,000)."""

    def __post_init__(self) -> None:
        for name in ("drop_percent", "reliable_percent"):
            value = getattr(self, name)
            require(0 <= value <= 100, name, value, "a number in [0, 100]")
        for name in ("mixing_probability", "anchor_threshold"):
            value = getattr(self, name)
            require(0 <= value <= 1, name, value, "a number in [0, 1]")
        require(self.contrast_weight >= 0, "contrast_weight", self.contrast_weight, "zero or more")
        require(self.temperature > 0, "temperature", self.temperature, "a positive number")
        in_order = 0 <= self.low_rank < self.high_rank
        require(in_order, "low_rank", self.low_rank, "zero or more and below high_rank")
        for name in ("num_queries", "num_negatives", "representation_width", "queue_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        first = self.first_queue_size
        require(first >= 1, "first_queue_size", first, "at least 1")

    @property
    def padding_counted_once(self) -> bool:
        return self.mixing == "cutout"

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        mixing = Sometimes(mixing=MIXINGS[self.mixing], probability=self.mixing_probability)
        return StrongView(photometric=colour_noise(self.photometric, noise), mixing=mixing)


@dataclass(frozen=True)
class _Seen:
    """What the student of one step sees, and what it learns from."""

    labelled: Supervision
    images: Tensor
    """Mix(x_u), [B, 3, H, W] in [0, 1]."""
    label: Tensor
    """ŷ', [B, H, W] int64 with 255."""
    num_known: Tensor
    num_inside: Tensor
    num_kept: Tensor
    anchors: tuple[Tensor, Tensor] | None = None
    """Class [B, h, w] for which a cell of a labelled, or of an unlabelled, image may be an anchor,
    255 where for none. None without L_c."""
    centres: Tensor | None = None
    """[K, D] of the classes; None without L_c."""
    present: Tensor | None = None
    """bool [K]: classes that have a centre."""


class U2pl(Stateless):
    """Keeps a head with its mean teacher, a memory bank and the number of steps of the stage."""

    config: U2plConfig
    _head: OwnNetwork | None = None
    _bank: MemoryBank | None = None
    _num_steps: Tensor | None = None
    _stage_steps: int = 0

    def __init__(self, config: U2plConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        if config.contrast_weight > 0:
            if config.negatives == "code":
                check_ranks(config.low_rank, context.num_classes)
            seed_model_noise(context.seed, "initialise", "representation")
            self._head = OwnNetwork(
                RepresentationHead(context.feature_widths[0], config.representation_width),
                as_a_head(context.optimiser),
                context.optimiser.poly_power,
                teacher=context.teacher,
            )

    def own_networks(self) -> dict[str, OwnNetwork]:
        return {} if self._head is None else {"representation": self._head}

    def begin_stage(self, context: StageContext) -> None:
        """The memory bank is empty, and d and the percentiles are where they begin."""
        self._stage_steps = context.num_steps
        self._num_steps = torch.zeros((), dtype=torch.float64, device=context.learners.device)
        if self._head is not None:
            self._bank = self._empty_bank(context.learners.device)

    def resume_stage(self, context: StageContext) -> None:
        self._stage_steps = context.num_steps

    def _empty_bank(self, device: torch.device) -> MemoryBank:
        config = self.config
        sizes = [config.first_queue_size] + [config.queue_size] * (self.num_classes - 1)
        return MemoryBank(sizes, config.representation_width, device)

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """One forward of the student on all images; two of its mean teacher, which labels in the
        first and judges the mixed images in the second."""
        assert batch.unlabelled is not None and self._num_steps is not None, "the stage has begun"
        weak = to_unit_range(batch.unlabelled.image)
        with torch.no_grad():
            (output,) = learners.label("teachers", weak)
            label = make_pseudo_label(output.logits, batch.unlabelled.inside, learners.student(0))
            seen = self._judged(batch, weak, label.hard, learners)
        self._num_steps = self._num_steps + 1

        def loss_of(piece: MicroBatch) -> tuple[Tensor, Mapping[str, Tensor]]:
            return self._loss(seen, piece, learners)

        learnt = learners.learn(loss_of)
        scalars = {**learnt.scalars, "loss": learnt.loss.detach()}
        scalars["pseudo_label_kept"] = (seen.label != IGNORE_LABEL).float().mean()
        if self._bank is not None:
            scalars["memory_bank"] = self._bank.num_kept.float().mean()
        confusions = {}
        if self.context.monitor_pseudo_labels:
            truth = batch.unlabelled.truth
            confusions["pseudo_label_1"] = confusion_matrix(label.hard, truth, self.num_classes)
        return StepResult(
            loss=learnt.loss,
            scalars=scalars,
            confusions=confusions,
            taught=tuple(self.own_networks()),
        )

    def _judged(self, batch: Batch, weak: Tensor, hard: Tensor, learners: Learners) -> _Seen:
        """What the student sees, and what its mean teacher makes of that."""
        assert batch.unlabelled is not None
        own = labelled_images(batch.labelled[0])
        draw = batch.noise[0].given(hard)
        images, label = self._mixed(weak, hard, draw, learners)
        inside = batch.unlabelled.inside
        if self.config.mixing != "cutout":  # which takes nothing from a partner
            inside = mix(inside, draw)
        output = learners.replay(0, torch.cat([own.images, images]), "teachers")
        size = (label.shape[-2], label.shape[-1])
        logits = output.logits.float()
        prob = learners.student(0).upsample(logits[len(own.images) :], size).softmax(dim=1)
        uncertain = entropy(prob)
        valid = label != IGNORE_LABEL
        limits = percentiles(uncertain, valid, self._percents())
        kept = torch.where(valid & (uncertain < limits[0]), label, IGNORE_LABEL)
        known, all_inside, num_kept = valid_counts(
            own.label != IGNORE_LABEL, inside, kept != IGNORE_LABEL
        )
        seen = _Seen(own, images, kept, known, all_inside, num_kept)
        if self._head is None or self._bank is None or self._head.teacher is None:
            return seen
        with learners.autocast():
            rep = self._head.teacher(output.feature)
        reliable = torch.where(valid & (uncertain <= limits[1]), label, IGNORE_LABEL)
        unreliable = torch.where(valid & (uncertain >= limits[2]), label, IGNORE_LABEL)
        return self._compared(seen, rep, logits.softmax(dim=1), reliable, unreliable)

    def _percents(self) -> Tensor:
        """Per cent of the pixels below the three limits of H: of what teaches, of what is reliable,
        and of what is not unreliable."""
        assert self._num_steps is not None
        left = 1 - self._num_steps / self._stage_steps
        dropped = (100 - self.config.drop_percent) * left
        alpha = self.config.reliable_percent * left
        return torch.stack([100 - dropped, alpha, 100 - alpha])

    def _mixed(
        self, weak: Tensor, hard: Tensor, draw: InputNoiseDraw, learners: Learners
    ) -> tuple[Tensor, Tensor]:
        """Mix(x_u) and Mix(ŷ); what is cut out has the colour that the network reads as 0."""
        images = photometric(weak, draw)
        if self.config.mixing == "cutout" and isinstance(draw.mixing, SometimesDraw):
            hidden = draw.mixing.covered((hard.shape[-2], hard.shape[-1]))
            colour = learners.student(0).zero_colour
            images = torch.where(hidden.unsqueeze(1), colour, images)
            return images, torch.where(hidden, IGNORE_LABEL, hard)
        return mix(images, draw), mix(hard, draw)

    def _compared(
        self, seen: _Seen, rep: Tensor, prob: Tensor, reliable: Tensor, unreliable: Tensor
    ) -> _Seen:
        """With all that L_c compares; puts this step's negatives into the memory bank.

        Args:
            rep: [B_l + B_u, P, h, w], the head's mean teacher on labelled, then mixed images.
            prob: [B_l + B_u, K, h, w], the mean teacher's.
            reliable, unreliable: ŷ of the mixed images where H is low, where it is high.
        """
        assert self._bank is not None
        size = (prob.shape[-2], prob.shape[-1])
        num_labelled = len(seen.labelled.label)
        known = nearest_cells(seen.labelled.label, size)
        low = torch.cat([known, nearest_cells(reliable, size)])
        high = nearest_cells(unreliable, size)
        centres, present = class_centres(cells(rep), low.flatten(), self.num_classes)
        config = self.config
        negative = negative_classes(
            cells(prob),
            known.flatten(),
            high.flatten(),
            unlikely=(config.low_rank, config.high_rank),
            of_own_class=config.negatives == "code",
        )
        most = 1 if config.negatives == "code" else self.num_classes
        self._bank.add(functional.normalize(cells(rep), dim=1), negative, most)
        sure = (low != IGNORE_LABEL) & (of_class(prob, low) > config.anchor_threshold)
        anchors = torch.where(sure, low, IGNORE_LABEL)
        parts = (anchors[:num_labelled], anchors[num_labelled:])
        return replace(seen, anchors=parts, centres=centres, present=present)

    def _loss(
        self, seen: _Seen, piece: MicroBatch, learners: Learners
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of the student on some of the images, and what to report."""
        images = [piece.of(seen.labelled.images), piece.of(seen.images)]
        (output,) = learners.forward_students([torch.cat(images)], piece.students)
        student = learners.student(0)
        label = piece.of(seen.labelled.label)
        size = (label.shape[-2], label.shape[-1])
        parts = torch.split(output.logits, [len(each) for each in images])
        on_labelled, on_mixed = (log_softmax(student.upsample(maps, size)) for maps in parts)
        settings = self.context.labelled_loss
        supervised = labelled_cross_entropy(on_labelled, label, seen.num_known, settings)
        teaching = hard_cross_entropy(on_mixed, piece.of(seen.label), seen.num_kept)
        unsupervised = seen.num_inside / seen.num_kept.clamp(min=1) * teaching
        told = {"loss_supervised_1": supervised}
        if seen.anchors is not None:
            contrast = self._contrast(seen, piece, output.feature, learners) / piece.num_pieces
            told["loss_contrast_1"] = contrast
            unsupervised = unsupervised + self.config.contrast_weight * contrast
        told["loss_unsupervised_1"] = unsupervised
        return supervised + self.context.unsupervised_weight * unsupervised, told

    def _contrast(
        self, seen: _Seen, piece: MicroBatch, feature: Tensor, learners: Learners
    ) -> Tensor:
        """L_c with the anchors of some of the images."""
        assert self._head is not None and self._bank is not None
        assert seen.anchors is not None and seen.centres is not None and seen.present is not None
        with learners.autocast():
            rep = cells(self._head.module(feature))
        of_piece = torch.cat([piece.of(each) for each in seen.anchors]).flatten()
        num_queries = self.config.num_queries
        (numbers, found) = draw_cells(of_piece, self.num_classes, num_queries)
        anchors = rep.index_select(0, numbers.flatten()).view(*numbers.shape, -1)
        negatives = self._bank.draw(num_queries * self.config.num_negatives)
        negatives = negatives.view(*numbers.shape, self.config.num_negatives, -1)
        losses = contrastive_losses(anchors, seen.centres, negatives, self.config.temperature)
        usable = found & (self._bank.num_kept > 0)
        num_present = seen.present.sum()
        mean = torch.where(usable, losses, 0).sum() / num_present.clamp(min=1)
        return torch.where(num_present > 1, mean, 0)

    def tensors(self) -> dict[str, Tensor]:
        if self._num_steps is None:
            return {}
        kept = {"num_steps": self._num_steps}
        if self._bank is not None:
            kept |= {f"bank/{name}": tensor for name, tensor in self._bank.tensors().items()}
        return kept

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._num_steps = tensors["num_steps"].clone()
        if of_bank := under(tensors, "bank/"):
            self._bank = self._empty_bank(of_bank["keys"].device)
            self._bank.load_tensors(of_bank)
