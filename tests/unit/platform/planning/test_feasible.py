"""What could only fail at a run's end or first step is refused when it is planned, with the fix."""

from pathlib import Path
from typing import Any, Literal

import pytest

from rml_platform.planning.feasible import (
    check_batch_statistics,
    check_sync_batchnorm,
    tell_account,
)
from rml_platform.planning.plan import plan_run
from rml_trainers.config import BatchConfig, EvaluationConfig, RunConfig, SplitConfig
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.sources.folder import FolderConfig
from rml_trainers.errors import ConfigError, DataError
from rml_trainers.networks.deeplab_v2 import DeepLabV2Config
from rml_trainers.networks.deeplab_v3_plus import DeepLabV3PlusConfig
from rml_trainers.networks.setr import SetrConfig
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.runtime.options import RuntimeConfig
from tests.support.image_folders import mask, save, write_folder
from tests.support.tiny import tiny_config

OWN = FolderConfig(
    folder="own",
    class_names=("road", "car", "tree"),
    size_px=(40, 56),
    train_list="train.txt",
    val_list="val.txt",
)


def _write(root: Path, *, ignored: str) -> None:
    """Six masks, of which those named hold nothing but 255."""
    folder = write_folder(root, num_bare=0)
    for name in ignored.split():
        save(mask(0, (255,)), folder / "masks" / f"{name}.png")
    (folder / "train.txt").write_text("a0\na1\na2\na3")
    (folder / "val.txt").write_text("a4\na5")


def _plan(root: Path, **changes: Any) -> None:
    config = tiny_config(
        **{"data": OWN, "split": SplitConfig(fraction=1.0, pool_includes_labelled=True), **changes}
    )
    plan_run(config, data_root=root, cache_root=root / "cache", on_prepare=None)


def test_validation_masks_without_a_class_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, ignored="a4 a5")
    with pytest.raises(DataError, match=r"'folder': no pixel of the 2 validation .*ignore_value"):
        _plan(tmp_path)
    data = ensure_prepared(OWN, tmp_path, tmp_path / "cache")
    assert "no pixel of the val masks has a class" in tell_account(data).warnings[0]


def test_labelled_images_or_a_hold_out_without_a_class_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, ignored="a0 a1 a2 a3")
    with pytest.raises(
        DataError, match=r"no pixel of the labelled images of the split has a class"
    ):
        _plan(tmp_path)
    _write(tmp_path / "two", ignored="a0 a1 a2")
    held = EvaluationConfig(moment="best_holdout", num_holdout=3, every_steps=1)
    with pytest.raises(DataError, match=r"no pixel of the (hold-out|labelled images of the split)"):
        _plan(tmp_path / "two", evaluation=held)


def test_a_set_with_some_ignored_masks_is_planned(tmp_path: Path) -> None:
    _write(tmp_path, ignored="a1 a4")
    _plan(tmp_path)


def _config(**changes: Any) -> RunConfig:
    return tiny_config(**changes)


CELL = GeometryConfig(crop_px=(8, 8))
ALONE = BatchConfig(labelled=1, unlabelled=4)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"batch": ALONE}, "batch.labelled"),
        ({"batch": BatchConfig(labelled=2, unlabelled=1)}, "batch.unlabelled"),
        ({"batch": BatchConfig(labelled=4, unlabelled=4, accumulate=4)}, "batch.labelled"),
    ],
)
def test_batchnorm_with_a_single_value_is_refused(changes: dict[str, Any], key: str) -> None:
    config = _config(**{"geometry": CELL, **changes})
    with pytest.raises(ConfigError, match=rf"{key} and geometry.crop_px: .*Raise {key} or geom"):
        check_batch_statistics(config, 3, num_workers=1)


@pytest.mark.parametrize("batchnorm", ["trainable", "frozen"])
def test_the_mean_of_a_whole_map_is_one_value_however_large_the_crop(
    batchnorm: Literal["trainable", "frozen"],
) -> None:
    network = DeepLabV3PlusConfig(
        backbone="test_resnet", weights="none", decoder_width=8, batchnorm=batchnorm
    )
    geometry = GeometryConfig(crop_px=(512, 512))
    config = _config(network=network, geometry=geometry, batch=ALONE)
    if batchnorm == "frozen":
        check_batch_statistics(config, 3, num_workers=1)
        return
    with pytest.raises(ConfigError, match=r"deeplab_v3_plus .* behind the mean of its whole map"):
        check_batch_statistics(config, 3, num_workers=1)
    together = BatchConfig(labelled=2, unlabelled=2)
    check_batch_statistics(_config(network=network, batch=together), 3, num_workers=1)


@pytest.mark.parametrize(
    ("device", "num_workers", "gpus", "is_refused"),
    [
        ("auto", 2, 0.0, True),
        ("cpu", 2, 1.0, True),
        ("auto", 2, 1.0, False),
        ("cuda", 2, 1.0, False),
        ("auto", 1, 0.0, False),
    ],
)
def test_workers_without_gpus_have_no_batch_statistics_in_common(
    device: Literal["auto", "cpu", "cuda"], num_workers: int, gpus: float, is_refused: bool
) -> None:
    runtime = RuntimeConfig(device=device)
    check_sync_batchnorm(_config(runtime=runtime), num_workers, gpus)
    config = _config(runtime=runtime, sync_batchnorm=True)
    if not is_refused:
        check_sync_batchnorm(config, num_workers, gpus)
        return
    with pytest.raises(ConfigError, match=r"sync_batchnorm = true: the 2 .* Set sync_batchnorm: f"):
        check_sync_batchnorm(config, num_workers, gpus)


def test_workers_share_a_batch(tmp_path: Path) -> None:
    config = _config(geometry=CELL, batch=BatchConfig(labelled=4, unlabelled=4))
    check_batch_statistics(config, 3, num_workers=2)
    with pytest.raises(ConfigError, match="one image per forward"):
        check_batch_statistics(config, 3, num_workers=4)


@pytest.mark.parametrize(
    "changes",
    [
        {"batch": BatchConfig(labelled=2, unlabelled=2)},
        {"geometry": GeometryConfig(crop_px=(16, 8))},
        {
            "network": DeepLabV2Config(
                backbone="test_resnet",
                weights="none",
                batchnorm="frozen",
            )
        },
        {"network": SetrConfig(backbone="test_vit", weights="none", decoder_width=8)},
    ],
)
def test_more_values_or_statistics_that_stand_are_no_problem(changes: dict[str, Any]) -> None:
    values: dict[str, Any] = {"geometry": CELL, "batch": BatchConfig(labelled=1, unlabelled=1)}
    if "network" in changes and isinstance(changes["network"], SetrConfig):
        values["geometry"] = GeometryConfig(crop_px=(32, 32))
    check_batch_statistics(_config(**(values | changes)), 3, num_workers=1)
