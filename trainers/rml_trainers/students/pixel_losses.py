"""Losses at pixel resolution, a few images at a time, so that their upsampled maps never exist for
a whole batch.

A network's logits are small; upsampled to pixels in float32, with the log-softmax and two gradients
of the same size, they take 64 times as much at output stride 8. Here each chunk's loss is followed
at once by its gradient to the logits, which is small again and all that is kept for the backward
pass. Nothing is computed twice.

On a CPU the chunks also stay in the caches: 4 crops of 256×512 with 19 classes take 107 ms in
chunks of one image and 191 ms in one piece, 4 crops of 96×128 with 8 classes 3.9 and 3.3 ms
(forward and backward, channels last, one thread of an AMD EPYC, torch 2.15, November 2026).
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

LossesOf = Callable[[slice, Sequence[Tensor]], Sequence[Tensor]]
"""From the numbers of some images and their logits, [n, K, h, w] per network: scalars that are sums
over these images (see `losses.valid_counts`). The first is minimised, the others are only
reported."""


def pixel_losses(
    losses: LossesOf, logits: Sequence[Tensor], size_px: tuple[int, int], chunk_mib: int
) -> Tensor:
    """The losses summed over all images: [M], with a gradient through the first.

    Args:
        logits: [B, K, h, w] of every network that the losses need together.
        size_px: height and width that the losses upsample to.
        chunk_mib: how much the logits of the images of one chunk may take after upsampling, at
            least one image; 0 takes the whole batch and leaves the gradient to the backward pass,
            as plain code would.
    """
    if chunk_mib == 0:
        minimised, *reported = losses(slice(0, len(logits[0])), logits)
        return torch.stack([minimised, *(value.detach() for value in reported)])
    summed: Tensor = _AtOnce.apply(losses, images_at_once(logits, size_px, chunk_mib), *logits)
    return summed


def images_at_once(logits: Sequence[Tensor], size_px: tuple[int, int], chunk_mib: int) -> int:
    """Images whose upsampled float32 logits fit into `chunk_mib`, at least one."""
    bytes_per_image = 4 * size_px[0] * size_px[1] * sum(maps.shape[1] for maps in logits)
    return max(1, chunk_mib * 2**20 // bytes_per_image)


class _AtOnce(torch.autograd.Function):
    """Forward computes the losses and the gradient of the first one; backward only scales what is
    there."""

    @staticmethod
    def forward(ctx: Any, losses: LossesOf, num_images: int, *logits: Tensor) -> Tensor:
        gradients = [torch.empty_like(maps) for maps in logits]
        chunks: list[Tensor] = []
        for start in range(0, len(logits[0]), num_images):
            part = slice(start, start + num_images)
            with torch.enable_grad():
                leaves = [maps[part].detach().requires_grad_() for maps in logits]
                values = losses(part, leaves)
            for whole, gradient in zip(
                gradients, torch.autograd.grad(values[0], leaves), strict=True
            ):
                whole[part] = gradient
            chunks.append(torch.stack([value.detach() for value in values]))
        ctx.save_for_backward(*gradients)
        return torch.stack(chunks).sum(dim=0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, wanted: Tensor) -> tuple[Tensor | None, ...]:
        return None, None, *(gradient * wanted[0] for gradient in ctx.saved_tensors)
