"""`supervised`: labelled images only (paper, Eq. 1; the tables' "Deeplabv2 (reimplement)")."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration
from rml_trainers.data.loading.loaders import Batch
from rml_trainers.methods.method import Stateless, StepResult, supervised_step
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners


@configuration
class SupervisedConfig(MethodConfig):
    """L_s = CE(y_l, h_θ(γ(x_l))) over all stages as one."""

    num_students: ClassVar[int] = 1
    uses_unlabelled: ClassVar[bool] = False
    name: Literal["supervised"] = "supervised"


class Supervised(Stateless):
    """Every stage is the warm-up."""

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        return supervised_step(batch, learners, self.context.labelled_loss)
