"""`adv_ssl`: a fully convolutional discriminator tells predictions from labels, pixel by pixel
(Hung et al., BMVC 2018).

Sources: "Adversarial Learning for Semi-Supervised Semantic Segmentation" and the authors' code
(hfslyc/AdvSemiSeg, `train.py` and README, which has VOC only), where every value here is from.

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 with COCO weights (2
ASPP branches, `batchnorm: frozen_affine`); SGD 2.5e-4 (head ×10), momentum 0.9, weight decay 5e-4,
poly 0.9; batch 10 + 10, crops 321×321; 20k steps without warm-up; no input noise, no model noise.
Scaling (0.5 to 1.6 in steps of 0.1) and mirroring are flags in their code, which the command in
their README does not set. They score the student.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.methods.comparators.adversarial.discriminators import (
    FullyConvolutional,
    one_hot,
    told,
)
from rml_trainers.methods.comparators.adversarial.judged import (
    Judged,
    Predicted,
    masked_mean,
)
from rml_trainers.methods.method import MethodContext
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.scoring.metrics import most_likely
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.losses import hard_cross_entropy, valid_counts


@configuration
class AdvSslConfig(MethodConfig):
    """L = L_s + λ_l · BCE(D(p_l), 1) + weight · [ λ_u · BCE(D(p_u), 1) + λ_semi · CE(ŷ, p_u) ].

    ŷ = argmax p_u where σ(D(p_u)) ≥ T, its mean over these pixels, from step `semi_start` on.
    L_D = ½ BCE(D(p), 0) over labelled and unlabelled predictions together + ½ BCE(D(y_l), 1), y_l
    one-hot. Differs from the authors' code: D's labels are those of the step's labelled images
    instead of a further batch; labelled and unlabelled images go through the network together, so
    that live BatchNorm statistics are of both; padding of unlabelled crops is left out of all
    means; of a step in micro-batches the mean over kept pixels is taken in each.
    """

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    num_strong_views: ClassVar[int] = 0
    own_labelled_loss: ClassVar[bool] = True
    name: Literal["adv_ssl"] = "adv_ssl"
    adversarial_weight: float = 0.01
    """λ_l, on labelled images (authors: 0.01 in paper and README; their code's default is 0.1)."""
    unlabelled_weight: float = 0.001
    """λ_u (authors' code: 0.001, from the first step on)."""
    semi_weight: float = 0.1
    """λ_semi (authors: 0.1)."""
    semi_threshold: float = 0.2
    """T (authors: 0.2)."""
    semi_start: int = 5000
    """Steps of the stage before ŷ teaches (authors: 5000)."""
    discriminator_lr: float = 1e-4
    """Of D, Adam with poly 0.9 (authors: 1e-4)."""

    def __post_init__(self) -> None:
        for name in ("adversarial_weight", "unlabelled_weight", "semi_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "zero or more")
        threshold = self.semi_threshold
        require(0 <= threshold <= 1, "semi_threshold", threshold, "a number in [0, 1]")
        require(self.semi_start >= 0, "semi_start", self.semi_start, "zero or more")
        lr = self.discriminator_lr
        require(lr > 0, "discriminator_lr", lr, "a positive number")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """None: a batch of any size can be shared, because nothing is mixed."""
        return StrongView()


class AdversarialLearning(Judged):
    """The student passes its softmax maps for labels; where D believes them, they teach it."""

    config: AdvSslConfig

    def __init__(self, config: AdvSslConfig, context: MethodContext) -> None:
        super().__init__(config, context, lr=config.discriminator_lr)

    def build(self) -> nn.Module:
        return FullyConvolutional(self.num_classes)

    def student_loss(
        self, seen: Predicted, module: nn.Module, num_known: Tensor, num_inside: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        config = self.config
        supervised = hard_cross_entropy(seen.log_prob, seen.label, num_known)
        on_labelled = told(module(seen.log_prob.exp())[:, 0], real=True)
        judged = module(seen.log_prob_unlabelled.exp())[:, 0]
        adversarial = masked_mean(on_labelled, seen.known, num_known)
        adversarial_u = masked_mean(told(judged, real=True), seen.inside, num_inside)
        believed = seen.inside & (judged.detach().sigmoid() >= config.semi_threshold)
        label = torch.where(believed, most_likely(seen.log_prob_unlabelled.detach()), IGNORE_LABEL)
        (num_kept,) = valid_counts(believed)
        semi = hard_cross_entropy(seen.log_prob_unlabelled, label, num_kept) / seen.num_pieces
        semi = self.started(config.semi_start) * semi
        unsupervised = config.unlabelled_weight * adversarial_u + config.semi_weight * semi
        loss = supervised + config.adversarial_weight * adversarial
        scalars = {
            "loss_supervised_1": supervised,
            "loss_unsupervised_1": unsupervised,
            "loss_adversarial_1": adversarial,
        }
        return loss + self.context.unsupervised_weight * unsupervised, scalars, label

    def judge_loss(self, seen: Predicted, module: nn.Module) -> Tensor:
        prob = torch.cat([seen.log_prob, seen.log_prob_unlabelled]).exp()
        counted = torch.cat([seen.known, seen.inside])
        num_counted, num_known = valid_counts(counted, seen.known)
        fake = masked_mean(told(module(prob)[:, 0], real=False), counted, num_counted)
        truth = one_hot(seen.label, self.num_classes)
        real = masked_mean(told(module(truth)[:, 0], real=True), seen.known, num_known)
        return (fake + real) / 2
