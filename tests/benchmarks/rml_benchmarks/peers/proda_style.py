"""A step of ours structured like ProDA's code (Zhang et al., 2021), from which the rectification
comes."""

from typing import ClassVar

import torch
from torch import Tensor

from rml_benchmarks.peers.script import Kernels, Loaded, Script, cross_entropy
from rml_trainers import IGNORE_LABEL
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.training.trainer import Trainer


class ProdaStyle(Script):
    """Loops over classes for the distances and over images and classes for the prototypes, counts
    read back; one forward and backward for labelled images and one for unlabelled ones; mean
    teachers by cloning.

    Same loss, prototypes and mean teachers as `rml` with Euclidean distances, stored p⁰ and a
    uniform mixture.
    """

    style: ClassVar[str] = "ProDA-style"

    def __init__(self, trainer: Trainer, dtype: torch.dtype, kernels: Kernels = "our") -> None:
        super().__init__(trainer, dtype, kernels)
        method = trainer.config.method
        assert isinstance(method, RmlConfig)
        assert (method.distance, method.mixture, method.feature) == (
            "euclidean",
            "uniform",
            "backbone",
        )
        self.method = method
        kept = trainer.method.tensors()
        names = [f"rectifier/{i + 1}" for i in range(len(self.teachers))]
        self.prototypes = [kept[f"{name}.prototypes"].clone() for name in names]
        self.seen = [kept[f"{name}.seen"].clone() for name in names]

    def step(self, loaded: Loaded, progress: float) -> float:
        self.set_rates(progress)
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        total = 0.0
        for student, (x, y) in zip(self.students, loaded.labelled, strict=True):
            supervised = cross_entropy(self.predict(student, x), y)
            supervised.backward()  # type: ignore[no-untyped-call]
            total += supervised.item()
        with torch.no_grad():
            outputs = [self.forward(teacher, loaded.weak) for teacher in self.teachers]
            labels = [self._label(i, output, loaded) for i, output in enumerate(outputs)]
        for i, student in enumerate(self.students):
            taught = self._taught(student, i, labels, loaded)
            taught.backward()  # type: ignore[no-untyped-call]
            total += taught.item()
        for optimiser in self.optimisers:
            optimiser.step()
        with torch.no_grad():
            for i, output in enumerate(outputs):
                self._move_prototypes(i, output)
            self._move_teachers()
        return total

    def _label(self, number: int, output: SegmentationOutput, loaded: Loaded) -> Tensor:
        """Class of every pixel after rectification."""
        confidence = self._confidence(number, output.feature.float())
        scores = confidence.log() + loaded.initial[number].clamp(min=1e-4).log()
        size = (loaded.weak.shape[-2], loaded.weak.shape[-1])
        label = self.students[number].upsample(scores, size).max(dim=1)[1].long()
        label[~loaded.inside] = IGNORE_LABEL
        return label

    def _confidence(self, number: int, feature: Tensor) -> Tensor:
        """ω [B, K, h, w], one class after the other."""
        batch, _, height, width = feature.shape
        prototypes = self.prototypes[number]
        seen = self.seen[number]
        distance = -torch.ones(batch, len(prototypes), height, width, device=feature.device)
        for k in range(len(prototypes)):
            distance[:, k] = torch.norm(
                prototypes[k].reshape(-1, 1, 1).expand(-1, height, width) - feature, 2, dim=1
            )
        for k in range(len(prototypes)):
            if not seen[k].item():
                distance[:, k] = distance[:, seen].mean(dim=1)
        nearest = distance.min(dim=1, keepdim=True)[0]
        return torch.softmax(-(distance - nearest) / self.method.temperature, dim=1).clamp(
            min=1e-38
        )

    def _taught(
        self, student: SegmentationNetwork, number: int, labels: list[Tensor], loaded: Loaded
    ) -> Tensor:
        """Both mean teachers' cross entropies on the mixed strong views of one student."""
        pasted = loaded.pasted[number]
        partner = loaded.partner
        images = loaded.strong[number].clone()
        everywhere = pasted.unsqueeze(1).expand(images.shape)
        images[everywhere] = loaded.strong[number][partner][everywhere]
        logits = self.predict(student, images)
        total = logits.new_zeros(())
        for label in labels:
            mixed = label.clone()
            mixed[pasted] = label[partner][pasted]
            total = total + cross_entropy(logits, mixed)
        return total

    def _move_prototypes(self, number: int, output: SegmentationOutput) -> None:
        """Eq. 10 and 11, one image and class after the other."""
        predicted = output.logits.argmax(dim=1)
        feature = output.feature.float()
        prototypes = self.prototypes[number]
        momentum = self.method.prototype_momentum
        for k in range(len(prototypes)):
            vectors = []
            for b in range(feature.shape[0]):
                member = (predicted[b] == k).float()
                if member.sum().item() < self.method.min_cells:
                    continue
                vectors.append((feature[b] * member).sum(dim=(1, 2)) / member.sum())
            if not vectors:
                continue
            mean = torch.stack(vectors).mean(dim=0)
            if self.seen[number][k].item():
                mean = momentum * prototypes[k] + (1 - momentum) * mean
            prototypes[k] = mean
            self.seen[number][k] = True

    def _move_teachers(self) -> None:
        decay = self.trainer.config.teacher.ema_decay
        for teacher, student in zip(self.teachers, self.students, strict=True):
            for mean, parameter in zip(teacher.parameters(), student.parameters(), strict=True):
                mean.data = mean.data.clone() * decay + parameter.data.clone() * (1 - decay)
            for copied, buffer in zip(teacher.buffers(), student.buffers(), strict=True):
                copied.data = buffer.data.clone()
