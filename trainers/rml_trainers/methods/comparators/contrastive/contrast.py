"""The equations of a contrastive loss between cells of feature maps (Liu et al., ReCo, 2021; Wang
et al., U2PL, 2022).

Everything has a fixed shape and is found by masks, so that no number of cells is read back to the
host. A map of classes has 255 where a cell has none.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from rml_trainers import IGNORE_LABEL
from rml_trainers.errors import ConfigError
from rml_trainers.runtime.distributed import gathered, sum_over_workers


class RepresentationHead(nn.Module):
    """Two 3×3 convolutions, each with BatchNorm, ReLU and channel dropout, and a 1×1 convolution:
    [B, D, h, w] → [B, width, h, w].

    It always has the statistics of its batch, in its mean teacher too, and keeps none.
    """

    def __init__(self, in_width: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before in (in_width, width):
            layers += [
                nn.Conv2d(before, width, kernel_size=3, padding=1),
                nn.BatchNorm2d(width, track_running_stats=False),
                nn.ReLU(inplace=True),
                nn.Dropout2d(0.1),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, kernel_size=1))

    def forward(self, feature: Tensor) -> Tensor:
        maps: Tensor = self.layers(feature)
        return maps


def cells(maps: Tensor) -> Tensor:
    """Maps [B, D, h, w] as a list of cells [B · h · w, D], float32."""
    return maps.float().permute(0, 2, 3, 1).flatten(0, 2)


def nearest_cells(label: Tensor, size: tuple[int, int]) -> Tensor:
    """Classes [B, H, W] at a map's size [B, h, w]: those of the nearest pixels."""
    small = functional.interpolate(label.unsqueeze(1).float(), size=size, mode="nearest")
    return small.squeeze(1).to(label.dtype)


def members(classes: Tensor, num_classes: int) -> Tensor:
    """bool [N, K] of classes [N]: which cell is of which class; 255 is of none."""
    return classes.unsqueeze(1) == torch.arange(num_classes, device=classes.device)


def percentiles(values: Tensor, valid: Tensor, percents: Tensor) -> Tensor:
    """Values below which so many per cent of the valid ones of all workers lie, interpolated
    linearly; infinite where none is valid.

    Args:
        values: float32, any shape, the same in every worker.
        valid: bool, the same shape.
        percents: float64 [S] in [0, 100].
    """
    ordered = gathered(torch.where(valid, values, torch.inf).flatten()).sort().values
    last = (ordered.isfinite().sum() - 1).clamp(min=0)
    place = percents / 100 * last
    below = place.long()
    above = torch.minimum(below + 1, last)
    low = ordered[below]
    return torch.where(above > below, torch.lerp(low, ordered[above], (place - below).float()), low)


def ranks(prob: Tensor) -> Tensor:
    """int64 [N, K] from probabilities [N, K]: 0 for the most likely class of a cell."""
    return prob.argsort(dim=1, descending=True, stable=True).argsort(dim=1)


def check_ranks(low_rank: int, num_classes: int) -> None:
    """Raises ConfigError where no class can have a rank from `low_rank` on: cells of its own label
    alone would then never say what a class is not, and nothing would be contrasted all the run."""
    if low_rank >= num_classes:
        raise ConfigError(
            f"method.low_rank = {low_rank}: the data have {num_classes} classes, none of which has "
            f"a rank from {low_rank} on, so that nothing would be contrasted; take a smaller one, "
            "method.negatives = paper, or method.contrast_weight = 0"
        )


def negative_classes(
    prob: Tensor,
    known: Tensor,
    unreliable: Tensor,
    *,
    unlikely: tuple[int, int],
    of_own_class: bool,
) -> Tensor:
    """bool [N, K]: which cells say what class k is not (U2PL).

    Args:
        prob: [N, K], cells of labelled images first.
        known: class or 255 of those.
        unreliable: pseudo label of the others where it is unreliable, else 255.
        unlikely: first rank of an unlikely class, and the first that is too unlikely.
        of_own_class: as U2PL's code has it: only cells whose label is k, which excludes labelled
            images because those count where their label is another.
    """
    num_classes = prob.shape[1]
    (of_known, of_unknown) = torch.split(ranks(prob), [len(known), len(unreliable)])
    fits = (of_unknown >= unlikely[0]) & (of_unknown < unlikely[1])
    if of_own_class:
        nowhere = torch.zeros_like(of_known, dtype=torch.bool)
        return torch.cat([nowhere, fits & members(unreliable, num_classes)])
    mistaken = (of_known < unlikely[0]) & ~members(known, num_classes)
    mistaken = mistaken & (known != IGNORE_LABEL).unsqueeze(1)
    return torch.cat([mistaken, fits & (unreliable != IGNORE_LABEL).unsqueeze(1)])


def class_centres(rep: Tensor, classes: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Mean [K, D] of the cells [N, D] of every class over all workers, and which classes [K] have
    any."""
    member = members(classes, num_classes).float()
    sums = sum_over_workers(torch.cat([member.T @ rep, member.sum(dim=0).unsqueeze(1)], dim=1))
    count = sums[:, -1:]
    return sums[:, :-1] / count.clamp(min=1), count.squeeze(1) > 0


def draw_cells(classes: Tensor, num_classes: int, num: int) -> tuple[Tensor, Tensor]:
    """Numbers [K, num] of cells of each class, drawn with replacement, and which classes [K] have
    any; those of the others are of no meaning."""
    count = members(classes, num_classes).sum(dim=0).unsqueeze(1)
    order = classes.argsort(stable=True)  # 255 lies above every class
    first = count.cumsum(dim=0) - count
    share = torch.rand(num_classes, num, device=classes.device)
    place = torch.minimum((share * count).long(), count - 1).clamp(min=0)
    return order[(first + place).clamp(max=len(order) - 1)], count.squeeze(1) > 0


def contrastive_losses(
    anchors: Tensor, centres: Tensor, negatives: Tensor, temperature: float
) -> Tensor:
    """[K] mean over Q anchors of −log(e^(s⁺/T) / (e^(s⁺/T) + Σ e^(s⁻/T))), s the cosines.

    Args:
        anchors: [K, Q, D], with gradient.
        centres: [K, D], what they shall be like.
        negatives: [K, Q, M, D] of length 1, what each shall be unlike.
    """
    anchors = functional.normalize(anchors, dim=2)
    centres = functional.normalize(centres, dim=1)
    positive = torch.einsum("kqd,kd->kq", anchors, centres).unsqueeze(2)
    negative = torch.einsum("kqd,kqmd->kqm", anchors, negatives)
    scores = torch.cat([positive, negative], dim=2) / temperature
    return -functional.log_softmax(scores, dim=2)[..., 0].mean(dim=1)
