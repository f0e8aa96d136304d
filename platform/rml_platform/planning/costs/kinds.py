"""Which runs take equally long per step."""

import dataclasses
import hashlib
import json

from rml_trainers.config import RunConfig


def kind_of(config: RunConfig) -> str:
    """`<method>-<8 hex digits>`, equal for runs whose steps, evaluations and checkpoints are of one
    size.

    Seeds, splits, learning rates, lengths of stages and the method's own numbers are not in it:
    they change what is learnt and how many steps there are, and not what a step has to do.
    """
    network, peer = (
        one and one.without_weights_file() for one in (config.network, config.peer_network)
    )
    parts = {
        "data": (config.data.name, config.data.size_px),
        "method": (config.method.name, config.method.num_strong_views),
        "networks": [dataclasses.asdict(one) for one in (network, peer) if one is not None],
        "crop_px": config.geometry.crop_px,
        "batch": dataclasses.asdict(config.batch),
        "precision": (config.precision, config.sync_batchnorm),
        "evaluation": dataclasses.asdict(config.evaluation),
        "runtime": dataclasses.asdict(config.runtime),
    }
    text = json.dumps(parts, sort_keys=True, default=str)
    return f"{config.method.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
