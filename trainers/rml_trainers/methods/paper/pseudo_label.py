"""`pseudo_label`: a network taught by its own confident predictions (paper, Eq. 2, Fig. 1a;
FixMatch's form)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.methods.consistency import Consistency
from rml_trainers.settings.contract import Labeller, MethodConfig


@configuration
class PseudoLabelConfig(MethodConfig):
    """L_u = 1[max p > τ] · CE(ŷ, h_θ(Γ(x_u))), ŷ = argmax p, p = h_θ(γ(x_u))."""

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    name: Literal["pseudo_label"] = "pseudo_label"
    threshold: float = 0.95
    """τ; not stated in the paper, FixMatch's 0.95."""
    soft_labels: bool = False

    def __post_init__(self) -> None:
        require(0 <= self.threshold < 1, "threshold", self.threshold, "a number in [0, 1)")


class PseudoLabelMethod(Consistency):
    """The student labels the weak view itself, without gradient."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return (student,)
