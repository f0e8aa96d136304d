"""Methods by name: each in one short file with its settings, its equation and its step.

A new method is one file and one line in `METHODS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from rml_trainers.methods.comparators.adversarial.adv_ssl import AdversarialLearning, AdvSslConfig
from rml_trainers.methods.comparators.adversarial.ecs import (
    EcsConfig,
    ErrorCorrectingSupervision,
)
from rml_trainers.methods.comparators.adversarial.s4gan import S4Gan, S4GanConfig
from rml_trainers.methods.comparators.augseg import AugSeg, AugSegConfig
from rml_trainers.methods.comparators.classmix import ClassMixConfig, ClassMixMethod
from rml_trainers.methods.comparators.contrastive.u2pl import U2pl, U2plConfig
from rml_trainers.methods.comparators.correlation.corrmatch import CorrMatch, CorrMatchConfig
from rml_trainers.methods.comparators.cowmix import CowMixConfig, CowMixSeg
from rml_trainers.methods.comparators.cps import CpsConfig, CrossPseudoSupervision
from rml_trainers.methods.comparators.cutmix_seg import CutMixSeg, CutMixSegConfig
from rml_trainers.methods.comparators.dmt import DmtConfig, DynamicMutualTraining
from rml_trainers.methods.comparators.ict import IctConfig, InterpolationConsistency
from rml_trainers.methods.comparators.meta_pseudo_label import (
    MetaPseudoLabelConfig,
    MetaPseudoLabels,
)
from rml_trainers.methods.comparators.unimatch import UniMatch, UniMatchConfig
from rml_trainers.methods.comparators.unimatch_v2 import UniMatchV2, UniMatchV2Config
from rml_trainers.methods.method import Method, MethodContext
from rml_trainers.methods.paper.iml import ImlConfig, IndirectMutualLearning
from rml_trainers.methods.paper.mean_teacher import MeanTeacher, MeanTeacherConfig
from rml_trainers.methods.paper.mutual_direct import MutualDirect, MutualDirectConfig
from rml_trainers.methods.paper.pseudo_label import PseudoLabelConfig, PseudoLabelMethod
from rml_trainers.methods.paper.rml import RmlConfig, RobustMutualLearning
from rml_trainers.methods.paper.supervised import Supervised, SupervisedConfig
from rml_trainers.settings.contract import MethodConfig


@dataclass(frozen=True)
class MethodEntry:
    """What a method's name stands for."""

    config: type[MethodConfig]
    build: Callable[[Any, MethodContext], Method]
    """From its settings, and what it needs to know of its run."""


METHODS: dict[str, MethodEntry] = {
    "supervised": MethodEntry(SupervisedConfig, Supervised),
    "pseudo_label": MethodEntry(PseudoLabelConfig, PseudoLabelMethod),
    "mean_teacher": MethodEntry(MeanTeacherConfig, MeanTeacher),
    "mutual_direct": MethodEntry(MutualDirectConfig, MutualDirect),
    "iml": MethodEntry(ImlConfig, IndirectMutualLearning),
    "rml": MethodEntry(RmlConfig, RobustMutualLearning),
    "meta_pseudo_label": MethodEntry(MetaPseudoLabelConfig, MetaPseudoLabels),
    "adv_ssl": MethodEntry(AdvSslConfig, AdversarialLearning),
    "s4gan": MethodEntry(S4GanConfig, S4Gan),
    "ecs": MethodEntry(EcsConfig, ErrorCorrectingSupervision),
    "cutmix_seg": MethodEntry(CutMixSegConfig, CutMixSeg),
    "cowmix": MethodEntry(CowMixConfig, CowMixSeg),
    "classmix": MethodEntry(ClassMixConfig, ClassMixMethod),
    "ict": MethodEntry(IctConfig, InterpolationConsistency),
    "cps": MethodEntry(CpsConfig, CrossPseudoSupervision),
    "dmt": MethodEntry(DmtConfig, DynamicMutualTraining),
    "augseg": MethodEntry(AugSegConfig, AugSeg),
    "u2pl": MethodEntry(U2plConfig, U2pl),
    "corrmatch": MethodEntry(CorrMatchConfig, CorrMatch),
    "unimatch": MethodEntry(UniMatchConfig, UniMatch),
    "unimatch_v2": MethodEntry(UniMatchV2Config, UniMatchV2),
}
"""Open: a plug-in adds its own before a study is read."""


def build_method(config: MethodConfig, context: MethodContext) -> Method:
    """The method that `config.name` names."""
    return METHODS[config.name].build(config, context)
