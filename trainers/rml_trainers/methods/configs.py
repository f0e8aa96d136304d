"""Configurations of all methods, joined: the ladder that leads to `rml`, and the published
comparators."""

from rml_trainers.methods.comparators.classmix import ClassMixConfig
from rml_trainers.methods.comparators.cowmix import CowMixConfig
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.cutmix_seg import CutMixSegConfig
from rml_trainers.methods.comparators.dmt import DmtConfig
from rml_trainers.methods.comparators.ict import IctConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.methods.paper.mutual_direct import MutualDirectConfig
from rml_trainers.methods.paper.pseudo_label import PseudoLabelConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.methods.paper.supervised import SupervisedConfig

LadderConfig = (
    SupervisedConfig
    | PseudoLabelConfig
    | MeanTeacherConfig
    | MutualDirectConfig
    | ImlConfig
    | RmlConfig
)
ComparatorConfig = (
    CutMixSegConfig
    | CowMixConfig
    | ClassMixConfig
    | IctConfig
    | CpsConfig
    | DmtConfig
    | UniMatchConfig
)
MethodConfig = LadderConfig | ComparatorConfig
