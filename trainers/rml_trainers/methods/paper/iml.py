"""`iml`: indirect mutual learning, each student taught by both mean teachers (paper, Eq. 4 and
5)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers.configuration import configuration
from rml_trainers.data.loading.loaders import UnlabelledCrops
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.labels.selected_labels import ClassThresholds, agreement, check_selection
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.consistency import Consistency
from rml_trainers.methods.method import MethodContext
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners


@configuration
class ImlConfig(MethodConfig):
    """L_u = Σ_i Σ_j CE(ŷ_j, h_θi(Γ(x_u))), ŷ_j = argmax h_θ̃j(γ(x_u))."""

    num_students: ClassVar[int] = 2
    name: Literal["iml"] = "iml"
    own_teacher: bool = True
    """Also teach each student by its own mean teacher (Eq. 5); false leaves the peer's alone (Eq. 3
    with EMA)."""
    soft_labels: bool = False
    class_threshold: float | None = None
    """τ of a threshold of each class: a label of class k teaches where its probability is above
    τ · c_k / max c, c the network's usual confidence in each class (`ClassThresholds`). Not in the
    paper."""
    disagreement_weight: float = 1.0
    """Factor of the loss of a pixel to which the two teachers give different classes; 0 leaves it
    out. Not in the paper."""

    def __post_init__(self) -> None:
        check_selection(self.class_threshold, self.disagreement_weight)


class IndirectMutualLearning(Consistency):
    """Mean teachers label; `own_teacher` decides between Eq. 5 and Eq. 3 with EMA.

    Keeps, where `class_threshold` is set, each network's usual confidence in each class.
    """

    def __init__(self, config: MethodConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        self._thresholds: list[ClassThresholds] = []

    def begin_stage(self, context: StageContext) -> None:
        """Class thresholds start afresh."""
        if self.config.class_threshold is not None:
            learners = context.learners
            self._thresholds = [
                ClassThresholds(self.num_classes, learners.device)
                for _ in range(learners.num_students)
            ]

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        own = self.config.own_teacher
        return tuple(j for j in range(num_students) if own or j != student)

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """ŷ_j, selected and weighed where the settings ask for it."""
        scores = [output.logits for output in outputs]
        return self.selected(scores, unlabelled.inside, learners)

    def selected(
        self, scores: Sequence[Tensor], inside: Tensor, learners: Learners
    ) -> list[PseudoLabel]:
        """Labels from each network's scores [B, K, h, w], by thresholds of each class and weighed
        by agreement where the settings ask for it."""
        config = self.config
        labels = [
            make_pseudo_label(
                maps,
                inside,
                learners.student(i),
                soft=config.soft_labels,
                confidence=config.class_threshold is not None,
            )
            for i, maps in enumerate(scores)
        ]
        weight = None
        if config.disagreement_weight != 1:
            weight = agreement(labels, config.disagreement_weight)
        if config.class_threshold is not None:
            labels = [
                thresholds.select(label, config.class_threshold)
                for thresholds, label in zip(self._thresholds, labels, strict=True)
            ]
        return labels if weight is None else [x._replace(weight=weight) for x in labels]

    def tensors(self) -> dict[str, Tensor]:
        return {
            f"confidence/{i + 1}": thresholds.confidence
            for i, thresholds in enumerate(self._thresholds)
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        names = sorted(name for name in tensors if name.startswith("confidence/"))
        self._thresholds = []
        for name in names:
            kept = ClassThresholds(self.num_classes, torch.device("cpu"))
            kept.confidence = tensors[name].clone()
            self._thresholds.append(kept)
