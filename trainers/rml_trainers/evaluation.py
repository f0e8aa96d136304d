"""Scores networks on the validation images: batched, on the device, one read-back per evaluation."""

import numpy as np
import torch
from torch import Tensor

from rml_trainers.config import RunConfig
from rml_trainers.data.cache import PreparedData
from rml_trainers.data.loaders import validation_batches
from rml_trainers.distributed import rank, sum_over_workers, world_size
from rml_trainers.learners import Labeller, Learners, to_unit_range
from rml_trainers.metrics import confusion_matrix, iou_by_class, mean_iou, pixel_accuracy
from rml_trainers.reporting import Evaluation


def protocol_id(data: PreparedData, network: str) -> str:
    """Name of what a score means: data and size, network, and moment.

    The moment is `last`: the network as it is at that step. Nothing is selected on the validation images.
    """
    size = "original" if data.size_px is None else f"{data.size_px[0]}x{data.size_px[1]}"
    return f"{data.name}-{size}/{network}/last"


@torch.no_grad()
def evaluate(learners: Learners, data: PreparedData, config: RunConfig) -> tuple[Evaluation, ...]:
    """Score every network of `config.evaluation.networks` at the prepared size, whole images, single scale.

    Workers share the images; one all-reduce joins their confusion matrices.
    """
    networks = config.evaluation.networks
    counts = torch.zeros(len(networks), data.num_classes, data.num_classes, dtype=torch.int64, device=learners.device)
    for crops in validation_batches(data, config.evaluation.batch, rank(), world_size()):
        crops = crops.to(learners.device)
        scores = _scores(learners, to_unit_range(crops.image), networks, crops.label.shape)
        for number, network in enumerate(networks):
            counts[number] += confusion_matrix(scores[network].argmax(1), crops.label, data.num_classes)
    sum_over_workers(counts)
    return tuple(
        _evaluation(data, network, confusion) for network, confusion in zip(networks, counts.cpu().numpy(), strict=True)
    )


def _scores(
    learners: Learners, images: Tensor, networks: tuple[str, ...], label_shape: torch.Size
) -> dict[str, Tensor]:
    """[B, K, H, W] scores of each wanted network at label resolution; each network runs once."""
    size = (label_shape[-2], label_shape[-1])
    scores: dict[str, Tensor] = {}
    wanted: tuple[tuple[Labeller, str], ...] = (("students", "student"), ("teachers", "teacher"))
    for labeller, prefix in wanted:
        with_ensemble = labeller == "teachers" and "ensemble" in networks
        if with_ensemble or any(network.startswith(prefix) for network in networks):
            for i, output in enumerate(learners.predict(labeller, images)):
                scores[f"{prefix}_{i + 1}"] = learners.student(i).upsample(output.logits, size).float()
    if "ensemble" in networks:
        teachers = [scores[f"teacher_{i + 1}"].softmax(dim=1) for i in range(learners.num_students)]
        scores["ensemble"] = torch.stack(teachers).mean(0)
    return scores


def _evaluation(
    data: PreparedData, network: str, confusion: "np.ndarray[tuple[int, int], np.dtype[np.int64]]"
) -> Evaluation:
    return Evaluation(
        protocol=protocol_id(data, network),
        network=network,
        miou=mean_iou(confusion),
        accuracy=pixel_accuracy(confusion),
        iou_by_class=dict(zip(data.class_names, iou_by_class(confusion).tolist(), strict=True)),
        confusion=confusion,
    )
