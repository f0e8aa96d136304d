"""The name of a run: readable, and equal exactly for runs that compute the same."""

from rml_trainers.config import RunConfig
from rml_trainers.errors import ConfigError
from rml_trainers.training.identity import identity_hash


def run_id(config: RunConfig, *, split_hash: str, data_hash: str, num_labelled: int) -> str:
    """`<data>-<number of labelled images>-<method>-s<seed>-<8 hex digits of the identity hash>`.

    The readable part repeats what the hash covers; `num_labelled` follows from the split. Raises
    ConfigError when a file that belongs to the identity (network weights) cannot be read.
    """
    try:
        digest = identity_hash(config, split_hash=split_hash, data_hash=data_hash)
    except OSError as error:
        raise ConfigError(
            f"network.weights_file = {error.filename!r}: cannot be read ({error.strerror})"
        ) from error
    return f"{config.data.name}-{num_labelled}-{config.method.name}-s{config.seed}-{digest[:8]}"
