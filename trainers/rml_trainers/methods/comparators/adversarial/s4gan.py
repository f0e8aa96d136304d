"""`s4gan`: a discriminator of whole images, whose features predictions are to match (Mittal et al.,
2019).

Sources: "Semi-Supervised Semantic Segmentation with High- and Low-level Consistency", its S4GAN
branch, and the authors' code (sud0301/semisup-semseg, `train_s4GAN.py`, `model/discriminator.py`
and README), where every value here is from. Their second branch (MLMT, a classifier of images that
deletes classes at test time) is not here: it trains a network of its own on its own schedule.

Their settings of the run, to be written in a study: Deeplabv2 on ResNet-101 with ImageNet weights
(2 ASPP branches, `batchnorm: frozen_affine`); SGD 2.5e-4 (head ×10), momentum 0.9, weight decay
5e-4, poly 0.9; 40k steps without warm-up; batch 8 + 8; VOC crops 321×321, Cityscapes
256×512; no input noise, no model noise. Scaling on VOC (0.5 to 1.6 in steps of 0.1) is a flag in
their code, which the command in their README does not set. They score the student.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.methods.comparators.adversarial.discriminators import (
    ImageWise,
    one_hot,
    told,
)
from rml_trainers.methods.comparators.adversarial.judged import (
    Judged,
    Predicted,
)
from rml_trainers.methods.method import MethodContext
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.scoring.metrics import most_likely
from rml_trainers.settings.contract import Labeller, MethodConfig
from rml_trainers.students.losses import hard_cross_entropy, valid_counts


@configuration
class S4GanConfig(MethodConfig):
    """L = L_s + weight · [ λ_fm · mean |E φ(y_l, x_l) − E φ(p_u, x_u)| + λ_st · CE(ŷ, p_u) ].

    φ: D's mean features of its last convolution, E: mean over the images. ŷ = argmax p_u on whole
    images with σ(D(p_u, x_u)) > T. L_D = ½ BCE(D(p_u, x_u), 0) + ½ BCE(D(y_l, x_l), 1). Images go
    into D with the smallest and largest value of their batch brought to 0 and 1.

    Differs from the authors' code: labelled images have their own range (there that of another
    batch is mixed in), and no colour mean is subtracted before; D's labels are those of the step's
    labelled images instead of a further batch; labelled and unlabelled images go through the
    network together, so that live BatchNorm statistics are of both; padding of unlabelled crops
    does not teach; ŷ may teach in the very first step. Of a step in micro-batches, and of several
    workers, the feature term is the mean of theirs.
    """

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    num_strong_views: ClassVar[int] = 0
    own_labelled_loss: ClassVar[bool] = True
    name: Literal["s4gan"] = "s4gan"
    feature_weight: float = 0.1
    """λ_fm (authors: 0.1)."""
    self_training_weight: float = 1.0
    """λ_st (authors: 1)."""
    self_training_threshold: float = 0.6
    """T (authors: 0.6, for Cityscapes 0.7)."""
    discriminator_lr: float = 1e-4
    """Of D, Adam with poly 0.9 (authors: 1e-4, for Cityscapes 1e-5)."""

    def __post_init__(self) -> None:
        for name in ("feature_weight", "self_training_weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "zero or more")
        threshold = self.self_training_threshold
        require(0 <= threshold <= 1, "self_training_threshold", threshold, "a number in [0, 1]")
        lr = self.discriminator_lr
        require(lr > 0, "discriminator_lr", lr, "a positive number")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """None: a batch of any size can be shared, because nothing is mixed."""
        return StrongView()


class S4Gan(Judged):
    """The student's maps are to look like labels to D as a whole; those that do teach it."""

    config: S4GanConfig

    def __init__(self, config: S4GanConfig, context: MethodContext) -> None:
        super().__init__(config, context, lr=config.discriminator_lr)

    def build(self) -> nn.Module:
        return ImageWise(self.num_classes)

    def student_loss(
        self, seen: Predicted, module: nn.Module, num_known: Tensor, num_inside: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        config = self.config
        supervised = hard_cross_entropy(seen.log_prob, seen.label, num_known)
        judged, of_fake = module(seen.log_prob_unlabelled.exp(), full_range(seen.unlabelled))
        _, of_real = module(one_hot(seen.label, self.num_classes), full_range(seen.images))
        matching = (of_real.mean(dim=0) - of_fake.mean(dim=0)).abs().mean() / seen.num_pieces
        good = judged.detach().sigmoid() > config.self_training_threshold
        believed = seen.inside & good[:, None, None]
        label = torch.where(believed, most_likely(seen.log_prob_unlabelled.detach()), IGNORE_LABEL)
        (num_kept,) = valid_counts(believed)
        self_training = hard_cross_entropy(seen.log_prob_unlabelled, label, num_kept)
        self_training = self_training / seen.num_pieces
        unsupervised = (
            config.feature_weight * matching + config.self_training_weight * self_training
        )
        scalars = {
            "loss_supervised_1": supervised,
            "loss_unsupervised_1": unsupervised,
            "loss_feature_1": matching,
        }
        return supervised + self.context.unsupervised_weight * unsupervised, scalars, label

    def judge_loss(self, seen: Predicted, module: nn.Module) -> Tensor:
        fake, _ = module(seen.log_prob_unlabelled.exp(), full_range(seen.unlabelled))
        real, _ = module(one_hot(seen.label, self.num_classes), full_range(seen.images))
        return (told(fake, real=False).mean() + told(real, real=True).mean()) / 2


def full_range(images: Tensor) -> Tensor:
    """Images with the smallest value of the batch at 0 and its largest at 1."""
    smallest = images.amin()
    return (images - smallest) / (images.amax() - smallest).clamp(min=1e-6)
