"""How near two networks have come to each other: total variation distance of their soft outputs (paper, Fig. 2)."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.data.loaders import whole_images
from rml_trainers.distributed import rank, sum_over_workers, world_size
from rml_trainers.learners import Labeller, Learners, to_unit_range

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig
    from rml_trainers.data.cache import PreparedData


def total_variation(logits_1: Tensor, logits_2: Tensor) -> Tensor:
    """½ Σ_k |p_1k − p_2k| at every cell: float32 [B, h, w], 0 where the outputs agree, 1 where they share no class.

    Args:
        logits_1, logits_2: [B, K, h, w]. Where two architectures have maps of different sizes, the probabilities are
            compared at the smaller height and width.
    """
    prob_1, prob_2 = (logits.float().softmax(dim=1) for logits in (logits_1, logits_2))
    cells = (min(prob_1.shape[2], prob_2.shape[2]), min(prob_1.shape[3], prob_2.shape[3]))
    return (_at(prob_1, cells) - _at(prob_2, cells)).abs().sum(dim=1) / 2


def _at(prob: Tensor, cells: tuple[int, int]) -> Tensor:
    if (prob.shape[2], prob.shape[3]) == cells:
        return prob
    return functional.interpolate(prob, size=cells, mode="bilinear", align_corners=True)


def coupling_scalars(config: "RunConfig", method: object, learners: Learners, data: "PreparedData") -> dict[str, float]:
    """`coupling_tv_train_set` where the configuration wants it and there are two networks to compare, else nothing.

    Compared are the method's labelling networks, in the warm-up too, so that the curve is of one quantity.
    """
    if config.evaluation.monitor_coupling != "train_set" or learners.num_students != 2:
        return {}
    labeller: Labeller = getattr(method, "labeller", "teachers")
    return {"coupling_tv_train_set": train_set_coupling(learners, labeller, data, config.evaluation.batch)}


@torch.no_grad()
def train_set_coupling(learners: Learners, labeller: Labeller, data: "PreparedData", batch_size: int) -> float:
    """Mean total variation over all cells of all training images, without noise or augmentation.

    Workers share the images; one all-reduce and one read-back. Every worker gets the same number.
    """
    total, num_cells = torch.zeros(2, dtype=torch.float64, device=learners.device).unbind()
    for _, images in whole_images(data, data.names("train"), batch_size, rank(), world_size()):
        first, second = learners.predict(labeller, to_unit_range(images.to(learners.device)))
        distance = total_variation(first.logits, second.logits)
        total += distance.sum(dtype=torch.float64)
        num_cells += distance.numel()
    joint = sum_over_workers(torch.stack([total, num_cells]))
    return float(joint[0] / joint[1])
