"""The store of p⁰: what a crop reads is what the whole image says at the same place."""

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from rml_trainers.errors import DataError
from rml_trainers.initial_labels import InitialLabelStore, InitialLabelWriter
from rml_trainers.noise.geometry import CropWindow

SIZE_PX, CELLS = (33, 65), (5, 9)


def write(path: Path, prob: "np.ndarray[tuple[int, ...], np.dtype[np.float32]]", bits: int = 16) -> None:
    writer = InitialLabelWriter(path, bits=bits, size_px=SIZE_PX, made_by="weights")
    writer.add([f"image_{i}" for i in range(len(prob))], prob)
    writer.close()


def ramps() -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """Class 0 grows from left to right, class 1 from top to bottom: bilinear reading must keep both exactly linear."""
    rows, columns = np.meshgrid(np.linspace(0, 1, CELLS[0]), np.linspace(0, 1, CELLS[1]), indexing="ij")
    return np.stack([columns, rows, np.full(CELLS, 0.25)])[None].astype(np.float32)


@pytest.mark.parametrize(("bits", "tolerance"), [(16, 5e-4), (8, 0.5 / 255 + 1e-6)])
def test_probabilities_come_back_within_their_precision(bits: int, tolerance: float, tmp_path: Path) -> None:
    prob = np.random.default_rng(0).dirichlet(np.ones(6), size=(3, *CELLS)).transpose(0, 3, 1, 2).astype(np.float32)
    write(tmp_path / "p.arrow", prob, bits)
    store = InitialLabelStore(tmp_path / "p.arrow", CELLS)
    for i in range(3):
        np.testing.assert_allclose(store.whole(f"image_{i}").numpy(), prob[i], atol=tolerance)


def test_a_crop_of_the_whole_image_is_the_whole_map(tmp_path: Path) -> None:
    write(tmp_path / "p.arrow", ramps())
    store = InitialLabelStore(tmp_path / "p.arrow", CELLS)
    crop = store.crop("image_0", CropWindow(0, 0, *SIZE_PX, flip=False), SIZE_PX)
    torch.testing.assert_close(crop, store.whole("image_0"), atol=1e-3, rtol=0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize(("window", "crop_px"), [((4, 7, 16, 24), (16, 24)), ((2, 10, 24, 40), (16, 24))])
def test_a_window_reads_the_pixels_that_its_image_crop_shows(
    window: tuple[int, int, int, int], crop_px: tuple[int, int], flip: bool, tmp_path: Path
) -> None:
    write(tmp_path / "p.arrow", ramps())
    cells = (3, 4)
    crop = InitialLabelStore(tmp_path / "p.arrow", cells).crop("image_0", CropWindow(*window, flip=flip), crop_px)
    top, left, height, width = window
    for i in range(cells[0]):
        for j in range(cells[1]):
            y, x = i * (crop_px[0] - 1) / (cells[0] - 1), j * (crop_px[1] - 1) / (cells[1] - 1)
            if flip:
                x = crop_px[1] - 1 - x
            source_y = (y + 0.5) * height / crop_px[0] - 0.5 + top
            source_x = (x + 0.5) * width / crop_px[1] - 0.5 + left
            assert float(crop[0, i, j]) == pytest.approx(source_x / (SIZE_PX[1] - 1), abs=2e-3)
            assert float(crop[1, i, j]) == pytest.approx(source_y / (SIZE_PX[0] - 1), abs=2e-3)
            assert float(crop[2, i, j]) == pytest.approx(0.25)


def test_only_a_complete_file_of_the_same_weights_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "p.arrow"
    assert not InitialLabelStore.matches(path, "weights")
    write(path, ramps())
    assert InitialLabelStore.matches(path, "weights")
    assert not InitialLabelStore.matches(path, "other weights")
    path.write_bytes(path.read_bytes()[:-40])
    assert not InitialLabelStore.matches(path, "weights")


def test_a_full_disk_is_one_clear_error_and_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = InitialLabelWriter(tmp_path / "p.arrow", bits=16, size_px=SIZE_PX, made_by="weights")

    class FullDisk:
        def write_batch(self, batch: pa.RecordBatch) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_writer", FullDisk())
    with pytest.raises(DataError, match="the disk is full"):
        writer.add(["image_0"], ramps())
    writer.discard()
    assert list(tmp_path.iterdir()) == []
