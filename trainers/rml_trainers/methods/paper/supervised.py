"""`supervised`: labelled images only (paper, Eq. 1; the tables' "Deeplabv2 (reimplement)")."""

from typing import TYPE_CHECKING, ClassVar, Literal

from rml_trainers.configuration import configuration
from rml_trainers.methods.method import Stateless, StepResult, supervised_step
from rml_trainers.students.learners import Learners

if TYPE_CHECKING:
    from rml_trainers.data.loading.loaders import Batch


@configuration
class SupervisedConfig:
    """L_s = CE(y_l, h_θ(γ(x_l))) over all stages as one."""

    num_students: ClassVar[int] = 1
    name: Literal["supervised"] = "supervised"


class Supervised(Stateless):
    """Every stage is the warm-up."""

    uses_unlabelled = False

    def step(self, batch: "Batch", learners: Learners) -> StepResult:
        return supervised_step(batch, learners)
