"""`pseudo_label`: a network taught by its own confident predictions (paper, Eq. 2, Fig. 1a;
FixMatch's form)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.methods.consistency import Consistency
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.students.learners import Labeller, Learners

if TYPE_CHECKING:
    from rml_trainers.data.loading.loaders import UnlabelledCrops


@configuration
class PseudoLabelConfig:
    """L_u = 1[max p > τ] · CE(ŷ, h_θ(Γ(x_u))), ŷ = argmax p, p = h_θ(γ(x_u))."""

    num_students: ClassVar[int] = 1
    name: Literal["pseudo_label"] = "pseudo_label"
    threshold: float = 0.95
    """τ; not stated in the paper, FixMatch's 0.95."""
    soft_labels: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, "threshold", self.threshold, "a number in [0, 1)")


class PseudoLabelMethod(Consistency):
    """The student labels the weak view itself, without gradient."""

    labeller: ClassVar[Labeller] = "students"

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return (student,)

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: "UnlabelledCrops",
        learners: Learners,
    ) -> list[PseudoLabel]:
        method = self.config.method
        assert isinstance(method, PseudoLabelConfig)
        return [
            make_pseudo_label(
                output.logits,
                unlabelled.inside,
                learners.student(i),
                soft=method.soft_labels,
                threshold=method.threshold,
            )
            for i, output in enumerate(outputs)
        ]
