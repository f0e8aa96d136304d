"""What is refused before and after a file is written, and that nothing of the user's is lost."""

import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from rml_trainers.errors import CheckpointError, ConfigError
from rml_trainers.networks import build_network
from rml_trainers.networks.network import SegmentationNetwork
from rml_trainers.noise.config import NoiseConfig
from rml_trainers.prediction.export import (
    FORMATS,
    Exported,
    ImageToScores,
    check_target,
    export_network,
    load_exported_network,
    onnx_file,
    settings_json,
)
from rml_trainers.prediction.export.comparison import compare
from rml_trainers.prediction.export.file_format import FileFormat, Scores
from tests.support.tiny import NETWORK, NETWORK_CONFIGS

K = 4
PX = (32, 48)


def network(seed: int = 0, name: str = "mlp") -> SegmentationNetwork:
    torch.manual_seed(seed)
    return build_network(NETWORK_CONFIGS[name], K, NoiseConfig(model=False)).eval()


def export(
    module: ImageToScores, path: Path, format_name: str, fixed_px: tuple[int, int] | None = None
) -> Exported:
    return export_network(
        module,
        path,
        format_name,
        fixed_px=fixed_px,
        usual_px=PX,
        metadata={
            "rml.network_settings": settings_json([NETWORK_CONFIGS["mlp"]]),
            "rml.class_names": json.dumps(list("abcd")),
        },
        images=[],
    )


def images() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (2, 3, *PX), dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize(
    ("name", "format_name", "expected"),
    [
        ("a.onnx", "onx", "format 'onx': did you mean 'onnx'"),
        ("a.pt", "onnx", "a.pt: files of the format onnx end in .onnx"),
        ("a.onnx", "torchscript", "a.onnx: files of the format torchscript end in .pt or .ts"),
        ("there.onnx", "onnx", "there.onnx: is there already; choose another name or --overwrite"),
        ("no/a.onnx", "onnx", "there is no folder"),
        ("folder.onnx", "onnx", "folder.onnx: a folder; name the file to write"),
    ],
)
def test_a_target_that_will_not_do_is_refused_at_once(
    name: str, format_name: str, expected: str, tmp_path: Path
) -> None:
    (tmp_path / "there.onnx").touch()
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ConfigError) as refused:
        check_target(tmp_path / name, format_name, overwrite=False)
    assert expected in str(refused.value) and "\n" not in str(refused.value)
    check_target(tmp_path / "there.onnx", "onnx", overwrite=True)


@pytest.mark.parametrize("package", onnx_file.PACKAGES)
def test_a_package_that_is_not_installed_is_named_with_the_extra(
    package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"{package} cannot be imported.*rml\[export\]"):
        check_target(tmp_path / "a.onnx", "onnx", overwrite=False)
    check_target(tmp_path / "a.pt", "torchscript", overwrite=False)


def _with_scores(changed: Callable[[Scores], Scores]) -> FileFormat:
    """Weights of a network, which come to scores that are changed."""

    def scores(path: Path, batches: Sequence[Tensor]) -> list[Scores]:
        return [changed(one) for one in FORMATS["safetensors"].scores(path, batches)]

    return dataclasses.replace(FORMATS["safetensors"], scores=scores)


def _nan_in_one_place(scores: Scores) -> Scores:
    scores = scores.copy()
    scores[0, 0, 0, 0] = np.nan
    return scores


@pytest.mark.parametrize("changed", [lambda scores: scores + 0.01, _nan_in_one_place])
def test_a_file_that_computes_something_else_is_never_put_in_place(
    changed: Callable[[Scores], Scores], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "wrong", _with_scores(changed))
    target = tmp_path / "network.safetensors"
    target.write_text("mine")
    with pytest.raises(ConfigError, match="computes something else than torch"):
        export(ImageToScores([network()], "logits"), target, "wrong")
    assert target.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [target]


def test_a_sound_file_replaces_the_one_that_was_there(tmp_path: Path) -> None:
    target = tmp_path / "network.safetensors"
    target.write_text("old")
    made = export(ImageToScores([network()], "logits"), target, "safetensors")
    assert made.real is None and made.random.largest == 0
    again = load_exported_network(target)
    assert torch.equal(again(images() / 255).logits, network()(images() / 255).logits)


def test_a_size_that_the_network_does_not_take_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\(64, 64\): the network takes images of \(32, 48\)"):
        export(ImageToScores([network()], "logits"), tmp_path / "a.pt", "torchscript", (64, 64))


def test_a_size_that_is_asked_for_is_the_only_one(tmp_path: Path) -> None:
    module = ImageToScores([network(name="deeplab_v2")], "probabilities")
    made = export(module, tmp_path / "a.onnx", "onnx", (40, 56))
    session = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    (result,) = session.get_outputs()
    assert made.fixed_px == (40, 56) and given.shape[1:] == [3, 40, 56]
    assert result.name == "probabilities" and result.shape[1:] == [K, 40, 56]
    assert isinstance(given.shape[0], str) and isinstance(result.shape[0], str), "batch is open"


def test_an_onnx_file_that_would_be_too_large_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "LARGEST_BYTES", 1000)
    with pytest.raises(ConfigError, match="holds at most 2; use the format torchscript"):
        export(ImageToScores([network()], "logits"), tmp_path / "a.onnx", "onnx")
    assert not list(tmp_path.iterdir())


@torch.no_grad()
def test_an_ensemble_is_the_mean_of_the_networks_probabilities() -> None:
    networks = [network(seed, name) for seed, name in enumerate(("mlp", "deeplab_v2"))]
    expected = torch.stack(
        [one.upsample(one(images() / 255).logits, PX).softmax(dim=1) for one in networks]
    ).mean(dim=0)
    torch.testing.assert_close(ImageToScores(networks, "probabilities")(images()), expected)
    logits = ImageToScores(networks, "logits")(images())
    torch.testing.assert_close(logits.softmax(dim=1), expected)
    assert ImageToScores(networks, "logits").input_px == PX


def test_a_class_that_all_networks_exclude_stays_finite() -> None:
    networks = [network(seed) for seed in (0, 1)]
    for one in networks:
        one.get_parameter("classifier.bias").data[2] = -1e4
    logits = ImageToScores(networks, "logits")(images())
    assert logits.isfinite().all() and (logits[:, 2] < -9e3).all()


def test_weights_of_an_ensemble_are_refused(tmp_path: Path) -> None:
    module = ImageToScores([network(0), network(1)], "logits")
    with pytest.raises(ConfigError, match="holds one network, and the ensemble has 2"):
        export(module, tmp_path / "a.safetensors", "safetensors")


def test_differences_are_the_largest_and_the_pixels_that_change_class() -> None:
    wanted = np.zeros((1, 2, 2, 2), np.float32)
    wanted[0, 0] = 1
    given = wanted.copy()
    given[0, 1, 0, 0] = 3
    other = np.zeros((2, 2, 1, 1), np.float32)
    found = compare([wanted, other], [given, other - 0.5])
    assert found.largest == 3 and found.allowed == pytest.approx(1e-3)
    assert found.changed_pixels == 1 and found.num_pixels == 6 and found.num_batches == 2
    assert not found.is_tolerable and compare([wanted], [wanted]).is_tolerable


def test_a_file_names_no_folder_of_the_person_who_trained() -> None:
    config = dataclasses.replace(NETWORK, weights="file", weights_file="/home/me/r.safetensors")
    (settings,) = json.loads(settings_json([config]))
    assert settings["weights_file"] == "r.safetensors" and settings["name"] == "deeplab_v2"


def test_weights_of_others_are_not_taken_for_an_export(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        load_exported_network(tmp_path / "no.safetensors")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(b"no")
    with pytest.raises(CheckpointError, match="not a safetensors file"):
        load_exported_network(damaged)
    foreign = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, foreign)
    with pytest.raises(CheckpointError, match="says nothing of its network"):
        load_exported_network(foreign)
    about = {"rml.network_settings": '[{"name": "mlpp"}]', "rml.class_names": "[]"}
    save_file({"weight": torch.zeros(2)}, foreign, metadata=about)
    with pytest.raises(ConfigError, match="did you mean 'mlp'"):
        load_exported_network(foreign)
