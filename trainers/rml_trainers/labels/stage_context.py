"""What labels may need when a stage begins."""

from dataclasses import dataclass
from pathlib import Path

from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.students.learners import Learners


@dataclass(frozen=True, kw_only=True)
class StageContext:
    """One stage of one run, as a worker sees it when it begins."""

    stage: int
    num_steps: int
    """Optimiser steps of the stage."""
    learners: Learners
    data: PreparedData
    split: Split
    geometry: GeometryConfig
    """How training cuts its crops."""
    images_at_once: int
    """Whole images per forward, or crops per batch of stored labels."""
    seed: int
    """Of the run."""
    work_dir: Path
    """Scratch folder of this worker on a local disk; may be empty again after a restart."""
