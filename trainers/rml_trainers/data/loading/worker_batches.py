"""Whether a number of workers can share a batch without changing what is computed."""

from typing import TYPE_CHECKING

from rml_trainers.errors import ConfigError
from rml_trainers.noise.strong_view import strong_view

if TYPE_CHECKING:
    from rml_trainers.config import RunConfig


def check_shares(config: "RunConfig", num_workers: int) -> None:
    """Raise a ConfigError unless every worker gets as many images, and mixing partners stay
    together.

    Images are mixed in pairs inside a worker's share: a share of one image would be mixed with
    itself, which is no noise at all, and nobody would notice.
    """
    accumulate = config.batch.accumulate
    for kind, size in (
        ("labelled", config.batch.labelled),
        ("unlabelled", config.batch.unlabelled),
    ):
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
    share = config.batch.unlabelled // num_workers
    mixes = (
        config.method.name != "supervised"
        and strong_view(config.noise, config.method).mixing is not None
    )
    if num_workers > 1 and share % 2 and mixes:
        raise ConfigError(
            f"batch.unlabelled = {config.batch.unlabelled}: {num_workers} workers would get "
            f"{share} each, and images "
            f"are mixed in pairs within a worker; take a multiple of {2 * num_workers}, fewer "
            "workers "
            "(resources.workers), or noise.cutmix = false where the method allows it"
        )
