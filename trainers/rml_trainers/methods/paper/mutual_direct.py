"""`mutual_direct`: two students that teach each other directly (paper, Eq. 3, Fig. 1c)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration
from rml_trainers.methods.consistency import Consistency
from rml_trainers.settings.contract import Labeller, MethodConfig


@configuration
class MutualDirectConfig(MethodConfig):
    """L_u = CE(ŷ_2, h_θ1(Γ(x_u))) + CE(ŷ_1, h_θ2(Γ(x_u))), ŷ_i = argmax h_θi(γ(x_u))."""

    num_students: ClassVar[int] = 2
    labeller: ClassVar[Labeller] = "students"
    name: Literal["mutual_direct"] = "mutual_direct"
    soft_labels: bool = False


class MutualDirect(Consistency):
    """The peer student itself labels, without gradient and without EMA."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return tuple(j for j in range(num_students) if j != student)
