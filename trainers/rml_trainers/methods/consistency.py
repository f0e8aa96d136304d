"""The step that all consistency methods share: label weak views, mix, learn from the strong views.

A method says who is taught by whom, what becomes of a labeller's output, what a student sees, and
which loss ties it to its targets. Everything is batched: one forward per labelling network without
gradient, one forward per student over labelled images and all its views together.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rml_trainers.data.loading.loaders import Batch, UnlabelledCrops
from rml_trainers.labels.coupling import total_variation
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.methods.method import Stateless, StepResult, labelled_images
from rml_trainers.methods.student_losses import Loss, StudentLosses
from rml_trainers.methods.student_targets import StudentTargets, View, count_pixels
from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.noise.input_noise import InputNoiseDraw, strengthen
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.losses import confident_fraction, labelled_cross_entropy


class Consistency(Stateless):
    """Base of every method that teaches students on views of unlabelled images with labels made on
    weak views.

    A subclass gives equations only; what it does not override is what most methods do.
    """

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        """Numbers of the labelling networks that teach a student."""
        raise NotImplementedError

    def label(self, weak: Tensor, learners: Learners) -> tuple[SegmentationOutput, ...]:
        """Outputs of the labelling networks on the weak views; none where labels are stored."""
        return learners.label(self.config.labeller, weak)

    def pseudo_labels(
        self,
        outputs: Sequence[SegmentationOutput],
        unlabelled: UnlabelledCrops,
        learners: Learners,
    ) -> list[PseudoLabel]:
        """Target of each labelling network from its output on the unmixed weak views."""
        return [
            make_pseudo_label(
                output.logits,
                unlabelled.inside,
                learners.student(i),
                soft=self.config.soft_labels,
                threshold=self.config.threshold,
                confidence=self.config.confidence is not None,
            )
            for i, output in enumerate(outputs)
        ]

    def views(
        self, weak: Tensor, draws: Sequence[InputNoiseDraw], targets: Sequence[PseudoLabel]
    ) -> list[View]:
        """What one student sees: each of its strong views, or the weak images where it has none.

        Args:
            weak: γ(x_u), [B, 3, H, W] in [0, 1].
            draws: noise of its strong views.
            targets: labels of the networks that teach it, of the unmixed images.
        """
        if not draws:
            return [View(weak, list(targets))]
        return [
            View(strengthen(weak, draw), [target.mixed(draw) for target in targets])
            for draw in draws
        ]

    def importance(self, targets: Sequence[PseudoLabel]) -> Tensor | None:
        """Factor of the L_u of a view that its targets on the whole batch decide, or nothing."""
        if self.config.confidence is None:
            return None
        (target,) = targets
        assert target.confidence is not None, "asked for in `pseudo_labels`"
        return confident_fraction(target.confidence, target.valid, self.config.confidence)

    def on_labelled(self, log_prob: Tensor, label: Tensor, targets: StudentTargets) -> Loss:
        """L_s of one student on some labelled images (paper, Eq. 1), a part of the mean over the
        whole batch.

        Args:
            log_prob: [B, K, H, W], its log-probabilities.
            label: [B, H, W].
            targets: all it learns from, `num_valid` for the mean.
        """
        settings = self.context.labelled_loss
        loss = labelled_cross_entropy(log_prob, label, targets.num_valid, settings)
        return Loss(self.loss_factor() * loss, loss)

    def labelled_consistency(
        self, log_prob: Sequence[Tensor], labels: Sequence[Tensor], counts: Sequence[Tensor]
    ) -> list[Tensor]:
        """What is added to the L_u of each student on some labelled images, or nothing: an empty
        list.

        Args:
            log_prob: log-probabilities [B, K, H, W] of the students; of all where `needs_peers`
                says so.
            labels: their labels [B, H, W].
            counts: valid pixels of the whole batch, see `valid_counts`.
        """
        return []

    def needs_peers(self) -> bool:
        """Whether `labelled_consistency` needs all students at once."""
        return False

    def unsupervised_loss(self, log_prob: Tensor, targets: Sequence[PseudoLabel]) -> Tensor:
        """L_u of one student on some images, a part of the mean over the whole batch
        (`PseudoLabel.num_valid`).

        Args:
            log_prob: [B, K, H, W], its log-probabilities on a view.
            targets: labels of the networks that teach it, mixed as the view is.
        """
        return torch.stack([target.cross_entropy(log_prob) for target in targets]).sum()

    def on_view(self, log_prob: Tensor, view: View, targets: StudentTargets) -> Loss:
        """What a view adds to the losses: `unsupervised_loss`, weighed.

        Args:
            log_prob: [B, K, H, W], the student's log-probabilities on some images of the view.
            view: those images of it.
            targets: all that the student learns from.
        """
        loss = self.unsupervised_loss(log_prob, view.targets)
        told = {f"loss_{view.name}": loss} if view.name else {}
        if view.importance is not None:
            loss = view.importance * loss
        return Loss(self.scale() * view.weight * loss, view.weight * loss, told)

    def scale(self) -> float | Tensor:
        """Weight of every L_u in the loss of the step."""
        return self.loss_factor() * self.context.unsupervised_weight * self.loss_weight()

    def loss_factor(self) -> float:
        """Factor of the whole loss of a step."""
        return 1.0

    def loss_weight(self) -> float | Tensor:
        """Weight of L_u by the method's authors, next to the run's own `unsupervised_weight`."""
        return self.config.weight

    def after_loss(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        """Update whatever the method keeps, from the labellers' outputs; returns scalars to
        report."""
        return {}

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """L = Σ_i [ L_s(θ_i) + weight · Σ_views Σ_j∈taught_by(i) CE(ŷ_j, h_θi(view)) ]."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        outputs = self.label(weak, learners)
        with torch.no_grad():
            labels = self.pseudo_labels(outputs, batch.unlabelled, learners)
            targets = self._student_targets(batch, weak, labels, learners.num_students)
        losses = StudentLosses(self, targets, learners, keep_logits=not outputs)
        learnt = learners.learn(losses, together=self.needs_peers())
        scalars = {**learnt.scalars, "loss": learnt.loss.detach()}
        with torch.no_grad():
            scalars |= self._about(labels, targets)
            scalars |= self.after_loss(outputs)
            scalars |= self._between_labellers(outputs, labels, losses)
        return StepResult(
            loss=learnt.loss, scalars=scalars, confusions=self._monitor(labels, batch.unlabelled)
        )

    def _student_targets(
        self, batch: Batch, weak: Tensor, labels: Sequence[PseudoLabel], num_students: int
    ) -> list[StudentTargets]:
        """What every student learns from: all that is known before its forward, for the whole
        batch."""
        num_views = len(batch.noise) // num_students
        views = []
        for i in range(num_students):
            taught = [labels[j] for j in self.taught_by(i, num_students)]
            noise = batch.noise[i * num_views : (i + 1) * num_views]
            # Where mixing depends on labels, on those of the first network that teaches.
            draws = [draw.given(taught[0].hard) for draw in noise]
            views.append([self._weighed(view) for view in self.views(weak, draws, taught)])
        return count_pixels([labelled_images(crops) for crops in batch.labelled], views)

    def _weighed(self, view: View) -> View:
        return replace(view, importance=self.importance(view.targets))

    @staticmethod
    def _about(
        labels: Sequence[PseudoLabel], targets: Sequence[StudentTargets]
    ) -> dict[str, Tensor]:
        """How many pixels have a label, and how many of those labels are confident."""
        kept = torch.stack([label.valid.float().mean() for label in labels]).mean()
        importance = [
            view.importance for own in targets for view in own.views if view.importance is not None
        ]
        confident = {"confident": torch.stack(importance).mean()} if importance else {}
        return {"pseudo_label_kept": kept, **confident}

    def _between_labellers(
        self,
        outputs: Sequence[SegmentationOutput],
        labels: Sequence[PseudoLabel],
        losses: StudentLosses,
    ) -> dict[str, Tensor]:
        """On how many pixels two networks give different labels, and the distance of their outputs
        on the weak views; neither is part of any loss. A pixel that only one of them labels is no
        disagreement.

        Where nobody labels in a step, the distance is of the students as they learn, dropout
        included: what labels them is as old as the stage.
        """
        scalars: dict[str, Tensor] = {}
        logits = [output.logits for output in outputs] or losses.first_logits()
        if len(outputs) == 2:
            both = labels[0].valid & labels[1].valid
            differ = (labels[0].hard != labels[1].hard) & both
            scalars["disagreement"] = differ.float().mean()
        if len(logits) == 2 and self.context.monitor_coupling != "off":
            scalars["coupling_tv"] = total_variation(*logits).mean()
        return scalars

    def _monitor(
        self, targets: Sequence[PseudoLabel], unlabelled: UnlabelledCrops
    ) -> dict[str, Tensor]:
        if not self.context.monitor_pseudo_labels:
            return {}
        return {
            f"pseudo_label_{i + 1}": confusion_matrix(
                target.hard, unlabelled.truth, self.num_classes
            )
            for i, target in enumerate(targets)
        }
