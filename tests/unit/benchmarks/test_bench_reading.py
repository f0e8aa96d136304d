"""What the reading benchmark compares: the same images, prepared and as files."""

from pathlib import Path

import pytest
import torch

from rml_benchmarks.parts.epochs import BATCH, DecodedCrops, evict, read_epoch
from rml_benchmarks.parts.reading import compare_readers
from rml_benchmarks.workload.sources import Source, scenes
from rml_trainers.noise.config import GeometryConfig

pytestmark = pytest.mark.usefixtures("single_thread")
GEOMETRY = GeometryConfig(crop_px=(24, 32))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return scenes(tmp_path_factory.mktemp("sources"), (48, 64), 5)


def test_scenes_are_stored_as_photographs_are(source: Source) -> None:
    pairs = list(source.pairs())
    assert source.title == "5 scenes 48×64 (JPG)"
    assert {(image.suffix, mask.suffix) for image, mask in pairs} == {(".jpg", ".png")}
    assert len(source.prepared().names("train")) == len(pairs) == 4, "one scene is for validation"


def test_both_readers_give_the_same_crops(source: Source) -> None:
    comparison = compare_readers("t", source, GEOMETRY, 1)
    assert [timing.name for timing in comparison.timings] == ["read prepared", "decode with Pillow"]


def test_an_epoch_has_every_training_image(source: Source) -> None:
    assert read_epoch(source, GEOMETRY, 0) == 4 < BATCH
    decoded = DecodedCrops(source, GEOMETRY)
    images, labels = zip(*(decoded[i] for i in range(len(decoded))), strict=True)
    assert torch.stack(images).shape == (4, 3, 24, 32) and torch.stack(labels).shape == (
        4,
        1,
        24,
        32,
    )


def test_an_evicted_file_is_still_whole(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc" * 5000)
    evict([file])
    assert file.read_bytes() == b"abc" * 5000
