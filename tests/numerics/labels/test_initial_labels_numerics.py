"""The store of p⁰: what a crop reads is what the whole image says at the same place."""

import errno
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
import torch

from rml_trainers.data.loading.whole_images import whole_images
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.errors import DataError
from rml_trainers.labels import stage_labels
from rml_trainers.labels.initial_labels import InitialLabelStore, InitialLabelWriter
from rml_trainers.methods.paper.rml import RmlConfig
from rml_trainers.noise.geometry import CropWindow
from tests.support.method_case import case

SIZE_PX = (33, 65)
CELLS = (5, 9)
Array = npt.NDArray[np.float64]


def write(
    path: Path, prob: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", bits: int = 16
) -> None:
    writer = InitialLabelWriter(path, bits=bits, made_by="weights")
    writer.add([f"image_{i}" for i in range(len(prob))], prob, SIZE_PX)
    writer.close()


def ramps() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Class 0 grows from left to right, class 1 from top to bottom: bilinear reading must keep both
    exactly linear."""
    rows, columns = np.meshgrid(
        np.linspace(0, 1, CELLS[0]), np.linspace(0, 1, CELLS[1]), indexing="ij"
    )
    return np.stack([columns, rows, np.full(CELLS, 0.25)])[None].astype(np.float32)


@pytest.mark.parametrize(("bits", "tolerance"), [(16, 5e-4), (8, 0.5 / 255 + 1e-6)])
def test_probabilities_come_back_within_their_precision(
    bits: int, tolerance: float, tmp_path: Path
) -> None:
    prob = (
        np.random.default_rng(0)
        .dirichlet(np.ones(6), size=(3, *CELLS))
        .transpose(0, 3, 1, 2)
        .astype(np.float32)
    )
    write(tmp_path / "p.arrow", prob, bits)
    store = InitialLabelStore(tmp_path / "p.arrow", CELLS, align_corners=True)
    for i in range(3):
        np.testing.assert_allclose(store.whole(f"image_{i}").numpy(), prob[i], atol=tolerance)


def test_a_crop_of_the_whole_image_is_the_whole_map(tmp_path: Path) -> None:
    write(tmp_path / "p.arrow", ramps())
    store = InitialLabelStore(tmp_path / "p.arrow", CELLS, align_corners=True)
    crop = store.crop("image_0", CropWindow(0, 0, *SIZE_PX, flip=False), SIZE_PX)
    torch.testing.assert_close(crop, store.whole("image_0"), atol=1e-3, rtol=0)


def reference_crop(
    prob: Array,
    size_px: tuple[int, int],
    window: CropWindow,
    crop_px: tuple[int, int],
    cells: tuple[int, int],
    aligned: bool,
) -> Array:
    """Cell by cell: where it sits in the crop, which image pixel that is, and what the map of p⁰
    says there."""
    out = np.empty((len(prob), *cells))
    for i, j in np.ndindex(*cells):
        if aligned:
            y = i * (crop_px[0] - 1) / max(1, cells[0] - 1)
            x = j * (crop_px[1] - 1) / max(1, cells[1] - 1)
        else:
            y = (i + 0.5) * crop_px[0] / cells[0] - 0.5
            x = (j + 0.5) * crop_px[1] / cells[1] - 0.5
        if window.flip:
            x = crop_px[1] - 1 - x
        at = []
        for pixel, length, crop, start, size, count in (
            (y, window.height, crop_px[0], window.top, size_px[0], prob.shape[1]),
            (x, window.width, crop_px[1], window.left, size_px[1], prob.shape[2]),
        ):
            source = (pixel + 0.5) * length / crop - 0.5 + start
            cell = (
                source * (count - 1) / (size - 1)
                if aligned
                else (source + 0.5) * count / size - 0.5
            )
            at.append(min(max(cell, 0.0), count - 1.0))
        (top, down), (left, right) = ((int(a), a - int(a)) for a in at)
        below = min(top + 1, prob.shape[1] - 1)
        beside = min(left + 1, prob.shape[2] - 1)
        upper = prob[:, top, left] * (1 - right) + prob[:, top, beside] * right
        lower = prob[:, below, left] * (1 - right) + prob[:, below, beside] * right
        out[:, i, j] = upper * (1 - down) + lower * down
    return out


@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(
    ("window", "crop_px"),
    [((4, 7, 16, 24), (16, 24)), ((2, 10, 24, 40), (16, 24)), ((20, 50, 30, 40), (24, 32))],
)
@pytest.mark.parametrize("cells", [(3, 4), (1, 1)])
def test_a_window_reads_what_the_reference_reads_in_images_of_any_size(
    window: tuple[int, int, int, int],
    crop_px: tuple[int, int],
    flip: bool,
    aligned: bool,
    cells: tuple[int, int],
    tmp_path: Path,
) -> None:
    """Two images of different sizes in one store; the third window overhangs the smaller one."""
    rng = np.random.default_rng(0)
    sizes_px = (SIZE_PX, (40, 72))
    maps = (rng.random((3, 5, 9)), rng.random((3, 5, 9)))
    writer = InitialLabelWriter(tmp_path / "p.arrow", bits=16, made_by="weights")
    for i, (size_px, prob) in enumerate(zip(sizes_px, maps, strict=True)):
        writer.add([f"image_{i}"], prob[None].astype(np.float32), size_px)
    writer.close()
    store = InitialLabelStore(tmp_path / "p.arrow", cells, align_corners=aligned)
    place = CropWindow(*window, flip=flip)
    for i, (size_px, prob) in enumerate(zip(sizes_px, maps, strict=True)):
        expected = reference_crop(prob, size_px, place, crop_px, cells, aligned)
        np.testing.assert_allclose(
            store.crop(f"image_{i}", place, crop_px).numpy(), expected, atol=1e-3
        )


@pytest.mark.parametrize("aligned", [True, False])
def test_cells_lie_where_upsampling_puts_them(aligned: bool, tmp_path: Path) -> None:
    """Reading p⁰ as finely as the image has pixels is what `interpolate` makes of the map."""
    prob = np.random.default_rng(1).random((1, 3, *CELLS)).astype(np.float32)
    write(tmp_path / "p.arrow", prob)
    store = InitialLabelStore(tmp_path / "p.arrow", SIZE_PX, align_corners=aligned)
    crop = store.crop("image_0", CropWindow(0, 0, *SIZE_PX, flip=False), SIZE_PX)
    upsampled = torch.nn.functional.interpolate(
        torch.from_numpy(prob), SIZE_PX, mode="bilinear", align_corners=aligned
    )
    torch.testing.assert_close(crop, upsampled[0], atol=1e-3, rtol=0)


def test_only_a_complete_file_of_the_same_weights_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    assert not InitialLabelStore.matches(path, "weights")
    write(path, ramps())
    assert InitialLabelStore.matches(path, "weights")
    assert not InitialLabelStore.matches(path, "other weights")
    path.write_bytes(path.read_bytes()[:-40])
    assert not InitialLabelStore.matches(path, "weights")


def test_a_full_disk_is_one_clear_error_and_leaves_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = InitialLabelWriter(tmp_path / "p.arrow", bits=16, made_by="weights")

    class FullDisk:
        def write_batch(self, batch: pa.RecordBatch) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_writer", FullDisk())
    with pytest.raises(DataError, match="the disk is full"):
        writer.add(["image_0"], ramps(), SIZE_PX)
    writer.discard()
    assert list(tmp_path.iterdir()) == []


def test_labels_made_again_go_through_the_networks_in_the_same_groups(
    tiny_data: PreparedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of some networks the last bits of an output depend on how many images there are."""
    groups: list[tuple[str, ...]] = []

    def noted(*args: Any) -> Iterator[tuple[Sequence[str], torch.Tensor]]:
        for names, images in whole_images(*args):
            groups.append(tuple(names))
            yield names, images

    monkeypatch.setattr(stage_labels, "whole_images", noted)
    c = case(RmlConfig(min_cells=1), tiny_data, tmp_path)
    first = list(groups)
    groups.clear()
    stored = sorted(tmp_path.glob("initial-labels-*.arrow"))
    contents = [path.read_bytes() for path in stored]
    for path in stored:
        path.unlink()
    c.method.resume_stage(c.trainer.stage_context(1))
    assert groups == first
    assert [path.read_bytes() for path in stored] == contents
