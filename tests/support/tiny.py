"""The smallest run that exercises everything: 32×48 scenes, a half-million-parameter backbone, a
handful of steps."""

from dataclasses import replace
from typing import Any

from rml_trainers.config import (
    BatchConfig,
    EvaluationConfig,
    MethodConfig,
    NetworkConfig,
    OptimiserConfig,
    RunConfig,
    RuntimeConfig,
    ScheduleConfig,
    SplitConfig,
    TeacherConfig,
)
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.methods.comparators.adversarial.adv_ssl import AdvSslConfig
from rml_trainers.methods.comparators.adversarial.ecs import EcsConfig
from rml_trainers.methods.comparators.adversarial.s4gan import S4GanConfig
from rml_trainers.methods.comparators.augseg import AugSegConfig
from rml_trainers.methods.comparators.classmix import ClassMixConfig
from rml_trainers.methods.comparators.contrastive.u2pl import U2plConfig
from rml_trainers.methods.comparators.correlation.corrmatch import CorrMatchConfig
from rml_trainers.methods.comparators.cowmix import CowMixConfig
from rml_trainers.methods.comparators.cps import CpsConfig
from rml_trainers.methods.comparators.cutmix_seg import CutMixSegConfig
from rml_trainers.methods.comparators.dmt import DmtConfig
from rml_trainers.methods.comparators.ict import IctConfig
from rml_trainers.methods.comparators.meta_pseudo_label import MetaPseudoLabelConfig
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.methods.comparators.unimatch_v2 import UniMatchV2Config
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.mean_teacher import MeanTeacherConfig
from rml_trainers.methods.paper.mutual_direct import MutualDirectConfig
from rml_trainers.methods.paper.pseudo_label import PseudoLabelConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.methods.paper.supervised import SupervisedConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.dpt import DptConfig
from rml_trainers.networks.mlp import MlpConfig
from rml_trainers.networks.segformer_head import SegformerHeadConfig
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import GeometryConfig

METHOD_CONFIGS: dict[str, MethodConfig] = {
    "supervised": SupervisedConfig(),
    "pseudo_label": PseudoLabelConfig(threshold=0.2),
    "mean_teacher": MeanTeacherConfig(),
    "mutual_direct": MutualDirectConfig(),
    "iml": ImlConfig(),
    "rml": RmlConfig(min_cells=1),
    "meta_pseudo_label": MetaPseudoLabelConfig(uda_threshold=0.2, uda_ramp_steps=2),
    "adv_ssl": AdvSslConfig(semi_start=1, semi_threshold=0.45),
    "s4gan": S4GanConfig(self_training_threshold=0.3),
    "ecs": EcsConfig(correction_start=0, corrector_lr=1e-4, corrector_width=8),
    "cutmix_seg": CutMixSegConfig(confidence=0.1),
    "cowmix": CowMixConfig(confidence=0.1),
    "classmix": ClassMixConfig(confidence=0.1),
    "ict": IctConfig(confidence=0.1, ramp_up_steps=2),
    "cps": CpsConfig(),
    "dmt": DmtConfig(fractions=(0.5, 1.0)),
    "augseg": AugSegConfig(threshold=0.2),
    "u2pl": U2plConfig(
        anchor_threshold=0.1,
        low_rank=1,
        negatives="paper",
        num_queries=8,
        num_negatives=4,
        representation_width=8,
        queue_size=12,
        first_queue_size=20,
    ),
    "corrmatch": CorrMatchConfig(initial_threshold=0.15, num_segments=6, correlation_width=8),
    "unimatch": UniMatchConfig(threshold=0.2),
    "unimatch_v2": UniMatchV2Config(threshold=0.2),
}

NETWORK_CONFIGS: dict[str, NetworkConfig] = {
    "deeplab_v2": DeepLabV2Config(backbone="test_resnet", weights="none"),
    "deeplab_v3_plus": DeepLabV3PlusConfig(
        backbone="test_resnet", weights="none", aspp_rates=(1, 2), decoder_width=16
    ),
    "dpt": DptConfig(backbone="test_vit", weights="none"),
    "mlp": MlpConfig(hidden=(16, 12), input_px=(32, 48)),
    "segformer_head": SegformerHeadConfig(
        backbone="test_convnext", weights="none", decoder_width=16
    ),
    "setr": SetrConfig(backbone="test_vit", weights="none", decoder="naive", decoder_width=16),
}
"""One of each, for images of 32×48."""

SCENES = ScenesConfig(size_px=(32, 48), num_train=10, num_val=3)
NETWORK = DeepLabV2Config(backbone="test_resnet", weights="none", aspp_branches=2)


def tiny_config(method: str = "rml", /, **changes: Any) -> RunConfig:
    """Warm-up of 4 steps and two stages of 4; top-level fields can be exchanged."""
    config = RunConfig(
        data=SCENES,
        split=SplitConfig(num_labelled=4),
        method=METHOD_CONFIGS[method],
        network=NETWORK,
        geometry=GeometryConfig(crop_px=(24, 32), scale=(0.75, 1.25)),
        batch=BatchConfig(labelled=2, unlabelled=2),
        optimiser=OptimiserConfig(lr=0.01),
        schedule=ScheduleConfig(warm_up_steps=4, stage_steps=(4, 4)),
        teacher=TeacherConfig(ema_decay=0.9),
        evaluation=EvaluationConfig(batch=3),
        runtime=RuntimeConfig(
            device="cpu", log_every_steps=3, checkpoint_every_steps=3, num_read_ahead=0, threads=1
        ),
    )
    return replace(config, **changes)
