"""`pseudo_label`: a network taught by its own confident predictions (paper, Eq. 2, Fig. 1a; FixMatch's form)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration, require


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
