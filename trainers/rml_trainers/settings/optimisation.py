"""How students learn: loss on labels, optimiser, stages, and the mean teachers that follow them."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class LabelledLossConfig:
    """L_s beyond the plain cross entropy, for the warm-up and for the method alike. All off by
    default (paper, Eq. 1)."""

    label_smoothing: float = 0.0
    """ε: the target of a pixel is 1 − ε for its label and ε / K more for every class (Szegedy et
    al., 2016)."""
    hard_examples: float | None = None
    """Learn only from pixels whose true class has at most this probability (UniMatch on Cityscapes:
    0.7), but from no fewer than `hard_fraction`."""
    hard_fraction: float = 0.15
    """Smallest share of a crop's pixels that are learnt from, its least likely ones. (UniMatch
    keeps at least 200,000 pixels of two crops of 801×801, which is 0.16; here it is by crop, so
    that a step in pieces is the same step.)"""

    def __post_init__(self) -> None:
        smoothing = self.label_smoothing
        require(0 <= smoothing < 1, "label_smoothing", smoothing, "a number in [0, 1)")
        hard = self.hard_examples
        require(hard is None or 0 < hard < 1, "hard_examples", hard, "a number in (0, 1)")
        share = self.hard_fraction
        require(0 < share <= 1, "hard_fraction", share, "a share in (0, 1]")

    @property
    def is_plain(self) -> bool:
        """Whether it is the plain cross entropy."""
        return self.label_smoothing == 0 and self.hard_examples is None


@configuration
class OptimiserConfig:
    """SGD or AdamW of the students, with polynomial decay, restarted at every stage. A method's own
    networks keep the moments of theirs; of those only the learning rate begins anew."""

    kind: Literal["sgd", "adamw"] = "sgd"
    """`sgd` (paper, 5.2); `adamw` for transformers such as DINOv2 (UniMatch V2: lr 5e-6, head ×40,
    weight decay 0.01)."""
    lr: float = 1e-4
    """Backbone learning rate (paper, 5.2)."""
    head_lr_factor: float = 10.0
    """The Deeplabv2 family's ×10 for new layers; not stated in the paper."""
    momentum: float = 0.9
    """Of SGD; of AdamW the first of its two decay rates."""
    second_moment: float = 0.999
    """The second decay rate of AdamW (its authors: 0.999); SGD has none."""
    weight_decay: float = 5e-4
    """The Deeplabv2 family's; not stated in the paper (ProDA: 2e-4)."""
    poly_power: float = 0.9
    gradient_clip: float | None = None
    """Largest gradient norm per student, or none; not stated in the paper."""

    def __post_init__(self) -> None:
        require(self.lr > 0, "lr", self.lr, "a positive number")
        require(self.head_lr_factor > 0, "head_lr_factor", self.head_lr_factor, "a positive number")
        require(0 <= self.momentum < 1, "momentum", self.momentum, "a number in [0, 1)")
        second = self.second_moment
        require(0 <= second < 1, "second_moment", second, "a number in [0, 1)")
        used = self.kind == "adamw" or second == OptimiserConfig.second_moment
        require(used, "second_moment", second, "its default: SGD has none")
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
    ema_warm_up: bool = False
    """Begin with the plain mean of the student's first steps: decay min(1 − 1/(t + 1), `ema_decay`)
    in step t of the run, from 0 (ClassMix, UniMatch V2)."""
    mode: Literal["eval", "train"] = "eval"
    """`train` = batch statistics and live dropout in the teacher, as ProDA's code has it."""

    def __post_init__(self) -> None:
        require(0 <= self.ema_decay < 1, "ema_decay", self.ema_decay, "a number in [0, 1)")
