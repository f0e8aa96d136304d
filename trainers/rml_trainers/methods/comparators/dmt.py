"""`dmt`: two networks that learn from each other's stored labels, in phases (Feng et al., 2020).

Sources: "DMT: Dynamic Mutual Training for Semi-Supervised Learning"; for labels, phases and loss
the authors' code.

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 (2 ASPP branches),
`network` and `peer_network` from different weights (COCO, ImageNet); SGD, momentum 0.9, weight
decay 5e-4, the same rate for backbone and head (`head_lr_factor: 1`), poly 0.9; VOC lr 0.001, batch
1 + 7, crops 321×321; Cityscapes lr 0.004, batch 2 + 6, crops 256×512; scales 0.5 to 1.5; warm-up of
170 to 300 epochs; no model noise. They score the best student.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import InitialLabels, UnlabelledCrops
from rml_trainers.labels.class_balanced_selection import (
    ConfidenceCounts,
    confident_class,
    stored_crops,
)
from rml_trainers.labels.pseudo_labels import PseudoLabel
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.labels.stage_labels import StageLabels
from rml_trainers.methods.consistency import Consistency
from rml_trainers.methods.method import MethodContext
from rml_trainers.methods.student_losses import Loss
from rml_trainers.methods.student_targets import StudentTargets, View
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.learners import Learners
from rml_trainers.students.losses import mutual_weight, of_class


@configuration
class DmtConfig(MethodConfig):
    """L_i = [ Σ_l CE(y_l, p_i) + weight · Σ_u w · CE(ŷ_j, p_i) ] / number of pixels with a label,
    both sums together.

    ŷ_j, c_j: class and confidence that the *other* network gave before the stage began, kept for
    the most confident fraction of each class (`fractions`). p_i is the student's present prediction
    on γ(x), without gradient in w:

        w = p_i(ŷ_j)^γ1   where argmax p_i = ŷ_j
            p_i(ŷ_j)^γ2   where they differ and max p_i ≤ c_j
            0             where they differ and max p_i > c_j

    Each stage is one phase and needs its fraction; students go on from phase to phase. There is no
    strong view: flip and scale are all the noise, and `noise.input` has no effect. Differs from the
    authors' code: both students see the same unlabelled crops, labels are stored at feature
    resolution, and a phase ends at its last step, not at its best one.
    """

    num_students: ClassVar[int] = 2
    labeller: ClassVar[Labeller] = "students"
    labels_whole_images: ClassVar[bool] = True
    num_strong_views: ClassVar[int] = 0
    own_labelled_loss: ClassVar[bool] = True
    initial_label: ClassVar[Literal["stage", "online"]] = "stage"
    name: Literal["dmt"] = "dmt"
    fractions: tuple[float, ...] = (0.2, 0.4, 0.6, 0.8, 1.0)
    """Fraction of each class's pixels that keep their label, stage by stage (authors: five
    phases)."""
    gamma_agree: float = 3.0
    """γ1 (authors: 3 for Cityscapes, 5 for VOC)."""
    gamma_disagree: float = 3.0
    """γ2 (authors: the same as γ1)."""

    def __post_init__(self) -> None:
        in_range = bool(self.fractions) and all(0 < fraction <= 1 for fraction in self.fractions)
        require(in_range, "fractions", self.fractions, "at least one share in (0, 1]")
        require(self.gamma_agree >= 0, "gamma_agree", self.gamma_agree, "zero or more")
        require(self.gamma_disagree >= 0, "gamma_disagree", self.gamma_disagree, "zero or more")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """None: a batch of any size can be shared, because nothing is mixed."""
        return StrongView()


class DynamicMutualTraining(Consistency):
    """Keeps the class thresholds of both networks; their soft labels lie in scratch files as p⁰
    does."""

    config: DmtConfig

    def __init__(self, config: DmtConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        self._thresholds: list[Tensor] = []
        self._stage_labels = StageLabels(config)

    def begin_stage(self, context: StageContext) -> None:
        """One pass over D_u with both students: their soft labels and the thresholds of this
        phase."""
        learners = context.learners
        self._stage_labels.begin(context)
        students = (learners.student(i) for i in range(learners.num_students))
        counts = [
            ConfidenceCounts(student, self.num_classes, learners.device) for student in students
        ]
        for probs, inside in stored_crops(context, self._stage_labels.readers):
            for count, prob in zip(counts, probs, strict=True):
                count.gather(prob.to(learners.device), inside.to(learners.device))
        fraction = self.config.fractions[context.stage - 1]
        self._thresholds = [count.threshold(fraction) for count in counts]

    def resume_stage(self, context: StageContext) -> None:
        self._stage_labels.resume(context)

    def initial_labels(self) -> tuple[InitialLabels, ...]:
        return self._stage_labels.readers

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return tuple(j for j in range(num_students) if j != student)

    def label(self, weak: Tensor, learners: Learners) -> tuple[SegmentationOutput, ...]:
        """Nobody labels anything in a step."""
        return ()

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """ŷ with 255 where it is not kept, and c, of each network, from what is stored."""
        size = (unlabelled.inside.shape[-2], unlabelled.inside.shape[-1])
        labels = []
        for i, (prob, threshold) in enumerate(
            zip(unlabelled.initial, self._thresholds, strict=True)
        ):
            label, confidence, bins = confident_class(prob, learners.student(i), size)
            keep = unlabelled.inside & (bins >= threshold[label])
            labels.append(PseudoLabel(torch.where(keep, label, IGNORE_LABEL), None, confidence))
        return labels

    def on_labelled(self, log_prob: Tensor, label: Tensor, targets: StudentTargets) -> Loss:
        """What it adds to L_i; reported is the mean over labelled pixels."""
        num_known, _, num_both = _counts(targets)
        loss = -torch.where(label != IGNORE_LABEL, of_class(log_prob, label), 0).sum()
        return Loss(loss / num_both, loss / num_known)

    def on_view(self, log_prob: Tensor, view: View, targets: StudentTargets) -> Loss:
        """What it adds to L_i; reported are the mean over kept pixels, and their mean weight w."""
        (target,) = view.targets
        _, num_kept, num_both = _counts(targets)
        assert target.confidence is not None
        gammas = (self.config.gamma_agree, self.config.gamma_disagree)
        weight = mutual_weight(log_prob, target.hard, target.confidence, gammas)
        loss = -torch.where(target.valid, weight * of_class(log_prob, target.hard), 0).sum()
        mean_weight = torch.where(target.valid, weight, 0).sum() / num_kept
        return Loss(
            self.scale() * loss / num_both, loss / num_kept, {"dynamic_weight": mean_weight}
        )

    def tensors(self) -> dict[str, Tensor]:
        kept = {f"threshold/{i + 1}": threshold for i, threshold in enumerate(self._thresholds)}
        return self._stage_labels.tensors() | kept

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._stage_labels.load_tensors(tensors)
        names = sorted(name for name in tensors if name.startswith("threshold/"))
        self._thresholds = [tensors[name].clone() for name in names]


def _counts(targets: StudentTargets) -> tuple[Tensor, Tensor, Tensor]:
    """Pixels with a true label, pixels with a kept one, and both together, each at least 1."""
    known = targets.num_valid
    kept = targets.views[0].targets[0].num_valid
    assert kept is not None, "counted before any forward"
    return known.clamp(min=1), kept.clamp(min=1), (known + kept).clamp(min=1)
