"""RunConfig: everything that decides the result of one run, as one frozen, typed value.

The configurations of data sets, networks and methods stand beside the classes they configure; this
file joins them. Sources are named per field; "not stated in the paper" marks a choice that is ours
and therefore an ablation.
"""

import dataclasses
from typing import Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.data.sources.camvid import CamvidConfig
from rml_trainers.data.sources.cityscapes import CityscapesConfig
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.data.sources.mnist import MnistConfig
from rml_trainers.data.sources.pairs import PairsConfig
from rml_trainers.data.sources.scenes import ScenesConfig
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.methods.comparators.dmt import DmtConfig
from rml_trainers.methods.configs import MethodConfig as MethodConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.mlp import MlpConfig
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.runtime.options import RuntimeConfig as RuntimeConfig
from rml_trainers.scoring.protocols import EvaluationConfig as EvaluationConfig

DataConfig = (
    ScenesConfig
    | CamvidConfig
    | FolderConfig
    | PairsConfig
    | CityscapesConfig
    | VocConfig
    | MnistConfig
)
NetworkConfig = DeepLabV2Config | SetrConfig | MlpConfig

SCORED_NETWORKS = ("student_1", "student_2", "teacher_1", "teacher_2", "ensemble")


@configuration
class SplitConfig:
    """Which training images have labels. Exactly one of `num_labelled` and `fraction` is given."""

    family: Literal["french", "dmt", "stratified", "lists"] = "french"
    """Recipe (French et al.; DMT; `stratified`, drawn so that every class is there when it can be;
    or two text files of names)."""
    num_labelled: int | None = None
    fraction: float | None = None
    """Share of the training images that have labels, in (0, 1]; the number is rounded half up."""
    seed: int = 12345
    """The family's own seed. French et al. use 12345, 23456, 34567, 45678, 56789; DMT 0, 1, 2."""
    labelled_list: str | None = None
    """Family `lists`: text file of bare names, one a line."""
    unlabelled_list: str | None = None
    """Family `lists`: text file of the unlabelled names; default: every other training image."""
    pool_includes_labelled: bool = False
    """French et al. put the labelled images into the unlabelled pool too; everyone else leaves them
    out."""

    def __post_init__(self) -> None:
        if self.family == "lists":
            require(
                self.labelled_list is not None,
                "labelled_list",
                self.labelled_list,
                "a file (family is 'lists')",
            )
            return
        given = (self.num_labelled is not None) + (self.fraction is not None)
        require(
            given == 1,
            "num_labelled / fraction",
            (self.num_labelled, self.fraction),
            "exactly one of the two",
        )
        if self.num_labelled is not None:
            require(
                self.num_labelled >= 1,
                "num_labelled",
                self.num_labelled,
                "at least 1 labelled image",
            )
        if self.fraction is not None:
            require(0 < self.fraction <= 1, "fraction", self.fraction, "a share in (0, 1]")


@configuration
class BatchConfig:
    """Images per step over all workers together (the number of workers never changes the batch)."""

    labelled: int = 4
    unlabelled: int = 4
    accumulate: int = 1
    """Micro-batches that each worker's share is cut into for the students' forwards and backwards.
    Labels, mixing and means over pixels stay those of the whole batch. BatchNorm in training mode
    sees one micro-batch at a time, and dropout draws for each: that changes the result a little, so
    this is part of the run id."""

    def __post_init__(self) -> None:
        require(self.labelled >= 1, "labelled", self.labelled, "at least 1")
        require(self.unlabelled >= 1, "unlabelled", self.unlabelled, "at least 1")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")


@configuration
class OptimiserConfig:
    """SGD with polynomial decay, restarted at every stage."""

    lr: float = 1e-4
    """Backbone learning rate (paper, 5.2)."""
    head_lr_factor: float = 10.0
    """The Deeplabv2 family's ×10 for new layers; not stated in the paper."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    """The Deeplabv2 family's; not stated in the paper (ProDA: 2e-4)."""
    poly_power: float = 0.9
    gradient_clip: float | None = None
    """Largest gradient norm per student, or none; not stated in the paper."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "a positive number")
        require(self.head_lr_factor > 0, "head_lr_factor", self.head_lr_factor, "a positive number")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        require(self.weight_decay >= 0, "weight_decay", self.weight_decay, "zero or more")
        require(self.poly_power >= 0, "poly_power", self.poly_power, "zero or more")
        require(
            self.gradient_clip is None or self.gradient_clip > 0,
            "gradient_clip",
            self.gradient_clip,
            "positive",
        )


@configuration
class ScheduleConfig:
    """Steps per stage. Stage 0 is the supervised warm-up; each further stage is one round of the
    method.

    `supervised` trains warm-up and stages as one single stage of the same total length.
    """

    warm_up_steps: int = 20_000
    """Not stated in the paper."""
    stage_steps: tuple[int, ...] = (90_000, 90_000)
    """Paper, 5.2: two stages of 90k iterations (Cityscapes) or 60k (VOC)."""
    students_restart: bool = False
    """Students begin each stage after the first from their initial weights instead of going on; not
    stated."""

    def __post_init__(self) -> None:
        require(self.warm_up_steps >= 0, "warm_up_steps", self.warm_up_steps, "zero or more")
        require(
            all(n >= 1 for n in self.stage_steps),
            "stage_steps",
            self.stage_steps,
            "at least 1 step each",
        )
        require(self.total_steps >= 1, "schedule", self.total_steps, "at least one step in all")

    @property
    def total_steps(self) -> int:
        return self.warm_up_steps + sum(self.stage_steps)


@configuration
class TeacherConfig:
    """Mean teachers: EMA of a student's parameters, buffers copied (kept for every method, so all
    can be scored)."""

    ema_decay: float = 0.999
    """Not stated in the paper; ProDA uses 0.999."""
    mode: Literal["eval", "train"] = "eval"
    """`train` = batch statistics and live dropout in the teacher, as ProDA's code has it."""

    def __post_init__(self) -> None:
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "a number in [0, 1)")


@configuration
class RunConfig:
    """One cell of a grid: data, split, method, networks, noise, optimiser, stages, seed and
    protocol."""

    data: DataConfig
    split: SplitConfig
    method: MethodConfig
    network: NetworkConfig = DeepLabV2Config()
    peer_network: NetworkConfig | None = None
    """Second student's network; default: the same architecture (paper, Table 5 pairs different
    ones)."""
    geometry: GeometryConfig = GeometryConfig()
    noise: NoiseConfig = NoiseConfig()
    batch: BatchConfig = BatchConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    teacher: TeacherConfig = TeacherConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bf16 autocast where the GPU has it, float32 on a CPU. CPUs with bf16 instructions
    (AVX512-BF16, AMX) are faster with `bfloat16` too; it has to be asked for there, because
    rounding would differ from CPU to CPU."""
    sync_batchnorm: bool = False
    """Batch statistics over all workers (GPU only)."""
    unsupervised_weight: float = 1.0
    """Weight of L_u; not stated in the paper."""
    seed: int = 0
    """Of initialisation, order, noise and crops; the split has its own."""
    runtime: RuntimeConfig = RuntimeConfig()

    def __post_init__(self) -> None:
        require(
            self.unsupervised_weight >= 0,
            "unsupervised_weight",
            self.unsupervised_weight,
            "zero or more",
        )
        require(self.seed >= 0, "seed", self.seed, "zero or more")
        num_students = self.method.num_students
        for network in self.evaluation.networks:
            missing = network.endswith("_2") and num_students < 2
            require(
                not missing,
                "evaluation.networks",
                network,
                f"one of the {num_students} of {self.method.name}",
            )
        if self.peer_network is not None:
            require(
                num_students == 2,
                "peer_network",
                self.peer_network.name,
                "a method with two students",
            )
        if getattr(self.method, "feature", None) == "projected":
            widths = [
                getattr(network, "projection_width", None) for network in self.student_networks
            ]
            wanted = "a network with projection_width for every student"
            require(None not in widths, "method.feature", "projected", wanted)
        if isinstance(self.method, DmtConfig):
            num_phases = len(self.method.fractions)
            steps = self.schedule.stage_steps
            one_each = f"{num_phases} stages, one for each of method.fractions"
            require(len(steps) == num_phases, "schedule.stage_steps", steps, one_each)
        for network_config in self.student_networks:
            if isinstance(network_config, MlpConfig):
                self._check_mlp(network_config)

    def _check_mlp(self, network: MlpConfig) -> None:
        """An MLP reads whole images of one size and gives one cell."""
        for field, size in (
            ("geometry.crop_px", self.geometry.crop_px),
            ("data.size_px", self.data.size_px),
        ):
            require(
                size == network.input_px,
                field,
                size,
                f"the input of the network mlp, {network.input_px}",
            )
        if isinstance(self.method, RmlConfig):
            cells = self.method.min_cells
            require(
                cells == 1,
                "method.min_cells",
                cells,
                "1, because an image has one cell in the network mlp",
            )

    @property
    def student_networks(self) -> tuple[NetworkConfig, ...]:
        """Network of each student, in order."""
        return (self.network, self.peer_network or self.network)[: self.method.num_students]


def replace(config: RunConfig, **changes: object) -> RunConfig:
    """Copy of a configuration with some top-level parts exchanged; the copy is checked again."""
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
