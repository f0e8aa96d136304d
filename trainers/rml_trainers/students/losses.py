"""Losses over pixels: each a mean over the valid pixels of all workers together, 0 when none is
valid."""

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.runtime.distributed import mean_over_workers
from rml_trainers.settings.optimisation import LabelledLossConfig


def valid_counts(*masks: Tensor) -> tuple[Tensor, ...]:
    """Number of true pixels of each mask (bool, any shape), over all workers and divided by their
    number.

    It is what a sum over pixels is divided by. Taken of the whole batch, before any of it is learnt
    from, the losses of its parts add up to the mean over all of it. One all-reduce, however many
    masks.
    """
    return mean_over_workers(torch.stack([mask.sum() for mask in masks]).float()).unbind()


def _mean(total: Tensor, valid: Tensor, count: Tensor | None) -> Tensor:
    """A sum over pixels divided by the count, or by the number of valid ones; 0 when there is
    none."""
    return total / (valid_counts(valid)[0] if count is None else count).clamp(min=1)


def hard_cross_entropy(log_prob: Tensor, label: Tensor, count: Tensor | None = None) -> Tensor:
    """Mean of −log p_y over the pixels whose label is not 255 (paper, Eq. 1 and 5).

    Args:
        log_prob: [B, K, H, W], log-softmax of the prediction.
        label: [B, H, W] int64, classes or 255.
        count: what to divide by (see `valid_counts`) where the mean is over more than the labels
            given: they are a part of the batch, or a pixel that a confidence threshold left without
            label counts with loss 0 (FixMatch, UniMatch).
    Returns:
        Scalar in the type of `log_prob`.
    """
    rows, classes = (
        (_rows(log_prob), label.reshape(-1)) if _in_rows(log_prob) else (log_prob, label)
    )
    total = functional.nll_loss(rows, classes, ignore_index=IGNORE_LABEL, reduction="sum")
    return _mean(total, label != IGNORE_LABEL, count)


def labelled_cross_entropy(
    log_prob: Tensor, label: Tensor, count: Tensor, settings: LabelledLossConfig
) -> Tensor:
    """L_s as the run wants it: the mean cross entropy, smoothed, or over hard pixels alone.

    With hard pixels each crop has the mean over those that it keeps, and weighs as much as it has
    valid pixels.

    Args:
        log_prob, label, count: as in `hard_cross_entropy`; the count is of the whole batch.
    """
    if settings.is_plain:
        return hard_cross_entropy(log_prob, label, count)
    valid = label != IGNORE_LABEL
    of_label = of_class(log_prob, label)
    per_pixel = -of_label
    if settings.label_smoothing > 0:
        share = settings.label_smoothing
        per_pixel = (1 - share) * per_pixel - share * log_prob.mean(dim=1)
    if settings.hard_examples is None:
        return _mean(torch.where(valid, per_pixel, 0).sum(), valid, count)
    prob = torch.where(valid, of_label.detach().exp(), 2.0).flatten(1)
    num_kept = max(1, round(settings.hard_fraction * prob.shape[1]))
    least = prob.kthvalue(num_kept, dim=1).values.clamp(min=settings.hard_examples)
    kept = (valid & (prob <= least[:, None]).view_as(valid)).flatten(1)
    of_crop = torch.where(kept, per_pixel.flatten(1), 0).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
    return _mean((of_crop * valid.flatten(1).sum(dim=1)).sum(), valid, count)


def soft_cross_entropy(
    log_prob: Tensor, prob: Tensor, valid: Tensor, count: Tensor | None = None
) -> Tensor:
    """Mean of −Σ_k q_k log p_k over the valid pixels (footnote 1 of the paper: the alternative to
    hard labels).

    Args:
        log_prob: [B, K, H, W], log-softmax of the prediction.
        prob: [B, K, H, W], the soft target q.
        valid: [B, H, W] bool.
        count: as in `hard_cross_entropy`.
    """
    per_pixel = -(prob * log_prob).sum(dim=1)
    total = torch.where(valid, per_pixel, 0).sum()
    return _mean(total, valid, count)


def weighted_cross_entropy(
    log_prob: Tensor,
    label: Tensor,
    prob: Tensor | None,
    weight: Tensor,
    count: Tensor | None = None,
) -> Tensor:
    """Sum of the cross entropies, each times its pixel's weight, divided by the number of pixels
    with a label.

    Args:
        log_prob: [B, K, H, W], log-softmax of the prediction.
        label: [B, H, W] int64, classes or 255: nothing to learn from.
        prob: [B, K, H, W], the soft target where there is one; None: the label.
        weight: [B, H, W].
        count: as in `hard_cross_entropy`.
    """
    valid = label != IGNORE_LABEL
    per_pixel = of_class(log_prob, label) if prob is None else (prob * log_prob).sum(dim=1)
    return _mean(-torch.where(valid, weight * per_pixel, 0).sum(), valid, count)


def squared_error(
    prob: Tensor, target: Tensor, valid: Tensor, count: Tensor | None = None
) -> Tensor:
    """Mean over the valid pixels of Σ_k (p_k − q_k)² (the consistency loss of French et al., 2020).

    Args:
        prob, target: [B, K, H, W] probabilities.
        valid: [B, H, W] bool.
        count: as in `hard_cross_entropy`.
    """
    per_pixel = (prob - target).square().sum(dim=1)
    total = torch.where(valid, per_pixel, 0).sum()
    return _mean(total, valid, count)


def confident_fraction(confidence: Tensor, valid: Tensor, threshold: float) -> Tensor:
    """Fraction of the valid pixels of all workers whose confidence [B, H, W] is at least the
    threshold."""
    confident = (valid & (confidence >= threshold)).sum().to(confidence.dtype)
    return mean_over_workers(confident) / mean_over_workers(valid.sum().to(confidence.dtype)).clamp(
        min=1
    )


def of_class(maps: Tensor, label: Tensor) -> Tensor:
    """[B, H, W] entries of [B, K, H, W] at the given classes; those of class 0 where the label is
    255."""
    known = torch.where(label == IGNORE_LABEL, 0, label)
    return maps.gather(1, known.unsqueeze(1)).squeeze(1)


def mutual_weight(
    log_prob: Tensor, label: Tensor, confidence: Tensor, gammas: tuple[float, float]
) -> Tensor:
    """DMT's weight of a pixel: how far the learning network agrees with another one's label (Feng
    et al., 2020).

    p(y)^γ1 where its class is the label y; where it is not, 0 if it is surer of its own class than
    the other network was of y, else p(y)^γ2.

    Args:
        log_prob: [B, K, H, W] of the network that learns.
        label, confidence: [B, H, W], class from the other network and its probability there.
        gammas: γ1 and γ2.
    Returns:
        [B, H, W] without gradient; of no meaning where the label is 255.
    """
    prob = log_prob.detach().exp()
    own_confidence, own_label = prob.max(dim=1)
    prob_label = of_class(prob, label)
    disagree = torch.where(own_confidence > confidence, 0.0, prob_label.pow(gammas[1]))
    return torch.where(own_label == label, prob_label.pow(gammas[0]), disagree)


def log_softmax(logits: Tensor) -> Tensor:
    """Log-softmax over classes in float32, whatever the precision of the network: [B, K, H, W]."""
    maps = logits.float()
    if _in_rows(maps):
        return functional.log_softmax(maps.permute(0, 2, 3, 1), dim=3).permute(0, 3, 1, 2)
    return functional.log_softmax(maps, dim=1)


FEWEST_CLASSES_IN_ROWS = 16
"""Float32 numbers that an AVX-512 instruction takes: a row below that is summed one class after the
other."""


def _in_rows(maps: Tensor) -> bool:
    """Whether the classes of a pixel lie side by side, and the CPU had better take them as a row.

    As maps torch copies them first. Upsampling, log-softmax, loss and gradient, one thread of an
    AMD EPYC, torch 2.15, November 2026: 5 ms instead of 9 with 19 classes, 7 instead of 27 with
    150, but 8 instead of 2 with 8.
    """
    enough = maps.device.type == "cpu" and maps.shape[1] >= FEWEST_CLASSES_IN_ROWS
    return enough and maps.is_contiguous(memory_format=torch.channels_last)


def _rows(maps: Tensor) -> Tensor:
    """[B, K, H, W], channels last → [B · H · W, K], a view."""
    return maps.permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
