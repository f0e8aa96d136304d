"""How near two networks have come to each other: total variation distance of their soft outputs
(paper, Fig. 2)."""

import torch
from torch import Tensor
from torch.nn import functional

from rml_trainers.data.loading.loaders import whole_images
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.runtime.distributed import rank, sum_over_workers, world_size
from rml_trainers.settings.contract import Labeller
from rml_trainers.students.learners import Learners, to_unit_range

_PAIRS: tuple[Labeller, ...] = ("students", "teachers")


def total_variation(logits_1: Tensor, logits_2: Tensor) -> Tensor:
    """½ Σ_k |p_1k − p_2k| at every cell: float32 [B, h, w], 0 where the outputs agree, 1 where they
    share no class.

    Args:
        logits_1, logits_2: [B, K, h, w]. Where two architectures have maps of different sizes, the
            probabilities are compared at the smaller height and width.
    """
    prob_1, prob_2 = (logits.float().softmax(dim=1) for logits in (logits_1, logits_2))
    cells = (min(prob_1.shape[2], prob_2.shape[2]), min(prob_1.shape[3], prob_2.shape[3]))
    return (_at(prob_1, cells) - _at(prob_2, cells)).abs().sum(dim=1) / 2


def _at(prob: Tensor, cells: tuple[int, int]) -> Tensor:
    if (prob.shape[2], prob.shape[3]) == cells:
        return prob
    return functional.interpolate(prob, size=cells, mode="bilinear", align_corners=True)


def coupling_scalars(
    labeller: Labeller, learners: Learners, data: PreparedData, batch_size: int
) -> dict[str, float]:
    """Distances over the training set where there are two networks to compare.

    `coupling_tv_train_set` is of the method's labelling networks, in the warm-up too, so that the
    curve is of one quantity. `…_students` and `…_teachers` compare the same pair in all methods: an
    average over steps differs less than what it averages, so mean teachers that label lie nearer to
    each other than students that do.
    """
    if learners.num_students != 2:
        return {}
    students, teachers = train_set_coupling(learners, data, batch_size)
    key = "coupling_tv_train_set"
    labellers = students if labeller == "students" else teachers
    return {key: labellers, f"{key}_students": students, f"{key}_teachers": teachers}


@torch.no_grad()
def train_set_coupling(
    learners: Learners, data: PreparedData, batch_size: int
) -> tuple[float, float]:
    """Mean total variation over all cells of all training images, of the students and of the mean
    teachers.

    Without noise or augmentation. Workers share the images; one all-reduce and one read-back. Every
    worker gets the same numbers.
    """
    sums = torch.zeros(3, dtype=torch.float64, device=learners.device)
    for _, images in whole_images(data, data.names("train"), batch_size, rank(), world_size()):
        unit = to_unit_range(images.to(learners.device))
        for place, labeller in enumerate(_PAIRS):
            first, second = learners.predict(labeller, unit)
            distance = total_variation(first.logits, second.logits)
            sums[place] += distance.sum(dtype=torch.float64)
        sums[2] += distance.numel()
    students, teachers, num_cells = sum_over_workers(sums).tolist()
    return students / num_cells, teachers / num_cells
