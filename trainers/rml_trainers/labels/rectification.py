"""Pseudo label self-rectification: one network's prototypes re-weigh its own soft labels (paper,
4.2)."""

from typing import Literal, Protocol

import torch
from torch import Tensor

from rml_trainers import IGNORE_LABEL
from rml_trainers.labels.prototypes import (
    class_means,
    log_confidence,
    mean_entropy,
    mean_of_cells,
    move_prototypes,
    prototype_distances,
)
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.runtime.distributed import mean_over_workers, sum_over_workers, world_size


class RectifierSettings(Protocol):
    """How a rectifier works; what each setting means stands in `RmlConfig`."""

    @property
    def feature(self) -> Literal["backbone", "projected"]: ...

    @property
    def temperature(self) -> float: ...

    @property
    def distance(self) -> Literal["euclidean", "relative"]: ...

    @property
    def prototype_momentum(self) -> float: ...

    @property
    def min_cells(self) -> int: ...

    @property
    def mixture(self) -> Literal["uniform", "estimated", "labelled"]: ...

    @property
    def prototypes_from(self) -> Literal["predictions", "truth"]: ...


class Rectifier:
    """Prototypes η [K, D], which of them exist, and mixture weights π [K] of one network."""

    def __init__(self, settings: RectifierSettings, num_classes: int, device: torch.device) -> None:
        self.settings = settings
        self.num_classes = num_classes
        self._prototypes: Tensor | None = None
        self._seen = torch.zeros(num_classes, dtype=torch.bool, device=device)
        self._mixture = torch.full((num_classes,), 1 / num_classes, device=device)
        self._sums: Tensor | None = None
        self._counts = torch.zeros(num_classes, device=device)
        self._cells = torch.zeros(num_classes, device=device)

    def feature(self, output: SegmentationOutput) -> Tensor:
        """z of Eq. 9: [B, D, h, w] float32."""
        if self.settings.feature == "projected":
            assert output.projected is not None, "checked by the configuration"
            return output.projected.float()
        return output.feature.float()

    def gather(self, output: SegmentationOutput, truth: Tensor | None = None) -> None:
        """Add a batch of whole images to the initial prototypes (Eq. 10).

        Args:
            truth: int64 [B, h, w], true classes of the cells; 255 where there is none, and on every
                cell of an image whose predictions count. None: predictions count everywhere.
        """
        predicted = output.logits.argmax(dim=1)
        member = predicted
        if truth is not None:
            known = (truth != IGNORE_LABEL).any(dim=(1, 2), keepdim=True)
            member = torch.where(known, truth, predicted)
        sums, counts = class_means(
            self.feature(output), member, self.num_classes, self.settings.min_cells
        )
        self._sums = sums if self._sums is None else self._sums.add_(sums)
        self._counts += counts
        classes = torch.arange(self.num_classes, device=predicted.device)
        self._cells += (predicted.unsqueeze(-1) == classes).float().sum((0, 1, 2))

    def begin(self, labelled_pixels: Tensor | None = None) -> None:
        """Turn what was gathered into prototypes and, for `mixture: estimated`, the first mixture
        weights.

        Args:
            labelled_pixels: [K], pixels of each class in the labelled images, for `mixture:
                labelled`.
        """
        assert self._sums is not None, "gather comes first"
        self._prototypes = self._sums / self._counts.clamp(min=1).unsqueeze(1)
        self._seen = self._counts > 0
        if self.settings.mixture == "estimated":
            self._mixture = self._cells / self._cells.sum()
        elif self.settings.mixture == "labelled":
            assert labelled_pixels is not None, "given where the settings ask for it"
            shares = labelled_pixels.to(self._mixture)
            self._mixture = shares / shares.sum().clamp(min=1)

    def rectify(
        self, output: SegmentationOutput, log_initial: Tensor, inside: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """log ω + log p⁰ (Eq. 6 in the log domain), and how saturated ω is and how many cells it
        changed.

        Args:
            log_initial: [B, K, h, w], log p⁰ at feature resolution.
            inside: [B, h, w] bool, False for cells in the padding of crops that overhang their
                images, which have no part in anything but their own scores; None: there are none.
        Returns:
            log-scores [B, K, h, w], right up to a constant per cell; scalars `omega_entropy` (0
            saturated, 1 without information) and `rectified` (fraction of cells whose class
            changed).
        """
        assert self._prototypes is not None, "begin comes first"
        distance = prototype_distances(self.feature(output), self._prototypes, self._seen)
        log_mixture = self._mixture.clamp(min=1e-6).log()
        log_omega = log_confidence(
            distance, log_mixture, self.settings.temperature, self.settings.distance, inside
        )
        scores = log_omega + log_initial
        if self.settings.mixture == "estimated":
            self._move_mixture(log_omega, inside)
        changed = scores.argmax(1) != log_initial.argmax(1)
        return scores, {
            "omega_entropy": mean_entropy(log_omega, inside),
            "rectified": mean_of_cells(changed.float(), inside),
        }

    def update(self, output: SegmentationOutput, inside: Tensor | None = None) -> None:
        """Eq. 11 with the batch of all workers: one all-reduce of K × (D + 1) numbers. `inside` as
        of `rectify`."""
        assert self._prototypes is not None
        predicted = output.logits.argmax(dim=1)
        if inside is not None:
            predicted = torch.where(inside, predicted, IGNORE_LABEL)
        sums, counts = class_means(
            self.feature(output), predicted, self.num_classes, self.settings.min_cells
        )
        joint = sum_over_workers(torch.cat([sums, counts.unsqueeze(1)], dim=1))
        move_prototypes(
            self._prototypes,
            self._seen,
            joint[:, :-1],
            joint[:, -1],
            self.settings.prototype_momentum,
        )

    def _move_mixture(self, log_omega: Tensor, inside: Tensor | None) -> None:
        if inside is None:
            frequency = log_omega.exp().mean((0, 2, 3))
            if world_size() > 1:
                frequency = mean_over_workers(frequency)
        else:
            omega = torch.where(inside.unsqueeze(1), log_omega.exp(), 0)
            sums = torch.cat([omega.sum((0, 2, 3)), inside.sum().float().unsqueeze(0)])
            joint = sum_over_workers(sums)
            # Where every cell is padding, π stays.
            frequency = torch.where(joint[-1] > 0, joint[:-1] / joint[-1], self._mixture)
        self._mixture = torch.lerp(frequency, self._mixture, self.settings.prototype_momentum)

    def tensors(self) -> dict[str, Tensor]:
        """What exact resume needs."""
        assert self._prototypes is not None
        return {"prototypes": self._prototypes, "seen": self._seen, "mixture": self._mixture}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._prototypes = tensors["prototypes"].clone()
        self._seen = tensors["seen"].clone()
        self._mixture = tensors["mixture"].clone()
