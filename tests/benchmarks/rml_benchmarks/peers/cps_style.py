"""A step structured like TorchSemiSeg's cross pseudo supervision with CutMix (Chen et al.,
2021)."""

from typing import ClassVar

import torch

from rml_benchmarks.peers.script import Loaded, Script, cross_entropy
from rml_trainers import IGNORE_LABEL
from rml_trainers.methods.comparators.cps import CpsConfig


class CpsStyle(Script):
    """Eight forwards, none batched; full-resolution logits are mixed and kept; six values read
    back.

    Same loss as `cps` without `on_labelled`. Its script keeps no mean teachers.
    """

    style: ClassVar[str] = "CPS-style"

    def step(self, loaded: Loaded, progress: float) -> float:
        method = self.trainer.config.method
        assert isinstance(method, CpsConfig)
        own = loaded.weak
        other = loaded.weak[loaded.partner]
        pasted = loaded.pasted[0].unsqueeze(1).float()
        with torch.no_grad():
            labels = []
            for student in self.students:
                mixed = (
                    self.predict(student, own) * (1 - pasted)
                    + self.predict(student, other) * pasted
                )
                label = mixed.max(dim=1)[1].long()
                inside = torch.where(loaded.pasted[0], loaded.inside[loaded.partner], loaded.inside)
                label[~inside] = IGNORE_LABEL
                labels.append(label)
        images = own * (1 - pasted) + other * pasted
        one, two = (self.predict(student, images) for student in self.students)
        taught_one = cross_entropy(one, labels[1])
        taught_two = cross_entropy(two, labels[0])
        supervised = []
        for student, (x, y) in zip(self.students, loaded.labelled, strict=True):
            supervised.append(cross_entropy(self.predict(student, x), y))
        weight = method.weight * self.trainer.config.unsupervised_weight
        taught = (taught_one + taught_two) * weight
        loss = supervised[0] + supervised[1] + taught
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.set_rates(progress)
        for optimiser in self.optimisers:
            optimiser.step()
        values = (*supervised, taught_one, taught_two, taught, loss)
        return [value.item() for value in values][-1]
