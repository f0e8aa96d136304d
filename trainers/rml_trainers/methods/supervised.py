"""`supervised`: labelled images only (paper, Eq. 1; the tables' "Deeplabv2 (reimplement)")."""

from typing import ClassVar, Literal

from rml_trainers.configuration import configuration


@configuration
class SupervisedConfig:
    """L_s = CE(y_l, h_θ(γ(x_l))) over all stages as one."""

    num_students: ClassVar[int] = 1
    name: Literal["supervised"] = "supervised"
