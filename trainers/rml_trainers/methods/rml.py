"""`rml`: `iml` with every pseudo label rectified by its own network's prototypes first (paper, Eq. 6 to 11, Fig. 1d)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration, require


@configuration
class RmlConfig:
    """ŷ = argmax_k ω_k p⁰_k with ω = softmax_k(log π_k − ‖z − η_k‖ / T)."""

    num_students: ClassVar[int] = 2
    name: Literal["rml"] = "rml"
    own_teacher: bool = True
    """Also teach each student by its own mean teacher (Eq. 5)."""
    soft_labels: bool = False
    initial_label: Literal["stage", "online"] = "stage"
    """p⁰: fixed at the start of the stage and stored, or the teacher's present prediction."""
    feature: Literal["backbone", "projected"] = "backbone"
    """z: what the last linear classifier of Deeplabv2 sees, or the output of the network's projection head."""
    temperature: float = 1.0
    """T (paper: 1). Distances grow with the feature width, so small T can saturate ω: watch `omega_entropy`."""
    distance: Literal["euclidean", "relative"] = "euclidean"
    """`relative` divides every distance by the batch's mean distance, so that T has the same meaning for all networks;
    ours, not in the paper."""
    prototype_momentum: float = 0.9999
    """λ of Eq. 11 (paper: 0.9999)."""
    min_cells: int = 10
    """A class with fewer cells than this in an image does not move its prototype (ProDA's code: 10)."""
    mixture: Literal["uniform", "estimated"] = "uniform"
    """π_k of Eq. 9: uniform (version 1 of the paper), or the moving average of the assignment frequencies."""

    def __post_init__(self) -> None:
        require(self.temperature > 0, "temperature", self.temperature, "a positive number")
        require(0 <= self.prototype_momentum <= 1, "prototype_momentum", self.prototype_momentum, "a number in [0, 1]")
        require(self.min_cells >= 1, "min_cells", self.min_cells, "at least 1")
