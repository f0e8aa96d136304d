"""`ecs`: a second network learns to find and to amend the student's mistakes, and helps to label
(Mendel et al., ECCV 2020).

Source: "Semi-supervised Segmentation Based on Error-Correcting Supervision", by its abstract and
introduction. Its authors have published no code, and no other is known: what follows is a method
after their description, not a copy of theirs. What they say:

* a second network, the corrector, judges and corrects how an image and its segmentation agree;
* on labelled images it learns to spot correct predictions and to amend incorrect ones;
* there it also acts, as a regulariser, on the supervised training of the segmentation network;
* on unlabelled images its output, combined with the prediction, is the target;
* the loss on that target has both the pseudo labels and the corrector's certainty in it;
* the two networks help each other, unlike a generator and its discriminator.

All that this leaves open is our choice, and so are all values. The step as it is here:

1. The student predicts labelled and unlabelled images in one forward, as they are (no strong view).
2. The corrector sees the image and the student's probabilities of all classes. For every pixel it
   chooses one of K + 1 answers: "correct", or the class that should be there.
3. On labelled images the right answer is "correct" where the student's most likely class is the
   label, else the label. The corrector learns it by cross entropy, from predictions that pass no
   gradient on.
4. The student learns the labels, and to be told "correct" on labelled images: cross entropy of the
   corrector's answer, whose gradient reaches the student through its probabilities.
5. On unlabelled images a pixel's target is the student's most likely class where the corrector's
   most likely answer is "correct", else the class that it answers. The student learns the target by
   cross entropy, times the probability of that answer.

What their runs were set to is not known to us; the studies say what they take.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.configuration import configuration, require
from rml_trainers.methods.comparators.adversarial.judged import Judged, Predicted, masked_mean
from rml_trainers.methods.method import MethodContext
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.scoring.metrics import confusion_matrix, most_likely
from rml_trainers.settings.contract import CheckedRun, Labeller, MethodConfig
from rml_trainers.students.losses import (
    labelled_cross_entropy,
    log_softmax,
    of_class,
    valid_counts,
    weighted_cross_entropy,
)

NUM_GROUPS = 8
"""Of the corrector's group normalisation (ours)."""
DILATIONS = (2, 4, 8)
"""Of the corrector's convolutions at a quarter of the resolution (ours)."""


@configuration
class EcsConfig(MethodConfig):
    """L = L_s + λ_r · CE("correct", c(p_l, x_l)) + weight · λ_u · mean w · CE(ŷ, p_u).

    p: the student's probabilities, c: the corrector. a = argmax c(p_u, x_u), w = max c(p_u, x_u);
    ŷ = argmax p_u where a = "correct", else a; ŷ and w have no gradient. L_c = CE(a*, c(p_l, x_l)),
    a* = "correct" where argmax p_l = y_l, else y_l. Means are over the pixels with a label, and
    over those that are image. The split into these terms is the authors'; all forms and all values
    are ours (see the beginning of this file).
    """

    num_students: ClassVar[int] = 1
    labeller: ClassVar[Labeller] = "students"
    num_strong_views: ClassVar[int] = 0
    name: Literal["ecs"] = "ecs"
    regulariser_weight: float = 0.01
    """λ_r (ours: what `adv_ssl` has for the term of this kind)."""
    weight: float = 1.0
    """λ_u (ours)."""
    correction_start: int = 5000
    """Steps of the stage before ŷ teaches (ours: as `adv_ssl`). In the first stage the corrector
    has learnt little until then. It is kept from stage to stage, but the count begins anew in each:
    from the second stage on, this is a pause in which a corrector that has learnt goes unheard."""
    corrector_lr: float = 1e-3
    """Of the corrector, Adam with poly 0.9 (ours)."""
    corrector_width: int = 64
    """Channels of the corrector's first map; all others have twice as many (ours)."""

    def __post_init__(self) -> None:
        for name in ("regulariser_weight", "weight"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "zero or more")
        start = self.correction_start
        require(start >= 0, "correction_start", start, "zero or more")
        lr = self.corrector_lr
        require(lr > 0, "corrector_lr", lr, "a positive number")
        width = self.corrector_width
        fits = width > 0 and width % NUM_GROUPS == 0
        require(fits, "corrector_width", width, f"a positive multiple of {NUM_GROUPS}")

    def strong_view(self, noise: NoiseConfig) -> StrongView:
        """None: a batch of any size can be shared, because nothing is mixed."""
        return StrongView()

    def check(self, run: CheckedRun) -> None:
        super().check(run)
        shortest = min(run.schedule.stage_steps, default=0)
        start = self.correction_start
        wanted = (
            f"less than the shortest of schedule.stage_steps, {shortest}, or unlabelled images "
            "teach nothing there"
        )
        require(start < shortest or shortest == 0, "method.correction_start", start, wanted)


class Corrector(nn.Module):
    """From class probabilities and the image to one of K + 1 answers per pixel.

    [B, K, H, W], [B, 3, H, W] → logits [B, K + 1, H, W]: answer k < K says that the class is k,
    answer K that the most likely class is correct. 3×3 convolutions, two with stride 2, three
    dilated at the resolution that is left, each with group normalisation, which needs no other
    image; a linear classifier, upsampled (bilinear, corners on corners).
    """

    def __init__(self, num_classes: int, width: int) -> None:
        super().__init__()
        widths = (num_classes + 3, width, *[2 * width] * (1 + len(DILATIONS)))
        spacing = [(2, 1), (2, 1), *((1, dilation) for dilation in DILATIONS)]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(before, after, 3, stride, dilation, dilation, bias=False),
                    nn.GroupNorm(NUM_GROUPS, after),
                    nn.ReLU(inplace=True),
                )
                for (before, after), (stride, dilation) in zip(
                    pairwise(widths), spacing, strict=True
                )
            )
        )
        self.classifier = nn.Conv2d(2 * width, num_classes + 1, 1)

    def forward(self, prob: Tensor, images: Tensor) -> Tensor:
        logits = self.classifier(self.blocks(torch.cat([prob, images], dim=1)))
        size = (prob.shape[-2], prob.shape[-1])
        return functional.interpolate(logits, size=size, mode="bilinear", align_corners=True)


class ErrorCorrectingSupervision(Judged):
    """The student is to be told that it is correct; where it is not, the corrector's class teaches
    it."""

    config: EcsConfig
    judge_name: ClassVar[str] = "corrector"

    def __init__(self, config: EcsConfig, context: MethodContext) -> None:
        super().__init__(config, context, lr=config.corrector_lr)

    def build(self) -> nn.Module:
        return Corrector(self.num_classes, self.config.corrector_width)

    def student_loss(
        self, seen: Predicted, module: nn.Module, num_known: Tensor, num_inside: Tensor
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        supervised = labelled_cross_entropy(
            seen.log_prob, seen.label, num_known, self.context.labelled_loss
        )
        answer = log_softmax(module(seen.log_prob.exp(), seen.images))
        regulariser = masked_mean(-answer[:, self.num_classes], seen.known, num_known)
        with torch.no_grad():
            own = most_likely(seen.log_prob_unlabelled)
            label, certainty = self._corrected(seen, own, module)
            amended = masked_mean((label != own).float(), seen.inside, num_inside)
            certain = masked_mean(certainty, seen.inside, num_inside)
        taught = weighted_cross_entropy(
            seen.log_prob_unlabelled, label, None, certainty, num_inside
        )
        unsupervised = self.started(self.config.correction_start) * taught
        loss = supervised + self.config.regulariser_weight * regulariser
        scale = self.context.unsupervised_weight * self.config.weight
        scalars = {
            "loss_supervised_1": supervised,
            "loss_unsupervised_1": unsupervised,
            "loss_regulariser_1": regulariser,
            "amended": amended,
            "certainty": certain,
        }
        return loss + scale * unsupervised, scalars, label

    def _corrected(self, seen: Predicted, own: Tensor, module: nn.Module) -> tuple[Tensor, Tensor]:
        """ŷ, 255 where a crop overhangs its image, and w, [B_u, H, W] each.

        Args:
            own: argmax p_u.
            module: the corrector.
        """
        prob = module(seen.log_prob_unlabelled.exp(), seen.unlabelled).softmax(dim=1)
        certainty, answer = prob.max(dim=1)
        label = torch.where(answer == self.num_classes, own, answer)
        return torch.where(seen.inside, label, IGNORE_LABEL), certainty

    def judge_loss(self, seen: Predicted, module: nn.Module) -> Tensor:
        log_prob = log_softmax(module(seen.log_prob.exp(), seen.images))
        is_correct = most_likely(seen.log_prob) == seen.label
        right_answer = torch.where(
            is_correct, log_prob[:, self.num_classes], of_class(log_prob, seen.label)
        )
        (num_known,) = valid_counts(seen.known)
        return masked_mean(-right_answer, seen.known, num_known)

    def _monitor(self, label: Tensor, seen: Predicted, truth: Tensor) -> dict[str, Tensor]:
        """Of the labels as they are taught, and as they were before the corrector saw them."""
        found = super()._monitor(label, seen, truth)
        if found:
            own = torch.where(seen.inside, most_likely(seen.log_prob_unlabelled), IGNORE_LABEL)
            counts = confusion_matrix(own, truth, self.num_classes)
            found["pseudo_label_1_unrectified"] = counts
        return found
