"""Which of a run's evaluations its final scores are, and the networks that made them."""

import dataclasses
import math

import torch
from torch import Tensor, nn

from rml_trainers.scoring.score import Evaluation
from rml_trainers.settings.evaluation import EvaluationConfig
from rml_trainers.students.learners import Learners
from rml_trainers.students.named_tensors import under

NETWORKS = "network/"


class ChosenEvaluation:
    """`last`: every evaluation replaces the one before. `best_holdout`, `best_val`: only a better
    one does.

    The first scored network decides for all of them: one step is chosen. Of equal scores the
    earlier step counts. For the chosen moments the scored networks are kept too, in main memory,
    because the last ones are not theirs; so predictions and pictures come from the weights that the
    score belongs to.
    """

    def __init__(self, evaluation: EvaluationConfig) -> None:
        self._evaluation = evaluation
        self.evaluations: tuple[Evaluation, ...] = ()
        """On the validation images, one per scored network."""
        self.step = -1
        """Step of the evaluation."""
        self._best = -math.inf
        self._networks: dict[str, Tensor] = {}

    @property
    def is_chosen(self) -> bool:
        """Whether it is another than the last."""
        return self._evaluation.moment != "last"

    def offer(
        self, step: int, evaluations: tuple[Evaluation, ...], learners: Learners, *, keep: bool
    ) -> None:
        """An evaluation as `evaluate` gives it; `keep` on the worker that writes checkpoints: keep
        the networks too."""
        moment = self._evaluation.moment
        scores = tuple(e for e in evaluations if e.subset == "val")
        if moment == "last":
            self.evaluations = scores
            self.step = step
            return
        decisive = next(
            e.miou
            for e in evaluations
            if e.subset == ("holdout" if moment == "best_holdout" else "val")
        )
        decisive = (
            -1.0 if math.isnan(decisive) else decisive
        )  # no labelled pixel at all: anything else is better
        if decisive <= self._best:
            return
        self._best = decisive
        self.step = step
        self.evaluations = tuple(
            dataclasses.replace(e, protocol=f"{e.protocol.rpartition('/')[0]}/{moment}")
            for e in scores
        )
        if keep:
            self._networks = _copies(learners, self._evaluation.networks)

    def describe(self) -> str:
        """One sentence for the run's log."""
        what = "hold-out" if self._evaluation.moment == "best_holdout" else "validation images"
        return (
            f"the final scores are those of step {self.step}, the best on the {what} (mIoU "
            f"{100 * self._best:.1f})"
        )

    def tensors(self) -> dict[str, Tensor]:
        """State for exact resume beyond the evaluations; nothing for `last`, and nothing before the
        first choice."""
        if self._evaluation.moment == "last" or self.step < 0:
            return {}
        best = torch.tensor(self._best, dtype=torch.float64)
        step = torch.tensor(self.step)
        return {
            "best": best,
            "step": step,
            **{NETWORKS + name: tensor for name, tensor in self._networks.items()},
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave; the evaluations are set by themselves."""
        if tensors:
            self._best = float(tensors["best"])
            self.step = int(tensors["step"])
            networks = under(tensors, NETWORKS)
            self._networks = {name: tensor.cpu() for name, tensor in networks.items()}


def _copies(learners: Learners, wanted: tuple[str, ...]) -> dict[str, Tensor]:
    """Copies in main memory of the wanted networks, named
    "<students|teachers>/<number>.<parameter>"."""
    copies: dict[str, Tensor] = {}
    groups: tuple[tuple[str, nn.ModuleList], ...] = (
        ("students", learners.students),
        ("teachers", learners.teachers),
    )
    for group, networks in groups:
        for i, network in enumerate(networks):
            in_ensemble = group == "teachers" and "ensemble" in wanted
            if f"{group[:-1]}_{i + 1}" in wanted or in_ensemble:
                for name, tensor in network.state_dict().items():
                    copies[f"{group}/{i + 1}.{name}"] = tensor.detach().to("cpu", copy=True)
    return copies
