"""The pass over all training images at the start of a stage: prototypes and stored soft labels p⁰
of every network."""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from rml_trainers import IGNORE_LABEL
from rml_trainers.data.loading.loaders import InitialLabels, whole_images
from rml_trainers.labels.cells import at_cells
from rml_trainers.labels.initial_labels import InitialLabelStore, InitialLabelWriter
from rml_trainers.labels.rectification import Rectifier
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.runtime.distributed import broadcast, rank
from rml_trainers.settings.contract import MethodConfig
from rml_trainers.students.learners import Learners, to_unit_range

PREFIX = "stage_teacher/"


class StageLabels:
    """p⁰ of one stage, as scratch files that can always be made again from the weights kept in the
    checkpoint.

    The files are too large to travel with every checkpoint (0.9 GB per network for Cityscapes); the
    weights of the networks that start the stage are small. Every worker makes its own copy: a pass
    costs each of them one evaluation of the training images, and no shared file system is needed.

    Args:
        method: says whose p⁰ it is (`labeller`), whether it is stored (`initial_label`), and in how
            many bits.
        with_labelled: whether labelled images outside the pool go through the networks, too, for
            prototypes.
    """

    def __init__(self, method: MethodConfig, *, with_labelled: bool = False) -> None:
        self._labeller = method.labeller
        self._stored = method.initial_label == "stage"
        self._bits = method.initial_label_bits
        self._with_labelled = with_labelled
        self._weights: dict[str, Tensor] = {}
        self.readers: tuple[InitialLabels, ...] = ()

    def begin(self, context: StageContext, rectifiers: Sequence[Rectifier] = ()) -> None:
        """Gather prototypes, if there are rectifiers, and write p⁰ with the networks as they are
        now."""
        learners = context.learners
        networks = learners.teachers if self._labeller == "teachers" else learners.students
        self._weights = _named_weights(networks) if self._stored else {}
        self._pass(context, networks, rectifiers)
        pixels = context.data.class_pixel_counts(context.split.labelled) if rectifiers else None
        for rectifier in rectifiers:
            rectifier.begin(None if pixels is None else torch.as_tensor(pixels))
            broadcast(rectifier.tensors().values())

    def resume(self, context: StageContext) -> None:
        """Open p⁰ again, or make it again when the scratch files are gone, damaged or of other
        weights."""
        if not self._stored:
            return
        networks = range(context.learners.num_students)
        paths = [self._path(context, i) for i in networks]
        if all(InitialLabelStore.matches(path, self._weights_hash()) for path in paths):
            self._open(context)
            return
        starting = copy.deepcopy(context.learners.teachers)
        starting.load_state_dict(
            {name.removeprefix(PREFIX): tensor for name, tensor in self._weights.items()}
        )
        self._pass(context, starting)

    def _pass(
        self, context: StageContext, networks: nn.ModuleList, rectifiers: Sequence[Rectifier] = ()
    ) -> None:
        pool = set(context.split.unlabelled)
        # The same whether prototypes are gathered or not: of some networks the last bits of an
        # output depend on how many images go through them at once.
        names = sorted(pool.union(context.split.labelled) if self._with_labelled else pool)
        writers = [self._writer(context, i) for i in range(len(networks))] if self._stored else []
        try:
            for batch_names, images in whole_images(context.data, names, context.images_at_once):
                wanted = [i for i, name in enumerate(batch_names) if name in pool]
                for i, output in enumerate(_predict(context.learners, networks, images)):
                    if rectifiers:
                        truth = _truth(context, rectifiers[i], batch_names, output, i)
                        rectifiers[i].gather(output, truth)
                    if writers and wanted:
                        prob = output.logits.float().softmax(dim=1)[wanted]
                        size_px = (images.shape[-2], images.shape[-1])
                        writers[i].add(
                            [batch_names[j] for j in wanted], prob.cpu().numpy(), size_px
                        )
        except BaseException:
            for writer in writers:
                writer.discard()
            raise
        for writer in writers:
            writer.close()
        if self._stored:
            self._open(context)

    def _open(self, context: StageContext) -> None:
        crop_px = context.geometry.crop_px
        blank = torch.zeros(1, 3, *crop_px, device=context.learners.device)
        cells = context.learners.predict("teachers", blank)
        self.readers = tuple(
            InitialLabelStore(
                self._path(context, i),
                (output.logits.shape[-2], output.logits.shape[-1]),
                align_corners=context.learners.student(i).align_corners,
            )
            for i, output in enumerate(cells)
        )

    def _writer(self, context: StageContext, network: int) -> InitialLabelWriter:
        return InitialLabelWriter(
            self._path(context, network), bits=self._bits, made_by=self._weights_hash()
        )

    def _path(self, context: StageContext, network: int) -> Path:
        return (
            context.work_dir
            / f"initial-labels-stage{context.stage}-network{network + 1}-worker{rank()}.arrow"
        )

    def _weights_hash(self) -> str:
        digest = hashlib.sha256()
        for name in sorted(self._weights):
            digest.update(name.encode())
            digest.update(
                self._weights[name].cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
            )
        return digest.hexdigest()

    def tensors(self) -> dict[str, Tensor]:
        """Weights of the networks that start the stage."""
        return dict(self._weights)

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        self._weights = {
            name: tensor.clone() for name, tensor in tensors.items() if name.startswith(PREFIX)
        }


def _truth(
    context: StageContext,
    rectifier: Rectifier,
    names: Sequence[str],
    output: SegmentationOutput,
    network: int,
) -> Tensor | None:
    """True classes at the cells of a network's maps, int64 [B, h, w], 255 on images without label;
    None where predictions count."""
    if rectifier.settings.prototypes_from == "predictions":
        return None
    labelled = set(context.split.labelled)
    cells = (output.logits.shape[-2], output.logits.shape[-1])
    align_corners = context.learners.student(network).align_corners
    found = torch.full((len(names), *cells), IGNORE_LABEL, dtype=torch.int64)
    for out, name in zip(found, names, strict=True):
        if name in labelled:
            label = context.data.label("train", context.data.index("train", name))
            assert label is not None, "a labelled image"
            whole = torch.from_numpy(label.astype(np.int64))
            out.copy_(at_cells(whole, cells, align_corners=align_corners))
    return found.to(output.logits.device)


def _named_weights(networks: nn.ModuleList) -> dict[str, Tensor]:
    return {
        PREFIX + name: tensor.detach().clone() for name, tensor in networks.state_dict().items()
    }


@torch.no_grad()
def _predict(
    learners: Learners, networks: nn.ModuleList, images: Tensor
) -> list[SegmentationOutput]:
    networks.eval()
    unit = to_unit_range(images.to(learners.device)).contiguous(memory_format=torch.channels_last)
    with learners.autocast():
        return [cast(SegmentationNetwork, network)(unit) for network in networks]
