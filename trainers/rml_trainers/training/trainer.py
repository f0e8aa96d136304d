"""The one training loop. It owns time: stages, steps, and the moments of reports, evaluations and
checkpoints."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from rml_trainers.checkpoint.folder import Checkpoint, CheckpointHeader, load_checkpoint, published
from rml_trainers.checkpoint.snapshot import give_back, take_snapshot, with_scores_only
from rml_trainers.config import RunConfig
from rml_trainers.data.loading.label_noise import with_label_noise
from rml_trainers.data.loading.loaders import Batch, TrainingBatches, read_ahead
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.holdout import hold_out
from rml_trainers.data.splitting.splits import Split, require_images
from rml_trainers.errors import CheckpointError, NonFiniteLossError
from rml_trainers.labels.coupling import coupling_scalars
from rml_trainers.labels.stage_context import StageContext
from rml_trainers.methods.method import StepResult, supervised_step
from rml_trainers.runtime.distributed import rank, world_size
from rml_trainers.runtime.randomness import seed_model_noise
from rml_trainers.scoring.chosen_evaluation import ChosenEvaluation
from rml_trainers.scoring.evaluation import evaluate
from rml_trainers.scoring.protocols import check_canvas
from rml_trainers.scoring.score import Evaluation
from rml_trainers.students.learners import Learners
from rml_trainers.students.named_tensors import Stateful
from rml_trainers.students.own_networks import OwnNetworks
from rml_trainers.training.assembly import (
    batch_recipe,
    make_learners,
    make_method,
    with_micro_batches,
)
from rml_trainers.training.clock import Clock
from rml_trainers.training.identity import identity_hash
from rml_trainers.training.meter import Meter
from rml_trainers.training.optimiser import Optimiser
from rml_trainers.training.reporting import Progress, Reporter
from rml_trainers.training.shared_stages import stage_ends
from rml_trainers.training.stages import Stage, due_after, stage_at, stages_of
from rml_trainers.training.warnings import before_training


class Trainer:
    """Trains one run from its configuration, or from a checkpoint of it, to its final scores.

    Args:
        config: the run.
        data: prepared images.
        split: which of them have labels.
        device: where to compute; see `choose_device`.
        reporter: is told what happens; on ranks other than 0 only `on_checkpoint` is called.
        work_dir: scratch folder of this worker on a local disk.
        resume_from: checkpoint folder of the same run.
        begin_from: checkpoint folder of any run that begins as this one does, written at the end of
            a stage. Its steps, and the scores at their end, are not reported again: whoever hands
            it over has that run's reports.
        micro_batches: multiplies `config.batch.accumulate`, for a device with less memory than the
            run needs; not part of what the run is, though its result changes a little.
    Raises:
        DataError: there is no labelled image, or no unlabelled one for a method that needs some.
        ConfigError: the evaluation cannot be: too large a hold-out, or an image larger than the
            canvas.
        CheckpointError: `resume_from` or `begin_from` is damaged, or belongs to another run or
            beginning.
    """

    def __init__(
        self,
        config: RunConfig,
        data: PreparedData,
        split: Split,
        *,
        device: torch.device,
        reporter: Reporter,
        work_dir: Path,
        resume_from: Path | None = None,
        begin_from: Path | None = None,
        micro_batches: int = 1,
    ) -> None:
        self.config = config
        self.device = device
        self.split, self.holdout = hold_out(split, config.evaluation.num_holdout)
        share = config.split.label_noise
        data = with_label_noise(data, self.split.labelled, share, seed=config.seed)
        self.data = data
        check_canvas(config.evaluation, data, self.holdout)
        self.reporter = reporter
        self.work_dir = work_dir
        self.stages = stages_of(config)
        require_images(self.split, needs_unlabelled=config.method.uses_unlabelled)
        self.identity = identity_hash(config, split_hash=split.hash, data_hash=data.content_hash)
        self._stage_ends = {
            end.step: end.hash
            for end in stage_ends(config, split_hash=split.hash, data_hash=data.content_hash)
        }
        in_pieces = with_micro_batches(config, micro_batches)
        self.learners = make_learners(in_pieces, data.num_classes, device)
        self.method = make_method(config, data.num_classes, self.learners)
        self.own_networks = OwnNetworks(self.method.own_networks(), device)
        self.batches = TrainingBatches(
            data,
            self.split,
            batch_recipe(in_pieces),
            rank=rank(),
            world_size=world_size(),
        )
        self.optimiser = Optimiser(self.learners, config.optimiser)
        self.meter = Meter(self.data.class_names)
        self.step = 0
        self.chosen = ChosenEvaluation(config.evaluation)
        self._clock = Clock()
        self._took_over = False
        if resume_from is not None:
            self._restore(load_checkpoint(resume_from, self.identity))
        elif begin_from is not None:
            self._take_over(begin_from)

    @property
    def num_steps(self) -> int:
        """Optimiser steps over all stages."""
        return self.stages[-1].last_step

    @property
    def finished(self) -> bool:
        return self.step >= self.num_steps

    @property
    def evaluations(self) -> tuple[Evaluation, ...]:
        """Scores of the run so far, at the moment that `evaluation.moment` says."""
        return self.chosen.evaluations

    def fit(self) -> tuple[Evaluation, ...]:
        """Train what is left and return the final scores; a finished run returns its stored ones.

        Raises:
            NonFiniteLossError: the loss became NaN or infinite; the last good checkpoint stands.
        """
        if self.step == 0 and rank() == 0:
            acceleration = self.learners.acceleration
            for warning in before_training(self.config, self.data, self.split, acceleration):
                self.reporter.on_note("warning", warning)
        self._clock.start(self.step)
        if self._took_over and rank() == 0:
            self.reporter.on_note(
                "info", f"the first {self.step} steps are those of a run that begins the same"
            )
        if self.step == 0:
            self._report_coupling(self.stages[0])
        while not self.finished:
            self._run_stage(stage_at(self.stages, self.step))
        return self.evaluations

    def _coupling(self) -> dict[str, float]:
        evaluation = self.config.evaluation
        if evaluation.monitor_coupling != "train_set":
            return {}
        labeller = self.config.method.labeller
        return coupling_scalars(labeller, self.learners, self.data, evaluation.batch)

    def _report_coupling(self, stage: Stage) -> None:
        """The curve's first point, before any step of this run."""
        coupling = self._coupling()
        if rank() == 0 and coupling:
            self.reporter.on_step(self._progress(stage), coupling)

    def _run_stage(self, stage: Stage) -> None:
        context = self.stage_context(stage.index)
        if self.step == stage.first_step:
            self._begin_stage(stage, context)
        elif not stage.warm_up:
            self.method.resume_stage(context)
        with_unlabelled = self.config.method.uses_unlabelled and not stage.warm_up
        initial = self.method.initial_labels() if with_unlabelled else ()

        def make(step: int) -> Batch:
            batch = self.batches.batch(
                stage.index, step, with_unlabelled=with_unlabelled, initial=initial
            )
            return batch.pin_memory() if self.device.type == "cuda" else batch

        self._clock.start(self.step)
        steps = range(self.step - stage.first_step, stage.num_steps)
        for step, batch in read_ahead(make, steps, self.config.runtime.num_read_ahead):
            self._train_step(stage, step, batch)
            self._after_step(stage)

    def stage_context(self, stage: int) -> StageContext:
        """What the method is told when a stage begins."""
        return StageContext(
            stage=stage,
            num_steps=next(each.num_steps for each in self.stages if each.index == stage),
            learners=self.learners,
            data=self.data,
            split=self.split,
            geometry=self.config.geometry,
            images_at_once=self.config.evaluation.batch,
            seed=self.config.seed,
            work_dir=self.work_dir,
        )

    def _begin_stage(self, stage: Stage, context: StageContext) -> None:
        if stage.index > 0:
            seed_model_noise(self.config.seed, "begin_stage", stage.index)
            self.method.begin_stage(context)
            if stage.index > 1 and self.config.schedule.students_restart:
                self.learners.restart_students()
            self.optimiser = Optimiser(self.learners, self.config.optimiser)
        self.meter = Meter(self.data.class_names)

    def _train_step(self, stage: Stage, step: int, batch: Batch) -> None:
        """One optimiser step. Nothing in here waits for the device."""
        seed_model_noise(self.config.seed, "model_noise", stage.index, step, rank())
        batch = batch.to(self.device, non_blocking=True)
        self.meter.add(self.train_on(batch, warm_up=stage.warm_up, progress=step / stage.num_steps))
        self.step += 1

    def train_on(self, batch: Batch, *, warm_up: bool, progress: float) -> StepResult:
        """Forward, backward, update, mean teachers and the method's own networks, for one batch on
        the device."""
        step: Callable[[Batch, Learners], StepResult] = (
            partial(supervised_step, settings=self.config.labelled_loss)
            if warm_up
            else self.method.step
        )
        self.optimiser.clear()
        result = step(batch, self.learners)
        self.optimiser.step(result.loss, progress)
        if result.afterwards is not None:
            self.optimiser.clear()
            later = result.afterwards()
            self.optimiser.step(later.loss, progress)
            result = replace(result, scalars={**result.scalars, **later.scalars})
        self.learners.after_step(self.step)
        self.own_networks.minimise(result.own_losses, progress)
        self.own_networks.take_gradients(result.taught, progress, self.step)
        return result

    def _after_step(self, stage: Stage) -> None:
        """Report, score and save when it is time."""
        due = due_after(self.step, stage, self.config)
        if not (due.log or due.save):
            return
        progress = self._progress(stage)
        if due.log:
            scalars = self.meter.read(self.step, with_confusions=due.confusions)
            if due.score:
                scalars |= self._coupling()
            if rank() == 0:
                self.reporter.on_step(progress, scalars)
        self.meter.check(self.step)
        if due.score:
            self._score(progress)
        if due.save:
            self._save(progress)
        self._clock.start(self.step)

    def _score(self, progress: Progress) -> None:
        evaluations = evaluate(self.learners, self.data, self.config.evaluation, self.holdout)
        self.chosen.offer(self.step, evaluations, self.learners, keep=rank() == 0)
        if rank() == 0:
            self.reporter.on_evaluation(progress, evaluations)
            if self.finished and self.chosen.is_chosen:
                self.reporter.on_note("info", self.chosen.describe())

    def _progress(self, stage: Stage) -> Progress:
        return Progress(
            stage=stage.index,
            num_stages=self.stages[-1].index + 1,
            step=self.step,
            num_steps=self.num_steps,
            seconds_per_step=self._clock.seconds_per_step(self.step, self.device),
        )

    def _save(self, progress: Progress) -> None:
        """Hand a complete checkpoint to the reporter. All workers hold the same networks: rank 0
        writes."""
        self._check_weights()
        self.meter.gather()
        folder = self.work_dir / f"checkpoint-{self.step}" if rank() == 0 else None
        with published(folder, self._checkpoint):
            self.reporter.on_checkpoint(progress, folder)

    def _check_weights(self) -> None:
        """A step can leave weights that only the next loss would show: they are never saved. A
        checkpoint waits for the device anyway.

        Raises:
            NonFiniteLossError: a weight is NaN or infinite.
        """
        found = [w.isfinite().all() for w in self.learners.students.parameters()]
        if not bool(torch.stack(found).all()):
            error = NonFiniteLossError(
                f"weights became NaN or infinite in the steps up to {self.step}, after losses that "
                "were finite; nothing was saved since the last good checkpoint. Lower "
                "optimiser.lr, set optimiser.gradient_clip, or use precision: float32"
            )
            error.first_step = max(1, self.step - self.config.runtime.checkpoint_every_steps + 1)
            error.last_step = self.step
            raise error

    def _stateful(self) -> dict[str, Stateful]:
        return {
            "method": self.method,
            "meter": self.meter,
            "own": self.own_networks,
            "moment": self.chosen,
        }

    def _checkpoint(self) -> Checkpoint:
        beginning = self._stage_ends.get(self.step)
        header = CheckpointHeader(
            step=self.step, finished=self.finished, identity=self.identity, beginning=beginning
        )
        return take_snapshot(
            header, self.learners, self.optimiser, self._stateful(), self.evaluations
        )

    def _take_over(self, folder: Path) -> None:
        checkpoint = load_checkpoint(folder)
        if checkpoint.header.beginning != self._stage_ends.get(checkpoint.header.step, ""):
            raise CheckpointError(
                f"checkpoint {folder.name} is not of a run that begins as this one does"
            )
        if stage_at(self.stages, checkpoint.header.step - 1).warm_up:
            checkpoint = with_scores_only(
                checkpoint
            )  # the rest is of another method, perhaps, that has not begun
        self._restore(checkpoint)
        self._took_over = True

    def _restore(self, checkpoint: Checkpoint) -> None:
        give_back(checkpoint, self.learners, self.optimiser, self._stateful())
        self.step = checkpoint.header.step
        self.chosen.evaluations = checkpoint.evaluations
