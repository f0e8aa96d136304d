"""`iml`: indirect mutual learning, each student taught by both mean teachers (paper, Eq. 4 and
5)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration
from rml_trainers.methods.consistency import Consistency
from rml_trainers.settings.contract import MethodConfig


@configuration
class ImlConfig(MethodConfig):
    """L_u = Σ_i Σ_j CE(ŷ_j, h_θi(Γ(x_u))), ŷ_j = argmax h_θ̃j(γ(x_u))."""

    num_students: ClassVar[int] = 2
    name: Literal["iml"] = "iml"
    own_teacher: bool = True
    """Also teach each student by its own mean teacher (Eq. 5); false leaves the peer's alone (Eq. 3
    with EMA)."""
    soft_labels: bool = False


class IndirectMutualLearning(Consistency):
    """Mean teachers label; `own_teacher` decides between Eq. 5 and Eq. 3 with EMA."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        own = self.config.own_teacher
        return tuple(j for j in range(num_students) if own or j != student)
