"""timm's hub: what is said where its weights cannot be had."""

import pytest

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.pretrained import hub


def _build(name: str) -> Backbone:
    return build_backbone(name, output_stride=8, drop_path=0.0, weights="timm", weights_file=None)


def test_without_a_hub_the_error_comes_at_once_and_names_the_ways_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from huggingface_hub import constants

    asked = []

    def unreachable(endpoint: str) -> bool:
        asked.append(endpoint)
        return False

    monkeypatch.setattr(hub, "_reachable", unreachable)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", "/nonexistent")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("asked the network"))
    with pytest.raises(ConfigError) as refusal:
        _build("resnet10t")
    assert len(asked) == 1
    assert constants.HF_HUB_OFFLINE is False, "left as it was"
    message = str(refusal.value)
    for part in (
        "'resnet10t'",
        "cannot be reached",
        "weights_file",
        "weights: none",
        "tf_efficientnet_lite0",
    ):
        assert part in message


def test_reachable_means_an_answer_of_any_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    import urllib.error
    from email.message import Message

    def answer(error: Exception) -> None:
        def urlopen(*_: object, **__: object) -> None:
            raise error

        monkeypatch.setattr("urllib.request.urlopen", urlopen)

    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    answer(urllib.error.HTTPError("https://hub.example", 403, "forbidden", Message(), None))
    assert hub._reachable("https://hub.example")
    answer(urllib.error.URLError("no route"))
    assert not hub._reachable("https://hub.example")
    answer(TimeoutError())
    assert not hub._reachable("https://hub.example")
