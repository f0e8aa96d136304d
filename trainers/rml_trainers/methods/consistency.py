"""The step that all consistency methods share: label weak views, mix, learn from the strong views.

A method says who labels, who is taught by whom, what becomes of a labeller's output, and which loss
ties a student to it. Everything is batched: one forward per labelling network without gradient, one
forward per student over labelled and mixed images together.
"""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from rml_trainers.data.loading.loaders import Batch, UnlabelledCrops
from rml_trainers.labels.coupling import total_variation
from rml_trainers.labels.pseudo_labels import PseudoLabel, make_pseudo_label
from rml_trainers.losses import hard_cross_entropy, log_softmax
from rml_trainers.methods.method import Stateless, StepResult, labelled_part
from rml_trainers.methods.student_targets import StudentTargets, make_student_targets
from rml_trainers.networks.network import SegmentationNetwork, SegmentationOutput
from rml_trainers.noise.input_noise import InputNoiseDraw, strengthen
from rml_trainers.scoring.metrics import confusion_matrix
from rml_trainers.students.learners import Learners, to_unit_range
from rml_trainers.students.micro_batches import MicroBatch
from rml_trainers.students.pixel_losses import pixel_losses


class Consistency(Stateless):
    """Base of every method that teaches students on strong views with labels made on weak views."""

    def taught_by(self, student: int, num_students: int) -> tuple[int, ...]:
        """Numbers of the labelling networks that teach a student."""
        raise NotImplementedError

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

    def unsupervised_loss(self, log_prob: Tensor, targets: Sequence[PseudoLabel]) -> Tensor:
        """L_u of one student on some images, a share of the mean over the whole batch
        (`PseudoLabel.num_valid`).

        Args:
            log_prob: [B, K, H, W], its log-probabilities on its strong views.
            targets: labels of the networks that teach it, mixed as the strong views are.
        """
        return torch.stack([target.cross_entropy(log_prob) for target in targets]).sum()

    def importance(self, targets: Sequence[PseudoLabel]) -> Tensor | None:
        """Factor of a student's L_u that its targets on the whole batch decide, or nothing."""
        return None

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

    def loss_weight(self) -> float | Tensor:
        """Weight of L_u by the method's authors, next to the run's own `unsupervised_weight`."""
        return self.config.weight

    def after_loss(self, outputs: Sequence[SegmentationOutput]) -> dict[str, Tensor]:
        """Update whatever the method keeps, from the labellers' outputs; returns scalars to
        report."""
        return {}

    def step(self, batch: Batch, learners: Learners) -> StepResult:
        """L = Σ_i [ L_s(θ_i) + weight · Σ_j∈taught_by(i) CE(ŷ_j, h_θi(Γ_i(x_u))) ]."""
        assert batch.unlabelled is not None
        weak = to_unit_range(batch.unlabelled.image)
        outputs = learners.label(self.config.labeller, weak)
        with torch.no_grad():
            targets = self.pseudo_labels(outputs, batch.unlabelled, learners)
        student_targets = self._lessons(batch, weak, targets, learners)
        learnt = learners.learn(
            partial(self._loss_of, student_targets, learners), together=self.needs_peers()
        )
        scalars = {**learnt.scalars, "loss": learnt.loss.detach(), **self._about(targets)}
        with torch.no_grad():
            scalars.update(self.after_loss(outputs))
            scalars.update(self._coupling([output.logits for output in outputs]))
        return StepResult(
            loss=learnt.loss, scalars=scalars, confusions=self._monitor(targets, batch.unlabelled)
        )

    @torch.no_grad()
    def _lessons(
        self, batch: Batch, weak: Tensor, targets: Sequence[PseudoLabel], learners: Learners
    ) -> list[StudentTargets]:
        """What every student learns from: all that is known before its forward, for the whole
        batch."""
        draws = self._settled(batch.noise, targets, learners.num_students)
        num_students = learners.num_students
        taught = [
            [targets[j].mixed(draw) for j in self.taught_by(i, num_students)]
            for i, draw in enumerate(draws)
        ]
        parts = [labelled_part(crops) for crops in batch.labelled]
        strong = [strengthen(weak, draw) for draw in draws]
        return make_student_targets(
            parts, strong, taught, [self.importance(labels) for labels in taught]
        )

    def _loss_of(
        self, student_targets: Sequence[StudentTargets], learners: Learners, micro_batch: MicroBatch
    ) -> tuple[Tensor, dict[str, Tensor]]:
        shares = [student_targets[i].share(micro_batch) for i in micro_batch.students]
        images = [torch.cat([share.images, share.strong]) for share in shares]
        logits = [
            output.logits for output in learners.forward_students(images, micro_batch.students)
        ]
        networks = [learners.student(i) for i in micro_batch.students]
        num_labelled = len(shares[0].images)
        weight = self.context.unsupervised_weight * self.loss_weight()
        on_labelled = self._labelled_losses(
            shares, [x[:num_labelled] for x in logits], networks, weight, learners
        )
        total = on_labelled[0]
        supervised = on_labelled[1::2]
        taught = list(on_labelled[2::2])
        for n, (share, x, network) in enumerate(zip(shares, logits, networks, strict=True)):
            on_strong = self._strong_losses(share, x[num_labelled:], network, weight, learners)
            total = total + on_strong[0]
            taught[n] = taught[n] + on_strong[1]
        told = {
            f"loss_supervised_{i + 1}": loss
            for i, loss in zip(micro_batch.students, supervised, strict=True)
        }
        told |= {
            f"loss_unsupervised_{i + 1}": loss
            for i, loss in zip(micro_batch.students, taught, strict=True)
        }
        return total, told

    def _labelled_losses(
        self,
        shares: Sequence[StudentTargets],
        logits: Sequence[Tensor],
        networks: Sequence[SegmentationNetwork],
        weight: float | Tensor,
        learners: Learners,
    ) -> Tensor:
        """[1 + 2 S]: to minimise, then L_s and what is added to L_u of each of S students."""
        size = (shares[0].label.shape[-2], shares[0].label.shape[-1])

        def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
            log_prob = [
                log_softmax(n.upsample(x, size)) for n, x in zip(networks, some, strict=True)
            ]
            labels = [share.label[part] for share in shares]
            counts = [share.num_valid for share in shares]
            own = [
                hard_cross_entropy(*of_one) for of_one in zip(log_prob, labels, counts, strict=True)
            ]
            further = self.labelled_consistency(log_prob, labels, counts)
            total = torch.stack(own).sum()
            if further:
                total = total + weight * torch.stack(further).sum()
            further = further or [torch.zeros_like(loss) for loss in own]
            return [total, *(loss for pair in zip(own, further, strict=True) for loss in pair)]

        return pixel_losses(losses, logits, size, learners.loss_chunk_mib)

    def _strong_losses(
        self,
        share: StudentTargets,
        logits: Tensor,
        network: SegmentationNetwork,
        weight: float | Tensor,
        learners: Learners,
    ) -> Tensor:
        """[2]: weighted L_u to minimise, and L_u itself, of one student."""
        size = (share.strong.shape[-2], share.strong.shape[-1])

        def losses(part: slice, some: Sequence[Tensor]) -> list[Tensor]:
            log_prob = log_softmax(network.upsample(some[0], size))
            taught = self.unsupervised_loss(
                log_prob, [target.part(part) for target in share.targets]
            )
            if share.importance is not None:
                taught = share.importance * taught
            return [weight * taught, taught]

        return pixel_losses(losses, [logits], size, learners.loss_chunk_mib)

    def _settled(
        self, noise: Sequence[InputNoiseDraw], targets: Sequence[PseudoLabel], num_students: int
    ) -> list[InputNoiseDraw]:
        """Draws of the students; where mixing depends on labels, on those of the first network that
        teaches each."""
        num_views = len(noise) // num_students
        first = [self.taught_by(i // num_views, num_students)[0] for i in range(len(noise))]
        return [draw.given(targets[j].hard) for j, draw in zip(first, noise, strict=True)]

    @staticmethod
    def _about(targets: Sequence[PseudoLabel]) -> dict[str, Tensor]:
        """How many pixels have a label, and on how many two labellers differ."""
        scalars = {
            "pseudo_label_kept": torch.stack([t.valid.float().mean() for t in targets]).mean()
        }
        if len(targets) == 2:
            scalars["disagreement"] = (targets[0].hard != targets[1].hard).float().mean()
        return scalars

    def _coupling(self, logits: Sequence[Tensor]) -> dict[str, Tensor]:
        """Distance of two labelling networks on the weak views; it is not part of any loss."""
        if len(logits) != 2 or self.context.monitor_coupling == "off":
            return {}
        return {"coupling_tv": total_variation(*logits).mean()}

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
