"""Scores networks by a protocol: batched, on the device, one all-reduce and one read-back per
evaluation."""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from rml_trainers.data.loading.whole_images import ScoredImages, scored_images
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.runtime.distributed import rank, sum_over_workers, world_size
from rml_trainers.scoring.image_passes import INFERENCES, ScoredNetwork
from rml_trainers.scoring.metrics import confusion_matrix, most_likely, scores_of
from rml_trainers.scoring.protocols import data_protocol
from rml_trainers.scoring.score import Evaluation, ScoredSubset
from rml_trainers.settings.contract import Labeller
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.students.learners import Learners, to_unit_range


@torch.no_grad()
def evaluate(
    learners: Learners,
    data: PreparedData,
    evaluation: EvaluationConfig,
    holdout: Sequence[str] = (),
) -> tuple[Evaluation, ...]:
    """Score every network of `evaluation.networks` as it is now, single scale.

    Workers share the images; one all-reduce joins their confusion matrices, and they are read back
    once.

    Args:
        holdout: labelled training images kept out of training, scored too.
    Returns:
        The scores on the validation images in the order of the networks, then those on the
        hold-out.
    """
    networks = evaluation.networks
    subsets: list[ScoredSubset] = ["val", "holdout"] if holdout else ["val"]
    shape = (len(subsets), len(networks), data.num_classes, data.num_classes)
    counts = torch.zeros(shape, dtype=torch.int64, device=learners.device)
    for of_subset, subset in zip(counts, subsets, strict=True):
        for images in _images(data, evaluation, subset, holdout):
            _count(of_subset, images.to(learners.device), learners, evaluation)
    sum_over_workers(counts)
    images_and_size = data_protocol(data.name, data.size_px, evaluation)
    return tuple(
        _evaluation(data, subset, network, f"{images_and_size}/{network}/last", confusion)
        for subset, of_subset in zip(subsets, counts.cpu().numpy(), strict=True)
        for network, confusion in zip(networks, of_subset, strict=True)
    )


def _images(
    data: PreparedData, evaluation: EvaluationConfig, subset: ScoredSubset, holdout: Sequence[str]
) -> Iterator[ScoredImages]:
    return scored_images(
        data,
        "val" if subset == "val" else "train",
        data.names("val") if subset == "val" else holdout,
        evaluation.batch,
        canvas_px=evaluation.canvas_px,
        rank=rank(),
        world_size=world_size(),
    )


def _count(
    counts: Tensor, images: ScoredImages, learners: Learners, evaluation: EvaluationConfig
) -> None:
    """Add a batch to the confusion matrices [N, K, K] of the wanted networks. Each network runs
    once."""
    networks = evaluation.networks
    num_classes = counts.shape[-1]
    pixels = to_unit_range(images.image)
    ensemble: Tensor | None = None
    labellers: tuple[tuple[Labeller, str], ...] = (("students", "student"), ("teachers", "teacher"))
    for labeller, role in labellers:
        for number in range(learners.num_students):
            name = f"{role}_{number + 1}"
            in_ensemble = labeller == "teachers" and "ensemble" in networks
            if name not in networks and not in_ensemble:
                continue
            scores = INFERENCES[evaluation.inference](
                _scored(learners, labeller, number), pixels, images.inside, evaluation
            )
            if name in networks:
                counts[_place(networks, name)] += confusion_matrix(
                    most_likely(scores), images.label, num_classes
                )
            if in_ensemble:
                prob = scores.softmax(dim=1)
                ensemble = prob if ensemble is None else ensemble.add_(prob)
    if ensemble is not None:
        counts[_place(networks, "ensemble")] += confusion_matrix(
            most_likely(ensemble), images.label, num_classes
        )


def _place(networks: Sequence[str], name: str) -> int:
    return list(networks).index(name)


def _scored(learners: Learners, labeller: Labeller, number: int) -> ScoredNetwork:
    network = learners.student(number) if labeller == "students" else learners.teacher(number)

    def forward(images: Tensor) -> Tensor:
        logits = learners.predict_one(labeller, number, images).logits
        return network.upsample(logits, (images.shape[-2], images.shape[-1])).float()

    return ScoredNetwork(forward, network.zero_colour)


def _evaluation(
    data: PreparedData,
    subset: ScoredSubset,
    network: str,
    protocol: str,
    confusion: npt.NDArray[np.int64],
) -> Evaluation:
    return Evaluation(
        protocol=protocol,
        network=network,
        scores=scores_of(confusion, data.class_names),
        confusion=confusion,
        subset=subset,
    )
