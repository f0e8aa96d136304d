"""`dmt`: two networks that learn from each other's stored labels, in phases (Feng et al., 2020).

Sources: "DMT: Dynamic Mutual Training for Semi-Supervised Learning"; for labels, phases and loss the authors' code.

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 (2 ASPP branches), `network` and
`peer_network` from different weights (COCO, ImageNet); SGD, momentum 0.9, weight decay 5e-4, the same rate for backbone
and head (`head_lr_factor: 1`), poly 0.9; VOC lr 0.001, batch 1 + 7, crops 321×321; Cityscapes lr 0.004, batch 2 + 6,
crops 256×512; scales 0.5 to 1.5; warm-up of 170 to 300 epochs; no model noise. They score the best student.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.curriculum import ConfidenceCounts, confident_class, stored_crops
from rml_trainers.distributed import share_of_total
from rml_trainers.learners import Labeller, Learners, to_unit_range
from rml_trainers.losses import log_softmax, mutual_weight, of_class
from rml_trainers.methods.consistency import Consistency
from rml_trainers.methods.method import StageContext, StepResult, labelled_part
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.pseudo_labels import PseudoLabel
from rml_trainers.stage_labels import StageLabels

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig
    from rml_trainers.data.loaders import Batch, InitialLabels, UnlabelledCrops


@configuration
class DmtConfig:
    """L_i = [ Σ_l CE(y_l, p_i) + weight · Σ_u w · CE(ŷ_j, p_i) ] / number of pixels with a label, both sums together.

    ŷ_j, c_j: class and confidence that the *other* network gave before the stage began, kept for the most confident
    share of each class (`fractions`). p_i is the student's present prediction on γ(x), without gradient in w:

        w = p_i(ŷ_j)^γ1   where argmax p_i = ŷ_j
            p_i(ŷ_j)^γ2   where they differ and max p_i ≤ c_j
            0             where they differ and max p_i > c_j

    Each stage is one phase and needs its share; students go on from phase to phase. There is no strong view: flip and
    scale are all the noise, and `noise.input` has no effect. Differs from the authors' code: both students see the same
    unlabelled crops, labels are stored at feature resolution, and a phase ends at its last step, not at its best one.
    """

    num_students: ClassVar[int] = 2
    num_strong_views: ClassVar[int] = 0
    initial_label: ClassVar[str] = "stage"
    name: Literal["dmt"] = "dmt"
    fractions: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Share of each class's pixels that keep their label, stage by stage (authors: five phases)."""
    gamma_agree: float = 3.0
    """γ1 (authors: 3 for Cityscapes, 5 for VOC)."""
    gamma_disagree: float = 3.0
    """γ2 (authors: the same as γ1)."""

    def __post_init__(self) -> None:
        in_range = bool(self.fractions) and all(0 < share <= 1 for share in self.fractions)
        require(in_range, "fractions", self.fractions, "at least one share in (0, 1]")
        require(self.gamma_agree >= 0, "gamma_agree", self.gamma_agree, "zero or more")
        require(self.gamma_disagree >= 0, "gamma_disagree", self.gamma_disagree, "zero or more")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """None: a batch of any size can be shared, because nothing is mixed."""
        return StrongView()


class DynamicMutualTraining(Consistency):
    """Keeps the class thresholds of both networks; their soft labels lie in scratch files as p⁰ does."""

    labeller: ClassVar[Labeller] = "students"

    def __init__(self, config: "RunConfig", num_classes: int) -> None:
        super().__init__(config, num_classes)
        assert isinstance(config.method, DmtConfig)
        self.method = config.method
        self._thresholds: list[Tensor] = []
        self._stage_labels = StageLabels(config, num_classes, self.labeller)

    def begin_stage(self, context: StageContext) -> None:
        """One pass over D_u with both students: their soft labels and the thresholds of this phase."""
        learners = context.learners
        self._stage_labels.begin(context)
        students = (learners.student(i) for i in range(learners.num_students))
        counts = [ConfidenceCounts(student, self.num_classes, learners.device) for student in students]
        for probs, inside in stored_crops(context, self._stage_labels.readers, self.config):
            for count, prob in zip(counts, probs, strict=True):
                count.gather(prob.to(learners.device), inside.to(learners.device))
        share = self.method.fractions[context.stage - 1]
        self._thresholds = [count.threshold(share) for count in counts]

    def resume_stage(self, context: StageContext) -> None:
        self._stage_labels.resume(context)

    def initial_labels(self) -> "tuple[InitialLabels, ...]":
        return self._stage_labels.readers

    def step(self, batch: "Batch", learners: Learners) -> StepResult:
        """One forward per student over labelled and unlabelled crops; nobody labels anything."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        with torch.no_grad():
            labels = self._stored_labels(batch.unlabelled, learners)
        parts = [labelled_part(crops) for crops in batch.labelled]
        outputs = learners.forward_students([torch.cat([part.images, weak]) for part in parts])
        size = (weak.shape[-2], weak.shape[-1])
        losses: list[Tensor] = []
        scalars: dict[str, Tensor] = {}
        for i, (output, part) in enumerate(zip(outputs, parts, strict=True)):
            log_prob = log_softmax(learners.student(i).upsample(output.logits, size))
            label, confidence = labels[1 - i]
            loss, told = self._loss(log_prob, part.label, label, confidence)
            losses.append(loss)
            scalars |= {f"{name}_{i + 1}": value.detach() for name, value in told.items()}
        total = torch.stack(losses).sum()
        # Of the students as they learn, dropout included: what labels them is as old as the stage.
        on_weak = [SegmentationOutput(o.logits.detach()[-len(weak) :], o.feature, None) for o in outputs]
        scalars |= self._coupling(on_weak) | {
            "loss": total.detach(),
            "pseudo_label_kept": torch.stack([(label != IGNORE_LABEL).float().mean() for label, _ in labels]).mean(),
        }
        confusions = self._monitor([PseudoLabel(label, None) for label, _ in labels], batch.unlabelled)
        return StepResult(loss=total, scalars=scalars, confusions=confusions)

    def _stored_labels(self, unlabelled: "UnlabelledCrops", learners: Learners) -> list[tuple[Tensor, Tensor]]:
        """ŷ with 255 where it is not kept, and c, both [B, H, W], of each network."""
        size = (unlabelled.inside.shape[-2], unlabelled.inside.shape[-1])
        labels = []
        for i, (prob, threshold) in enumerate(zip(unlabelled.initial, self._thresholds, strict=True)):
            label, confidence, bins = confident_class(prob, learners.student(i), size)
            keep = unlabelled.inside & (bins >= threshold[label])
            labels.append((torch.where(keep, label, IGNORE_LABEL), confidence))
        return labels

    def _loss(
        self, log_prob: Tensor, truth: Tensor, label: Tensor, confidence: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """L_i of one student from log-probabilities of labelled crops, then unlabelled ones."""
        gammas = (self.method.gamma_agree, self.method.gamma_disagree)
        log_prob_l, log_prob_u = torch.split(log_prob, [truth.shape[0], label.shape[0]])
        weight = mutual_weight(log_prob_u, label, confidence, gammas)
        known, kept = truth != IGNORE_LABEL, label != IGNORE_LABEL
        supervised = -torch.where(known, of_class(log_prob_l, truth), 0).sum()
        taught = -torch.where(kept, weight * of_class(log_prob_u, label), 0).sum()
        num_known, num_kept = (share_of_total(mask.sum().to(log_prob.dtype)) for mask in (known, kept))
        loss = (supervised + self.config.unsupervised_weight * taught) / (num_known + num_kept).clamp(min=1)
        told = {
            "loss_supervised": supervised / num_known.clamp(min=1),
            "loss_unsupervised": taught / num_kept.clamp(min=1),
            "dynamic_weight": torch.where(kept, weight, 0).sum() / num_kept.clamp(min=1),
        }
        return loss, told

    def tensors(self) -> dict[str, Tensor]:
        kept = {f"threshold/{i + 1}": threshold for i, threshold in enumerate(self._thresholds)}
        return self._stage_labels.tensors() | kept

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._stage_labels.load_tensors(tensors)
        names = sorted(name for name in tensors if name.startswith("threshold/"))
        self._thresholds = [tensors[name].clone() for name in names]
