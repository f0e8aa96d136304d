"""What could only fail at the end of a run, or in its first step, is refused when it is planned."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rml_trainers.config import NetworkConfig, RunConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import ConfigError, DataError

SMALL_PX = (64, 64)
MAX_TRIED_PX = 64 * 64
"""Pixels of a crop from which on no network leaves a single cell of an image; a smaller crop is
tried."""
_MEND = (
    "Look at the masks, data.ignore_value and (folder, pairs) data.label_values; `rml data "
    "prepare` prints what they hold"
)


@dataclass(frozen=True)
class ToldAccount:
    """What a prepared set holds, for the console."""

    summary: str
    warnings: tuple[str, ...]


def tell_account(data: PreparedData) -> ToldAccount:
    """One line, and what is probably not as it was meant."""
    account = data.account()
    if account is None:
        mend = "`rml data prepare --fresh` makes one"
        return ToldAccount(f"{data.name}: prepared before accounts were kept; {mend}", ())
    return ToldAccount(account.summary(), tuple(account.warnings()))


def check_scorable(data: PreparedData) -> None:
    """Raise a DataError where no validation pixel has a class, so that a finished run had no
    score."""
    if not data.subset_class_pixels("val").any():
        num_images = len(data.names("val"))
        raise DataError(
            f"data set {data.name!r}: no pixel of the {num_images} validation images has a class, "
            f"all are ignored: nothing could be scored. {_MEND}"
        )


def check_labels(data: PreparedData, split: Split, held_out: Sequence[str]) -> None:
    """Raise a DataError where no labelled pixel, or none of the hold-out, has a class."""
    for names, what in ((split.labelled, "labelled images of the split"), (held_out, "hold-out")):
        if names and not data.class_pixel_counts(names).any():
            raise DataError(
                f"data set {data.name!r}: no pixel of the {what} has a class, all are ignored "
                f"({len(names)} images, for example {names[0]}). {_MEND}"
            )


def check_pretrained(configs: Iterable[RunConfig]) -> None:
    """Find out whether this machine can have the weights that the networks of runs begin with.

    Raises:
        HubAwayError: it lacks some, and timm's hub cannot be reached.
        HubHomeError: it cannot use timm's cache.
        ConfigError: the hub has no such weights, or a person forbade to ask it.
    """
    models = {network.hub_model for config in configs for network in config.student_networks}
    wanted = sorted(name for name in models if name is not None)
    if wanted:
        from rml_trainers.networks.pretrained.hub import check_hub

        check_hub(wanted)


def check_sync_batchnorm(config: RunConfig, num_workers: int, gpus: float) -> None:
    """Raise a ConfigError where several workers without a GPU would have their batch statistics in
    common, which torch refuses in the first step.

    Args:
        gpus: that each worker is given.
    """
    device = config.runtime.device
    on_cpu = device == "cpu" or (device == "auto" and gpus == 0)
    if config.sync_batchnorm and num_workers > 1 and on_cpu:
        why = "runtime.device is cpu" if device == "cpu" else "they are given none"
        raise ConfigError(
            f"sync_batchnorm = true: the {num_workers} workers of a run can have batch statistics "
            f"in common on GPUs only, and {why}. Set sync_batchnorm: false, train with one worker "
            "(resources.workers: 1), or give each worker a GPU"
        )


def check_batch_statistics(config: RunConfig, num_classes: int, num_workers: int) -> None:
    """Raise a ConfigError where BatchNorm would get a single value per channel in a training step.

    That can only be with one image per forward, and a crop of one cell or a network that averages
    whole maps; such a forward is tried.
    """
    sizes = [("labelled", config.batch.labelled)]
    if config.method.uses_unlabelled:
        sizes.append(("unlabelled", config.batch.unlabelled))
    height, width = config.geometry.crop_px
    synchronised = config.sync_batchnorm and num_workers > 1
    for kind, size in sizes:
        alone = size // num_workers // config.batch.accumulate == 1
        if not alone or synchronised:
            continue
        for network in dict.fromkeys(config.student_networks):
            if height * width <= MAX_TRIED_PX:
                _try_forward(config, network, num_classes, kind, (height, width))
            elif network.averages_whole_maps:
                _try_forward(config, network, num_classes, kind, SMALL_PX)


def _try_forward(
    config: RunConfig,
    network: NetworkConfig,
    num_classes: int,
    kind: str,
    size_px: tuple[int, int],
) -> None:
    import torch

    from rml_trainers.networks import build_network

    with torch.random.fork_rng(devices=[]):
        built = build_network(network, num_classes, config.noise, pretrained=False).train()
        images = torch.zeros(1, 3, *size_px)
        try:
            with torch.no_grad():
                built(images)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            height, width = config.geometry.crop_px
            raise ConfigError(
                f"batch.{kind} and geometry.crop_px: one image per forward and a crop of {height}×"
                f"{width} leave BatchNorm (or GroupNorm) of {network.name} a single value per "
                f"channel{_where(network)}, which has no variance. Raise batch.{kind} or "
                "geometry.crop_px, lower batch.accumulate, or set network.batchnorm: frozen"
            ) from error


def _where(network: NetworkConfig) -> str:
    return " behind the mean of its whole map" if network.averages_whole_maps else ""
