"""RunConfig: everything that decides the result of one run, as one frozen, typed value.

It names no single method, network or data set: those stand beside their settings, in the
dictionaries `METHODS`, `NETWORKS` and `DATASETS`, and are chosen by name. What the other blocks
hold stands in `settings/`, `noise/config.py` and `runtime/options.py`. Sources are named per field;
"not stated in the paper" marks a choice that is ours and therefore an ablation.
"""

import dataclasses
from typing import Literal

from rml_trainers.configuration import configuration, require
from rml_trainers.networks import DEFAULT_NETWORK
from rml_trainers.noise.config import GeometryConfig, NoiseConfig
from rml_trainers.runtime.options import RuntimeConfig as RuntimeConfig
from rml_trainers.settings.batch import BatchConfig as BatchConfig
from rml_trainers.settings.contract import DataConfig as DataConfig
from rml_trainers.settings.contract import MethodConfig as MethodConfig
from rml_trainers.settings.contract import NetworkConfig as NetworkConfig
from rml_trainers.settings.evaluation import SCORED_NETWORKS as SCORED_NETWORKS
from rml_trainers.settings.evaluation import EvaluationConfig as EvaluationConfig
from rml_trainers.settings.optimisation import LabelledLossConfig as LabelledLossConfig
from rml_trainers.settings.optimisation import OptimiserConfig as OptimiserConfig
from rml_trainers.settings.optimisation import ScheduleConfig as ScheduleConfig
from rml_trainers.settings.optimisation import TeacherConfig as TeacherConfig
from rml_trainers.settings.split import SplitConfig as SplitConfig


@configuration
class RunConfig:
    """One cell of a grid: data, split, method, networks, noise, optimiser, stages, seed and
    protocol."""

    data: DataConfig
    split: SplitConfig
    method: MethodConfig
    network: NetworkConfig = DEFAULT_NETWORK
    peer_network: NetworkConfig | None = None
    """Second student's network; default: the same architecture (paper, Table 5 pairs different
    ones)."""
    geometry: GeometryConfig = GeometryConfig()
    noise: NoiseConfig = NoiseConfig()
    batch: BatchConfig = BatchConfig()
    labelled_loss: LabelledLossConfig = LabelledLossConfig()
    optimiser: OptimiserConfig = OptimiserConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    teacher: TeacherConfig = TeacherConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """`auto`: bf16 autocast where the GPU has it, float32 on a CPU. CPUs with bf16 instructions
    (AVX512-BF16, AMX) are faster with `bfloat16` too; it has to be asked for there, because
    rounding would differ from CPU to CPU."""
    sync_batchnorm: bool = False
    """Batch statistics of the students over all workers (GPU only). A method's own networks, as the
    heads of `u2pl` and `corrmatch`, have those of their worker's images."""
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
        self.method.check(self)
        for student_network in self.student_networks:
            student_network.check(self)
        self.data.check(self)

    @property
    def student_networks(self) -> tuple[NetworkConfig, ...]:
        """Network of each student, in order."""
        return (self.network, self.peer_network or self.network)[: self.method.num_students]


def replace(config: RunConfig, **changes: object) -> RunConfig:
    """Copy of a configuration with some top-level parts exchanged; the copy is checked again."""
    return dataclasses.replace(config, **changes)  # type: ignore[arg-type]
