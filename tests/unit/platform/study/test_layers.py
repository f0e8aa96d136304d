"""Laying settings over each other: the two rules of settings.py."""

from typing import Any

import pytest

from rml_platform.study.layers import Layer, compose, layer, override_layer, read_overrides
from rml_platform.study.validation import InvalidValuesError
from rml_trainers.errors import ConfigError


def made(mapping: dict[str, Any], name: str = "file") -> Layer:
    return layer(mapping, {}, (), name)


def values(*mappings: dict[str, Any]) -> dict[str, Any]:
    return compose([made(mapping) for mapping in mappings], "file").values


def command_line(*texts: str) -> Layer:
    return override_layer(read_overrides(texts))


def test_mappings_are_laid_over_key_by_key() -> None:
    assert values({"optimiser": {"lr": 1, "momentum": 2}}, {"optimiser": {"lr": 3}}) == {
        "optimiser": {"lr": 3, "momentum": 2}
    }


def test_lists_replace() -> None:
    assert values({"schedule.stage_steps": [1, 2]}, {"schedule": {"stage_steps": [3]}}) == {
        "schedule": {"stage_steps": [3]}
    }


def test_a_block_with_a_name_replaces_the_whole_block() -> None:
    assert values({"method": {"name": "rml", "temperature": 2}}, {"method": {"name": "rml"}}) == {
        "method": {"name": "rml"}
    }


def test_a_block_without_a_name_is_laid_over() -> None:
    assert values({"method": {"name": "rml", "temperature": 2}}, {"method": {"min_cells": 3}}) == {
        "method": {"name": "rml", "temperature": 2, "min_cells": 3}
    }


def test_a_new_name_keeps_only_the_keys_that_the_new_class_has() -> None:
    rml = {"method": {"name": "rml", "temperature": 2, "soft_labels": True}}
    assert values(rml, {"method.name": "iml"}) == {"method": {"name": "iml", "soft_labels": True}}
    assert values(rml, {"method.name": "supervised"}) == {"method": {"name": "supervised"}}


def test_the_same_name_again_changes_nothing() -> None:
    rml = {"method": {"name": "rml", "temperature": 2}}
    assert values(rml, {"method.name": "rml"}) == rml


@pytest.mark.parametrize("order", [1, -1])
def test_the_name_goes_first_however_it_is_written(order: int) -> None:
    keys = list({"method.name": "rml", "method.temperature": 2}.items())[::order]
    expected = {"method": {"name": "rml", "temperature": 2}}
    assert values({"method": {"name": "iml", "own_teacher": False}}, dict(keys)) == {
        "method": {**expected["method"], "own_teacher": False}
    }
    assert values({"method": {"name": "supervised"}}, dict(keys)) == expected


def test_an_unknown_name_keeps_everything_for_the_error_to_show() -> None:
    assert values({"method": {"name": "rml", "temperature": 2}}, {"method.name": "rmll"}) == {
        "method": {"name": "rmll", "temperature": 2}
    }


def test_null_clears_and_can_be_filled_again() -> None:
    assert values({"peer_network": {"name": "deeplab_v2"}}, {"peer_network": None}) == {
        "peer_network": None
    }
    assert values({"peer_network": None}, {"peer_network.backbone": "x"}) == {
        "peer_network": {"backbone": "x"}
    }


def test_a_key_inside_a_plain_value_is_an_error() -> None:
    with pytest.raises(
        InvalidValuesError, match=r"optimiser\.lr\.x: optimiser\.lr = 1 holds no keys"
    ):
        values({"optimiser.lr": 1}, {"optimiser.lr.x": 2})


def test_the_same_key_dotted_and_nested_in_one_mapping_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"optimiser\.lr: given twice"):
        made({"optimiser": {"lr": 1}, "optimiser.lr": 2})


def test_the_layers_are_not_changed() -> None:
    base = made({"schedule": {"stage_steps": [1]}, "method": {"name": "rml"}})
    composed = compose([base, made({"method.temperature": 1})], "file").values
    assert isinstance(composed["method"], dict)
    composed["method"]["name"] = "iml"
    assert compose([base], "file").values == {
        "schedule": {"stage_steps": [1]},
        "method": {"name": "rml"},
    }


def test_places_follow_the_last_change() -> None:
    base = made({"split": {"family": "french", "fraction": 0.5}, "seed": 1}, "base")
    settings = compose([base, command_line("split.num_labelled=3")], "file")
    assert settings.place(("split", "family")) == "base"
    assert settings.place(("split",)) == "--set split.num_labelled"
    assert settings.place(("seed",)) == "base"
    assert settings.place(("optimiser", "lr")) == "file"


@pytest.mark.parametrize("file", [{"optimiser": {"lr": 1}}, {"optimiser.lr": 1}])
@pytest.mark.parametrize("override", ["optimiser.lr=2", "optimiser={lr: 2}"])
def test_an_override_wins_however_either_is_written(file: dict[str, Any], override: str) -> None:
    momentum = made({"optimiser.momentum": 3})
    composed = compose([made(file), momentum, command_line(override)], "file")
    assert composed.values == {"optimiser": {"lr": 2, "momentum": 3}}


@pytest.mark.parametrize(
    "texts",
    [
        ("optimiser.lr=1", "optimiser.lr=2"),
        ("optimiser.lr=1", "optimiser={lr: 1}"),
        ("optimiser={lr: 1}", "seed=1", "optimiser.lr=2"),
    ],
)
def test_the_same_key_twice_on_the_command_line_is_an_error(texts: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match=r"--set optimiser.*: optimiser\.lr: given twice"):
        command_line(*texts)
