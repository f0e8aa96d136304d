"""The smallest method with a network of its own: a discriminator that tells predictions from
labels, patch by patch."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers.data.loading.loaders import Batch
from rml_trainers.methods.method import MethodContext, Stateless, StepResult, labelled_images
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners
from rml_trainers.students.losses import hard_cross_entropy, log_softmax
from rml_trainers.students.own_networks import OwnNetwork

ADVERSARIAL_WEIGHT = 0.1


class Adversarial(Stateless):
    """The student learns labels and to fool D; D learns to see through it."""

    def __init__(self, config: MethodConfig, context: MethodContext) -> None:
        super().__init__(config, context)
        seed_model_noise(context.seed, "initialise", "discriminator")
        layers = nn.Sequential(
            nn.Conv2d(self.num_classes, 4, kernel_size=4, stride=4),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2),
            nn.Conv2d(4, 1, 1),
        )
        self.discriminator = OwnNetwork(
            layers, lambda p: torch.optim.Adam(p, lr=1e-2, betas=(0.9, 0.99), fused=True)
        )

    def own_networks(self) -> dict[str, OwnNetwork]:
        return {"discriminator": self.discriminator}

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        part = labelled_images(batch.labelled[0])
        (output,) = learners.forward_students([part.images])
        size = (part.label.shape[-2], part.label.shape[-1])
        log_prob = log_softmax(learners.student(0).upsample(output.logits, size))
        with self.discriminator.fixed() as module:
            fooled = _told(module(log_prob.exp()), 1.0)
        known = torch.where(part.label == 255, 0, part.label)
        truth = functional.one_hot(known, self.num_classes).permute(0, 3, 1, 2).float()
        module = self.discriminator.module
        seen = _told(module(log_prob.detach().exp()), 0.0) + _told(module(truth), 1.0)
        loss = hard_cross_entropy(log_prob, part.label) + ADVERSARIAL_WEIGHT * fooled
        scalars = {"loss": loss.detach(), "loss_discriminator": seen.detach()}
        return StepResult(loss=loss, scalars=scalars, own_losses={"discriminator": seen})


def _told(score: Tensor, target: float) -> Tensor:
    return functional.binary_cross_entropy_with_logits(score, torch.full_like(score, target))
