"""A step structured like UniMatch's code (Yang et al., 2023), with the mean teacher of its second
version."""

from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from rml_benchmarks.peers.script import Loaded, Script, cross_entropy
from rml_trainers.methods.comparators.unimatch import UniMatchConfig
from rml_trainers.networks.network import SegmentationNetwork


class UniMatchStyle(Script):
    """Three forwards; evaluation and training mode in turn; eight assignments by boolean mask,
    three values read back before the backward pass; the mean teacher parameter by parameter.

    Same loss as `unimatch`. The barrier before its backward pass is left out: in one process there
    is nobody to wait for.
    """

    style: ClassVar[str] = "UniMatch-style"

    def step(self, loaded: Loaded, progress: float) -> float:
        method = self.trainer.config.method
        (student,) = self.students
        (optimiser,) = self.optimisers
        assert isinstance(method, UniMatchConfig)
        weak = loaded.weak
        (x, y) = loaded.labelled[0]
        with torch.no_grad():
            student.eval()
            logits_partner = self.predict(student, weak[loaded.partner]).detach()
            of_partner = (logits_partner.argmax(dim=1), logits_partner.softmax(dim=1).max(dim=1)[0])
        strong = [
            self._pasted(images, mask, loaded)
            for images, mask in zip(loaded.strong, loaded.pasted, strict=True)
        ]
        student.train()
        logits, perturbed = self._with_perturbed_feature(
            student, torch.cat((x, weak)), method.channel_dropout
        )
        on_labelled, on_weak = torch.split(logits, [len(x), len(weak)])
        on_strong = self.predict(student, torch.cat(strong)).chunk(2)
        on_weak = on_weak.detach()
        own = (on_weak.argmax(dim=1), on_weak.softmax(dim=1).max(dim=1)[0])
        supervised = cross_entropy(on_labelled, y)
        taught = [_masked_loss(perturbed[len(x) :], *own, loaded.inside, method.threshold)]
        for prediction, mask in zip(on_strong, loaded.pasted, strict=True):
            label = own[0].clone()
            confidence = own[1].clone()
            inside = loaded.inside.clone()
            label[mask] = of_partner[0][mask]
            confidence[mask] = of_partner[1][mask]
            inside[mask] = loaded.inside[loaded.partner][mask]
            taught.append(_masked_loss(prediction, label, confidence, inside, method.threshold))
        consistency = (
            method.feature_weight * taught[0] + method.strong_weight * (taught[1] + taught[2]) / 2
        )
        loss = (supervised + self.trainer.config.unsupervised_weight * consistency) / 2
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.set_rates(progress)
        optimiser.step()
        kept = (own[1] >= method.threshold).float().mean()
        values: list[float] = [value.item() for value in (supervised, *taught, kept, loss)]
        self._move_teacher()
        return values[-1]

    @staticmethod
    def _pasted(images: Tensor, mask: Tensor, loaded: Loaded) -> Tensor:
        mixed = images.clone()
        everywhere = mask.unsqueeze(1).expand(images.shape)
        mixed[everywhere] = images[loaded.partner][everywhere]
        return mixed

    def _with_perturbed_feature(
        self, student: SegmentationNetwork, images: Tensor, dropout: float
    ) -> tuple[Tensor, Tensor]:
        """Logits of all images, and of all their perturbed features, at the resolution of the
        images."""
        output = self.forward(student, images)
        size = (images.shape[-2], images.shape[-1])
        feature = functional.dropout2d(output.feature, dropout)
        return student.upsample(output.logits, size), student.upsample(
            self.classify(student, feature).logits, size
        )

    @torch.no_grad()
    def _move_teacher(self) -> None:
        decay = self.trainer.config.teacher.ema_decay
        (teacher,) = self.teachers
        (student,) = self.students
        for mean, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
            mean.copy_(mean * decay + parameter.detach() * (1 - decay))
        for copied, buffer in zip(teacher.buffers(), student.buffers(), strict=True):
            copied.copy_(buffer.detach())


def _masked_loss(
    logits: Tensor, label: Tensor, confidence: Tensor, inside: Tensor, threshold: float
) -> Tensor:
    """Sum over confident pixels inside the image ÷ the number of pixels inside, which is read
    back."""
    loss = functional.cross_entropy(logits, label, reduction="none")
    loss = loss * ((confidence >= threshold) & inside)
    return loss.sum() / inside.sum().item()
