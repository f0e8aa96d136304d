"""What one step trains on: crops of labelled and unlabelled images and the noise drawn for them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from rml_trainers.noise.input_noise import InputNoiseDraw

Move = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class LabelledCrops:
    """γ(x_l) and y_l."""

    image: Tensor
    """uint8 [B, 3, H, W] RGB."""
    label: Tensor
    """uint8 [B, H, W]; 255 is ignored, padding included."""

    def map(self, move: Move) -> "LabelledCrops":
        return LabelledCrops(image=move(self.image), label=move(self.label))

    def to(self, device: torch.device, non_blocking: bool = False) -> "LabelledCrops":
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))


@dataclass(frozen=True, kw_only=True)
class UnlabelledCrops:
    """γ(x_u), shared by all students."""

    image: Tensor
    """uint8 [B, 3, H, W] RGB."""
    inside: Tensor
    """bool [B, H, W]; False where the crop overhangs the image."""
    truth: Tensor
    """uint8 [B, H, W], 255 unknown; only ever used to measure pseudo labels."""
    initial: tuple[Tensor, ...] = ()
    """Stored p⁰ of each network at its own cells: float32 [B, K, h, w]; empty when the method
    stores none."""

    def map(self, move: Move) -> "UnlabelledCrops":
        return UnlabelledCrops(
            image=move(self.image),
            inside=move(self.inside),
            truth=move(self.truth),
            initial=tuple(move(prob) for prob in self.initial),
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What one worker trains on in a step."""

    labelled: tuple[LabelledCrops, ...]
    """One per student: they see the labelled images in different orders, unless the method has them
    share."""
    unlabelled: UnlabelledCrops | None
    noise: tuple[InputNoiseDraw, ...]
    """Strong views of each student, as many after one another as the method says
    (`num_strong_views`); drawn on the CPU, applied on the device."""

    def to(self, device: torch.device, non_blocking: bool = False) -> "Batch":
        """Copy to a device; with `non_blocking` and pinned memory nothing waits."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=non_blocking)

        noise = tuple(draw.to(device, non_blocking=non_blocking) for draw in self.noise)
        return self._map(move, noise)

    def pin_memory(self) -> "Batch":
        """Copy into page-locked memory, from which a GPU can copy on its own."""
        return self._map(
            lambda tensor: tensor.pin_memory(), tuple(draw.pin_memory() for draw in self.noise)
        )

    def _map(self, move: Move, noise: tuple[InputNoiseDraw, ...]) -> "Batch":
        unlabelled = self.unlabelled.map(move) if self.unlabelled is not None else None
        return Batch(
            labelled=tuple(crops.map(move) for crops in self.labelled),
            unlabelled=unlabelled,
            noise=noise,
        )
