"""`mean_teacher`: one network taught by its own mean teacher (paper, Fig. 4; Tarvainen and Valpola,
2017)."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration
from rml_trainers.methods.consistency import Consistency
from rml_trainers.settings.contract import MethodConfig


@configuration
class MeanTeacherConfig(MethodConfig):
    """L_u = CE(ŷ, h_θ(Γ(x_u))), ŷ = argmax h_θ̃(γ(x_u))."""

    num_students: ClassVar[int] = 1
    name: Literal["mean_teacher"] = "mean_teacher"
    soft_labels: bool = False


class MeanTeacher(Consistency):
    """The student's own mean teacher labels."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        return (student,)
