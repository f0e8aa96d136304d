"""Files that fill a vision transformer: timm's keys or the authors' own, other grids of positions,
refusals."""

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.vit import build_vit

DINOV2 = "vit_small_patch14_reg4_dinov2"


def _file(tmp_path: Path, state: dict[str, Tensor]) -> str:
    save_file(
        {key: tensor.contiguous() for key, tensor in state.items()}, tmp_path / "vit.safetensors"
    )
    return str(tmp_path / "vit.safetensors")


def _load(name: str, file: str) -> dict[str, Tensor]:
    backbone, _ = build_vit(name, drop_path=0.0, weights="file", weights_file=file)
    return {
        key.removeprefix("model."): tensor for key, tensor in backbone.module.state_dict().items()
    }


@pytest.mark.parametrize("name", ["test_vit", "test_vit2"])
def test_a_classification_models_file_fills_the_transformer(name: str, tmp_path: Path) -> None:
    state = timm.create_model(name, num_classes=7).state_dict()
    own = _load(name, _file(tmp_path, state))
    assert len(own) > 50
    assert all(torch.equal(tensor, state[key]) for key, tensor in own.items())


def test_position_embeddings_of_another_grid_are_resampled(tmp_path: Path) -> None:
    state = timm.create_model("test_vit", img_size=64).state_dict()
    assert state["pos_embed"].shape == (1, 1 + 16, 64)
    own = _load("test_vit", _file(tmp_path, state))
    assert own["pos_embed"].shape == (1, 1 + 100, 64)
    assert torch.equal(own["pos_embed"][:, 0], state["pos_embed"][:, 0]), "the class token's stays"
    grid = own["pos_embed"][0, 1:].reshape(10, 10, 64)
    torch.testing.assert_close(
        grid.mean(dim=(0, 1)), state["pos_embed"][0, 1:].mean(dim=0), atol=0.01, rtol=0
    )


def test_dinov2s_own_file_is_understood(tmp_path: Path) -> None:
    state = timm.create_model(DINOV2).state_dict()
    theirs = {
        key: tensor
        for key, tensor in state.items()
        if key not in ("reg_token", "cls_token", "pos_embed")
    }
    theirs["register_tokens"] = state["reg_token"]
    theirs["mask_token"] = torch.zeros(1, 384)
    theirs["cls_token"] = state["cls_token"]
    theirs["pos_embed"] = torch.cat([torch.zeros(1, 1, 384), state["pos_embed"]], dim=1)
    own = _load(DINOV2, _file(tmp_path, theirs))
    assert all(torch.equal(tensor, state[key]) for key, tensor in own.items())


def _without_a_block(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {key: tensor for key, tensor in state.items() if not key.startswith("blocks.1.")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_without_a_block, ("missing", "blocks.1.")),
        (lambda state: {**state, "stranger": torch.zeros(1)}, ("not in the model", "stranger")),
        (
            lambda state: {**state, "pos_embed": torch.zeros(1, 1 + 12, 64)},
            ("brought into the model's shape",),
        ),
        (
            lambda state: {**state, "norm.weight": torch.zeros(3)},
            ("of another shape", "norm.weight"),
        ),
    ],
)
def test_a_file_that_does_not_fit_is_refused(
    change: Callable[[dict[str, Tensor]], dict[str, Tensor]], words: tuple[str, ...], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError) as refusal:
        _load("test_vit", _file(tmp_path, change(timm.create_model("test_vit").state_dict())))
    assert all(word in str(refusal.value) for word in ("vit.safetensors", "'test_vit'", *words)), (
        refusal.value
    )
