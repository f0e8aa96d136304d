"""`rml`: `iml` with every pseudo label rectified by its own network's prototypes (paper, Eq. 6 to
11, Fig. 1d)."""

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from torch import Tensor

from rml_trainers.configuration import configuration, require
from rml_trainers.data.loading.loaders import InitialLabels, UnlabelledCrops
from rml_trainers.labels.cells import at_cells
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.labels.rectification import Rectifier
from rml_trainers.labels.selected_labels import check_selection
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.labels.stage_labels import StageLabels
from rml_trainers.methods.method import MethodContext
from rml_trainers.methods.paper.iml import IndirectMutualLearning
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners


@configuration
class RmlConfig(MethodConfig):
    """ŷ = argmax_k ω_k p⁰_k with ω = softmax_k(log π_k − ‖z − η_k‖ / T)."""

    num_students: ClassVar[int] = 2
    labels_whole_images: ClassVar[bool] = True
    name: Literal["rml"] = "rml"
    own_teacher: bool = True
    """Also teach each student by its own mean teacher (Eq. 5)."""
    soft_labels: bool = False
    initial_label: Literal["stage", "online"] = "stage"
    """p⁰: fixed at the start of the stage and stored, or the teacher's present prediction."""
    initial_label_bits: Literal[8, 16] = 16
    """Size of a stored probability: half precision, or 8 bits."""
    feature: Literal["backbone", "projected"] = "backbone"
    """z: what the last linear classifier of Deeplabv2 sees, or the output of the network's
    projection head."""
    temperature: float = 1.0
    """T (paper: 1). Distances grow with the feature width, so small T can saturate ω: watch
    `omega_entropy`."""
    distance: Literal["euclidean", "relative"] = "euclidean"
    """`relative` divides the distances by each image's mean distance, so that T has the same
    meaning for all networks; ours, not in the paper."""
    prototype_momentum: float = 0.9999
    """λ of Eq. 11 (paper: 0.9999)."""
    min_cells: int = 10
    """A class with fewer cells than this in an image does not move its prototype (ProDA's code:
    10)."""
    mixture: Literal["uniform", "estimated", "labelled"] = "uniform"
    """π_k of Eq. 9: uniform (version 1 of the paper), the moving average of the assignment
    frequencies, or each class's share of the labelled images' pixels (ours)."""
    prototypes_from: Literal["predictions", "truth"] = "predictions"
    """Classes of the cells that make the first prototypes: as predicted (Eq. 10), or on labelled
    images as they truly are, and on the others as predicted (ours). Steps move prototypes by
    predictions on unlabelled crops either way."""
    class_threshold: float | None = None
    """As in `iml`; c is the confidence in the rectified labels."""
    disagreement_weight: float = 1.0
    """As in `iml`, of the rectified labels."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, "temperature", self.temperature, "a positive number")
        require(
            0 <= self.prototype_momentum <= 1,
            "prototype_momentum",
            self.prototype_momentum,
            "a number in [0, 1]",
        )
        require(self.min_cells >= 1, "min_cells", self.min_cells, "at least 1")
        check_selection(self.class_threshold, self.disagreement_weight)

    @property
    def padding_counted_once(self) -> bool:
        return True


class RobustMutualLearning(IndirectMutualLearning):
    """Keeps, per network, prototypes η and the weights that made p⁰; p⁰ itself lies in a scratch
    file."""

    config: RmlConfig

    def __init__(self, config: RmlConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        self.rectifiers: list[Rectifier] = []
        self._stage_labels = StageLabels(config, with_labelled=True)
        self._inside: list[Tensor | None] = []
        """Which cells of each network's maps are not padding, in this step."""

    def begin_stage(self, context: StageContext) -> None:
        """One pass over D_l ∪ D_u with the stage's starting teachers: prototypes (Eq. 10), mixture
        and p⁰."""
        super().begin_stage(context)
        device = context.learners.device
        networks = range(context.learners.num_students)
        self.rectifiers = [Rectifier(self.config, self.num_classes, device) for _ in networks]
        self._stage_labels.begin(context, self.rectifiers)

    def resume_stage(self, context: StageContext) -> None:
        """Prototypes came with the checkpoint; p⁰ is made again from the saved weights if its file
        is gone."""
        self._stage_labels.resume(context)

    def initial_labels(self) -> tuple[InitialLabels, ...]:
        return self._stage_labels.readers

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """ŷ = argmax_k ω_k p⁰_k at feature resolution, then upsampled (Eq. 6)."""
        rectified = []
        self._report: dict[str, Tensor] = {}
        self._unrectified: list[Tensor] = []
        self._inside = []
        for i, (output, rectifier) in enumerate(zip(outputs, self.rectifiers, strict=True)):
            log_initial = output.logits.float().log_softmax(dim=1)
            if unlabelled.initial:
                log_initial = unlabelled.initial[i].clamp(min=1e-4).log()
            inside = self._inside_cells(output, i, unlabelled, learners)
            self._inside.append(inside)
            scores, scalars = rectifier.rectify(output, log_initial, inside)
            self._report |= {f"{name}_{i + 1}": value for name, value in scalars.items()}
            rectified.append(scores)
            if self.context.monitor_pseudo_labels:
                self._unrectified.append(
                    make_pseudo_label(log_initial, unlabelled.inside, learners.student(i)).hard
                )
        return self.selected(rectified, unlabelled.inside, learners)

    def _monitor(
        self, targets: Sequence[PseudoLabel], unlabelled: UnlabelledCrops
    ) -> dict[str, Tensor]:
        """Labels as they are taught, and as they were before rectification: the classes of p⁰."""
        before = {
            f"pseudo_label_{i + 1}_unrectified": confusion_matrix(
                label, unlabelled.truth, self.num_classes
            )
            for i, label in enumerate(self._unrectified)
        }
        return super()._monitor(targets, unlabelled) | before

    def after_loss(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        """Move the prototypes by this batch's features (Eq. 11)."""
        for output, rectifier, inside in zip(outputs, self.rectifiers, self._inside, strict=True):
            rectifier.update(output, inside)
        return self._report

    def _inside_cells(
        self,
        output: SegmentationOutput,
        network: int,
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> Tensor | None:
        """Which cells of a network's maps are not padding, [B, h, w] bool; None where no crop
        overhangs its image."""
        if not self.context.crops_overhang:
            return None
        cells = (output.logits.shape[-2], output.logits.shape[-1])
        align_corners = learners.student(network).align_corners
        return at_cells(unlabelled.inside, cells, align_corners=align_corners)

    def tensors(self) -> dict[str, Tensor]:
        kept = super().tensors() | self._stage_labels.tensors()
        for i, rectifier in enumerate(self.rectifiers):
            kept |= {
                f"rectifier/{i + 1}.{name}": tensor for name, tensor in rectifier.tensors().items()
            }
        return kept

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        super().load_tensors(tensors)
        self._stage_labels.load_tensors(tensors)
        numbers = {
            name.split("/")[1].split(".")[0] for name in tensors if name.startswith("rectifier/")
        }
        device = next(iter(tensors.values())).device if tensors else torch.device("cpu")
        self.rectifiers = [Rectifier(self.config, self.num_classes, device) for _ in numbers]
        for i, rectifier in enumerate(self.rectifiers):
            prefix = f"rectifier/{i + 1}."
            rectifier.load_tensors(
                {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            )
