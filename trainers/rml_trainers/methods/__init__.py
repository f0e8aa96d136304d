"""Methods by name: each in one short file with its configuration, its equation and its step.

A new method is one file and one line in `METHODS`, and its configuration one more name in
`configs.MethodConfig`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from rml_trainers.methods.comparators.classmix import ClassMixMethod
from rml_trainers.methods.comparators.cowmix import CowMixSeg
from rml_trainers.methods.comparators.cps import CrossPseudoSupervision
from rml_trainers.methods.comparators.cutmix_seg import CutMixSeg
from rml_trainers.methods.comparators.dmt import DynamicMutualTraining
from rml_trainers.methods.comparators.ict import InterpolationConsistency
from rml_trainers.methods.comparators.unimatch import UniMatch
from rml_trainers.methods.method import Method
from rml_trainers.methods.paper.iml import IndirectMutualLearning
from rml_trainers.methods.paper.mean_teacher import MeanTeacher
from rml_trainers.methods.paper.mutual_direct import MutualDirect
from rml_trainers.methods.paper.pseudo_label import PseudoLabelMethod
from rml_trainers.methods.paper.rml import RobustMutualLearning
from rml_trainers.methods.paper.supervised import Supervised

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig

METHODS: "dict[str, Callable[[RunConfig, int], Method]]" = {
    "supervised": Supervised,
    "pseudo_label": PseudoLabelMethod,
    "mean_teacher": MeanTeacher,
    "mutual_direct": MutualDirect,
    "iml": IndirectMutualLearning,
    "rml": RobustMutualLearning,
    "cutmix_seg": CutMixSeg,
    "cowmix": CowMixSeg,
    "classmix": ClassMixMethod,
    "ict": InterpolationConsistency,
    "cps": CrossPseudoSupervision,
    "dmt": DynamicMutualTraining,
    "unimatch": UniMatch,
}


def build_method(config: "RunConfig", num_classes: int) -> Method:
    """The method that `config.method.name` names."""
    return METHODS[config.method.name](config, num_classes)
