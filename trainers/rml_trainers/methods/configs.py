"""Configurations of all methods, joined: the ladder that leads to `rml`, and the published comparators."""

from rml_trainers.methods.classmix import ClassMixConfig
from rml_trainers.methods.cowmix import CowMixConfig
from rml_trainers.methods.cps import CpsConfig
from rml_trainers.methods.cutmix_seg import CutMixSegConfig
from rml_trainers.methods.dmt import DmtConfig
from rml_trainers.methods.ict import IctConfig
from rml_trainers.methods.iml import ImlConfig
from rml_trainers.methods.mean_teacher import MeanTeacherConfig
from rml_trainers.methods.mutual_direct import MutualDirectConfig
from rml_trainers.methods.pseudo_label import PseudoLabelConfig
from rml_trainers.methods.rml import RmlConfig
from rml_trainers.methods.supervised import SupervisedConfig
from rml_trainers.methods.unimatch import UniMatchConfig

LadderConfig = SupervisedConfig | PseudoLabelConfig | MeanTeacherConfig | MutualDirectConfig | ImlConfig | RmlConfig
ComparatorConfig = CutMixSegConfig | CowMixConfig | ClassMixConfig | IctConfig | CpsConfig | DmtConfig | UniMatchConfig
MethodConfig = LadderConfig | ComparatorConfig
