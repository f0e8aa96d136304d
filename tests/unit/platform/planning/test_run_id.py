"""Run ids: equal for what computes the same, different for everything else, and readable."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from rml_platform.planning.run_id import run_id
from rml_platform.study.config_tree import ConfigClass, hints, members
from rml_trainers import RESULT_VERSION
from rml_trainers.config import (
    BatchConfig,
    EvaluationConfig,
    MethodConfig,
    RunConfig,
    RuntimeConfig,
    replace,
)
from rml_trainers.data.sources.voc import VocConfig
from rml_trainers.errors import ConfigError
from rml_trainers.methods.comparators.contrastive.u2pl import U2plConfig
from rml_trainers.methods.paper.iml import ImlConfig
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.training.identity import identity_fields
from rml_trainers.training.shared_stages import stage_ends
from tests.support.tiny import METHOD_CONFIGS, tiny_config

GOLDEN = Path(__file__).parent / "goldens" / "result_defaults.json"


def named(config: RunConfig, *, split_hash: str = "a" * 12, data_hash: str = "b" * 12) -> str:
    return run_id(config, split_hash=split_hash, data_hash=data_hash, num_labelled=4)


def test_it_can_be_read() -> None:
    data, count, method, seed, digest = named(tiny_config("rml", seed=7)).split("-")
    assert (data, count, method, seed) == ("scenes", "4", "rml", "s7")
    assert len(digest) == 8
    assert int(digest, 16) >= 0


def test_how_a_run_is_carried_out_is_not_in_it() -> None:
    other = replace(
        tiny_config(), runtime=RuntimeConfig(device="cuda", threads=9, checkpoint_every_steps=1)
    )
    assert named(other) == named(tiny_config())


def test_what_changes_the_result_is_in_it() -> None:
    config = tiny_config()
    ids = [named(config)]
    ids += [named(config, split_hash="c" * 12), named(config, data_hash="c" * 12)]
    ids += [named(replace(config, seed=5)), named(replace(config, batch=BatchConfig(labelled=3)))]
    ids += [
        named(replace(config, method=method))
        for name, method in METHOD_CONFIGS.items()
        if name != "rml"
    ]
    ids += [named(replace(config, evaluation=EvaluationConfig(networks=("student_1",))))]
    assert len(set(ids)) == len(ids)


def test_a_key_written_out_at_its_default_changes_nothing() -> None:
    config = tiny_config()
    assert named(replace(config, peer_network=None, precision="auto")) == named(config)


def test_rates_of_the_aspp_are_in_it_unless_they_are_the_usual_ones() -> None:
    usual = DeepLabV2Config(backbone="test_resnet")
    ids = {
        rates: named(tiny_config(network=dataclasses.replace(usual, aspp_rates=rates)))
        for rates in (None, (6, 12, 18, 24), (1, 2, 3, 4))
    }
    assert ids[None] == ids[6, 12, 18, 24] != ids[1, 2, 3, 4]


@pytest.mark.parametrize(
    ("method", "is_named"),
    [
        (RmlConfig(), True),
        (U2plConfig(mixing="cutout"), True),
        (U2plConfig(), False),
        (ImlConfig(), False),
    ],
)
def test_padding_is_in_it_where_its_part_in_the_result_has_changed(
    method: MethodConfig, is_named: bool
) -> None:
    usual = tiny_config(method=method)
    overhanging = replace(usual, geometry=dataclasses.replace(usual.geometry, scale=(0.5, 1.0)))
    of_own_sizes = replace(usual, data=VocConfig())
    assert "padding" not in identity_fields(usual)
    for config in (overhanging, of_own_sizes):
        assert ("padding" in identity_fields(config)) == is_named
    hashes = {"split_hash": "a" * 12, "data_hash": "b" * 12}
    warm_up = [
        stage_ends(replace(overhanging, method=one), **hashes)[0]
        for one in (method, type(method)())
    ]
    assert warm_up[0] == warm_up[1], "nothing of a warm-up has changed"


def test_what_measures_pseudo_labels_is_in_it_where_it_was_another() -> None:
    usual = tiny_config("iml")
    noisy = replace(
        usual,
        split=dataclasses.replace(usual.split, label_noise=0.2, pool_includes_labelled=True),
        evaluation=dataclasses.replace(usual.evaluation, monitor_pseudo_labels=True),
    )
    assert "truth" in identity_fields(noisy)
    for other in (
        replace(noisy, evaluation=usual.evaluation),
        replace(noisy, split=dataclasses.replace(noisy.split, pool_includes_labelled=False)),
        replace(noisy, split=dataclasses.replace(noisy.split, label_noise=0.0)),
        replace(noisy, method=METHOD_CONFIGS["supervised"]),
    ):
        assert "truth" not in identity_fields(other)


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    def with_weights(name: str, content: bytes) -> str:
        file = tmp_path / name
        file.write_bytes(content)
        network = DeepLabV2Config(backbone="test_resnet", weights="file", weights_file=str(file))
        return named(tiny_config(network=network))

    assert with_weights("a.safetensors", b"1") == with_weights("b.safetensors", b"1")
    assert with_weights("a.safetensors", b"1") != with_weights("a.safetensors", b"2")


def test_weights_that_cannot_be_read(tmp_path: Path) -> None:
    network = DeepLabV2Config(weights="file", weights_file=str(tmp_path / "absent"))
    with pytest.raises(ConfigError, match=r"network\.weights_file = .*absent.*No such file"):
        named(tiny_config(network=network))


def test_defaults_are_the_recorded_ones() -> None:
    """A default left out of a configuration is not in its id: changing it would give old ids to new
    results."""
    recorded = json.loads(GOLDEN.read_text())
    regenerate = "python -m tests.unit.platform.planning.test_run_id"
    now = defaults()
    changed = {
        key for key, value in recorded["defaults"].items() if now.get(key, "removed") != value
    }
    assert not changed or recorded["result_version"] != RESULT_VERSION, (
        f"defaults changed: {sorted(changed)}. Recorded runs that left them out would be taken for "
        "the new ones: raise "
        "RESULT_VERSION in rml_trainers/__init__.py, then record the defaults anew with "
        f"`{regenerate}`"
    )
    assert recorded["result_version"] == RESULT_VERSION, (
        f"record the defaults of the new version with `{regenerate}`"
    )
    assert now == recorded["defaults"], (
        f"record the new fields with `{regenerate}`: {sorted(set(now) - set(recorded['defaults']))}"
    )


def defaults() -> dict[str, Any]:
    """Default of every field of every class that RunConfig can hold, runtime excepted
    ("RmlConfig.temperature" → 1)."""
    found: dict[str, Any] = {}
    waiting: list[ConfigClass] = [RunConfig]
    while waiting:
        config_class = waiting.pop()
        for field in dataclasses.fields(config_class):
            nested = [
                member
                for member in members(hints(config_class)[field.name])
                if member is not RuntimeConfig
            ]
            waiting += nested
            key = f"{config_class.__name__}.{field.name}"
            default = field.default
            if default is not dataclasses.MISSING and not dataclasses.is_dataclass(default):
                found[key] = json.loads(json.dumps(default))
            elif dataclasses.is_dataclass(default):
                found[key] = type(default).__name__
    return found


if __name__ == "__main__":
    GOLDEN.write_text(
        json.dumps(
            {"result_version": RESULT_VERSION, "defaults": defaults()}, indent=1, sort_keys=True
        )
        + "\n"
    )
