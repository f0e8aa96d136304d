"""How the batches of a run are made, and whether a number of workers can share them."""

from dataclasses import dataclass

from rml_trainers.errors import ConfigError
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.noise.strong_view import StrongView
from rml_trainers.settings.batch import BatchConfig


@dataclass(frozen=True, kw_only=True)
class BatchRecipe:
    """All that decides the crops and the noise of a step, apart from the images themselves."""

    size: BatchConfig
    geometry: GeometryConfig
    strong_view: StrongView
    """Of a run that never draws one: none."""
    num_students: int
    num_strong_views: int = 1
    """Strong views of each student in a step."""
    shared_views: bool = False
    """Whether all students see the same labelled crops and the same strong views in the stages of
    the method."""
    seed: int = 0


def check_workers(recipe: BatchRecipe, num_workers: int) -> None:
    """Raise a ConfigError unless every worker gets as many images, and mixing partners stay
    together.

    Images are mixed in pairs among those of one worker: one image alone would be mixed with itself,
    which is no noise at all, and nobody would notice.
    """
    accumulate = recipe.size.accumulate
    for kind, size in (("labelled", recipe.size.labelled), ("unlabelled", recipe.size.unlabelled)):
        if size % num_workers:
            raise ConfigError(
                f"batch.{kind} = {size}: expected a multiple of the number of workers, "
                f"{num_workers}"
            )
        if size // num_workers % accumulate:
            raise ConfigError(
                f"batch.accumulate = {accumulate}: the {size // num_workers} {kind} images of a "
                "worker cannot be cut "
                "into as many micro-batches of equal size"
            )
    own = recipe.size.unlabelled // num_workers
    if num_workers > 1 and own % 2 and recipe.strong_view.mixing is not None:
        raise ConfigError(
            f"batch.unlabelled = {recipe.size.unlabelled}: {num_workers} workers would get "
            f"{own} each, and images "
            f"are mixed in pairs within a worker; take a multiple of {2 * num_workers}, fewer "
            "workers "
            "(resources.workers), or noise.cutmix = false where the method allows it"
        )
