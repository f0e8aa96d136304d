"""From the configuration of a run to its parts: each is told what concerns it, and nothing more."""

from dataclasses import replace

import torch

from rml_trainers.config import RunConfig
from rml_trainers.data.loading.batch_recipe import BatchRecipe
from rml_trainers.methods import build_method
from rml_trainers.methods.method import Method, MethodContext
from rml_trainers.noise.geometry import may_overhang
from rml_trainers.noise.strong_view import StrongView, strong_view
from rml_trainers.students.learners import Learners, LearnerSettings


def make_method(config: RunConfig, num_classes: int, learners: Learners) -> Method:
    """The method of a run, for these students."""
    students = [learners.student(i) for i in range(learners.num_students)]
    context = MethodContext(
        num_classes=num_classes,
        unsupervised_weight=config.unsupervised_weight,
        monitor_pseudo_labels=config.evaluation.monitor_pseudo_labels,
        monitor_coupling=config.evaluation.monitor_coupling,
        labelled_loss=config.labelled_loss,
        feature_widths=tuple(student.feature_width for student in students),
        last_map_widths=tuple(student.last_map_width for student in students),
        optimiser=config.optimiser,
        teacher=config.teacher,
        seed=config.seed,
        crops_overhang=may_overhang(config.geometry, config.data.size_px),
    )
    return build_method(config.method, context)


def with_micro_batches(config: RunConfig, factor: int) -> RunConfig:
    """The configuration of a run whose steps are cut into so many times more micro-batches."""
    size = replace(config.batch, accumulate=factor * config.batch.accumulate)
    return replace(config, batch=size)


def make_learners(config: RunConfig, num_classes: int, device: torch.device) -> Learners:
    """Students and mean teachers of a run."""
    settings = LearnerSettings(
        networks=config.student_networks,
        noise=config.noise,
        teacher=config.teacher,
        runtime=config.runtime,
        num_micro_batches=config.batch.accumulate,
        precision=config.precision,
        sync_batchnorm=config.sync_batchnorm,
        apart=config.method.students_apart,
        one_size=config.data.size_px is not None,
        seed=config.seed,
    )
    return Learners(settings, num_classes, device)


def batch_recipe(config: RunConfig) -> BatchRecipe:
    """How the batches of a run are made."""
    method = config.method
    return BatchRecipe(
        size=config.batch,
        geometry=config.geometry,
        strong_view=(
            strong_view(config.noise, method.strong_view)
            if method.uses_unlabelled
            else StrongView()
        ),
        num_students=method.num_students,
        num_strong_views=method.num_strong_views,
        shared_views=method.shared_views,
        seed=config.seed,
    )
