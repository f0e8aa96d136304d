"""Decode and resize every image once. A set appears whole under its name, or not at all."""

import contextlib
import errno
import hashlib
import json
import logging
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from rml_trainers.data.account import AccountBuilder, ImageFacts
from rml_trainers.data.dataset import SUBSETS, Dataset, RawImage, SizePx, Subset
from rml_trainers.data.prepared import source_record
from rml_trainers.data.prepared.arrow_writer import ArrowWriter, Row
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.manifest import FORMAT, Manifest
from rml_trainers.data.prepared.resizing import resize_image, resize_label
from rml_trainers.errors import DataError, is_disk_full
from rml_trainers.runtime.cores import usable_cores
from rml_trainers.settings.contract import DataConfig
from rml_trainers.settings.plugins import plugins_that_add

OnProgress = Callable[[int, int], None]
"""Told how many images are done and how many there are."""

Decoded = tuple[Row, ImageFacts]

NUM_SAMPLED = 8
"""Images per subset from whose sizes the space is estimated, where every image keeps its own."""
TOLD_AFTER_S = 5.0
"""Who waits for so long while another process prepares the same set is told so."""
_logger = logging.getLogger(__name__)


def cache_folder(config: DataConfig, cache_root: Path) -> Path:
    """Folder of a prepared set: readable name and a hash of its configuration, and of the plug-in
    that reads it where it is one's."""
    values = asdict(config)
    for added in fields(config):
        # What a later version added names the folder only where it is used.
        if "added_later" in added.metadata and values[added.name] == added.default:
            del values[added.name]
    if plugins := [plugin.hash for plugin in plugins_that_add(("data", config.name))]:
        values["plugins"] = plugins
    text = json.dumps(values, sort_keys=True)
    size = "original" if config.size_px is None else f"{config.size_px[0]}x{config.size_px[1]}"
    return cache_root / f"{config.name}-{size}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def ensure_prepared(
    config: DataConfig,
    data_root: Path | None,
    cache_root: Path,
    *,
    on_progress: OnProgress | None = None,
    fresh: bool = False,
) -> PreparedData:
    """Open the prepared set of a configuration, making it first if it is not there, damaged, or its
    source has changed (said in the log); `fresh` makes it in any case.

    Of two processes that want the same set one makes it and the other waits. Where the source is
    not at hand (no data root, as on a worker that has the cache only) a finished set is taken as it
    is.

    Raises:
        DataError: the source is missing or has bad files, or the set cannot be written.
    """
    from rml_trainers.data import DATASETS, build_dataset

    folder = cache_folder(config, cache_root)
    needs_root = DATASETS[config.name].needs_root
    if needs_root and data_root is None and folder.is_dir() and not fresh:
        return PreparedData.open(folder)
    dataset = build_dataset(config, data_root)
    if fresh:
        return prepare(dataset, folder, on_progress=on_progress)
    if (data := _up_to_date(folder, dataset, tell=False)) is not None:
        return data
    with _alone_at(folder):
        return _up_to_date(folder, dataset, tell=True) or _prepare(
            dataset, folder, on_progress, None
        )


def prepare(
    dataset: Dataset,
    folder: Path,
    *,
    on_progress: OnProgress | None = None,
    num_threads: int | None = None,
) -> PreparedData:
    """Decode, check and resize all images of a data set into `folder`, replacing what is there.

    The result does not depend on the number of threads, and at most a few images per thread are in
    memory.

    Raises:
        DataError: lists every bad file at once (missing mask, other size, class id out of range,
            corrupt image), or says that the disk is full. Nothing half-written stays behind.
    """
    with _alone_at(folder):
        return _prepare(dataset, folder, on_progress, num_threads)


@contextlib.contextmanager
def _alone_at(folder: Path) -> Iterator[None]:
    """Hold a lock beside the folder, hidden: a pattern such as `cache/camvid-*` names data alone.

    The system frees it when its holder dies. Another process may rightly prepare a large set for
    hours, so it is waited for, and named in the log.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"cannot write prepared data under {folder.parent}: {error.strerror}"
        ) from error
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=TOLD_AFTER_S)
    except Timeout:
        _logger.warning(
            "another process prepares %s (`fuser %s` names it) and is waited for",
            folder,
            lock.lock_file,
        )
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _up_to_date(folder: Path, dataset: Dataset, *, tell: bool) -> PreparedData | None:
    """The prepared set, or None where it must be made: absent, damaged or of another source. `tell`
    says why in the log."""
    if not folder.is_dir():
        return None
    try:
        data = PreparedData.open(folder)
    except DataError as error:
        why = f"{error}. It is prepared again now."
    else:
        outdated = _outdated(data, dataset)
        if outdated is None:
            return data
        why = f"{outdated}: it is prepared again now, and runs on it get other ids."
    if tell:
        _logger.warning("%s", why)
    return None


def _outdated(data: PreparedData, dataset: Dataset) -> str | None:
    """What has changed since a set was prepared."""
    name = data.folder.name
    if data.manifest.fingerprint != dataset.fingerprint():
        return f"The files of {name} are others than before"
    changed = source_record.changed_files(data.folder, dataset.sources().files)
    if not changed:
        return None
    return f"{len(changed)} files of {name} have changed (for example {changed[0]})"


def _prepare(
    dataset: Dataset, folder: Path, on_progress: OnProgress | None, num_threads: int | None
) -> PreparedData:
    """`prepare` for a caller that holds the lock."""
    writing = folder.with_name(f"{folder.name}.writing")
    shutil.rmtree(writing, ignore_errors=True)  # of a process that was killed
    try:
        writing.mkdir()
        _require_space(dataset, writing)
        _write_all(dataset, writing, on_progress, num_threads or min(8, usable_cores()))
        if folder.is_dir():
            shutil.rmtree(folder)
        writing.replace(folder)
    except OSError as error:
        reason = "the disk is full; free some space" if is_disk_full(error) else str(error)
        raise DataError(f"cannot write prepared data {folder}: {reason}") from error
    finally:
        shutil.rmtree(writing, ignore_errors=True)
    return PreparedData.open(folder)


def _require_space(dataset: Dataset, folder: Path) -> None:
    """Refuse before hours of decoding what cannot fit: four bytes per pixel."""
    needed = sum(
        4 * len(dataset.names(subset)) * _pixels_per_image(dataset, subset) for subset in SUBSETS
    )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(errno.ENOSPC, f"{needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free")


def _pixels_per_image(dataset: Dataset, subset: Subset) -> float:
    """Exact where all images get one size; else the mean over a few images spread over the set."""
    if dataset.config.size_px is not None:
        return dataset.config.size_px[0] * dataset.config.size_px[1]
    names = dataset.names(subset)
    pixels = list[int]()
    for i in np.unique(
        np.linspace(0, len(names) - 1, min(NUM_SAMPLED, len(names))).astype(int)
    ).tolist():
        with contextlib.suppress(
            DataError
        ):  # told by name, with every other bad file, when its turn comes
            height, width = dataset.read(subset, names[i]).image.shape[:2]
            pixels.append(height * width)
    return sum(pixels) / max(1, len(pixels))


def _write_all(
    dataset: Dataset, folder: Path, on_progress: OnProgress | None, num_threads: int
) -> None:
    """Both Arrow files and then the manifest; every bad image is met before the error that lists
    them all."""
    names = {subset: dataset.names(subset) for subset in SUBSETS}
    total = sum(map(len, names.values()))
    done = 0
    bad = list[str]()
    colour = np.zeros(3, np.int64)
    num_pixels = 0
    fingerprint = dataset.fingerprint()
    sources = dataset.sources()
    # Before decoding: what changes meanwhile is noticed next time.
    recorded = source_record.record(sources.files, num_threads)
    account = AccountBuilder(dataset.name, dataset.class_names)
    content: dict[str, str] = {}
    for subset in SUBSETS:
        with ArrowWriter(folder / f"{subset}.arrow") as writer:
            for decoded in _decoded(dataset, subset, names[subset], num_threads):
                done += 1
                if on_progress is not None:
                    on_progress(done, total)
                if isinstance(decoded, DataError):
                    bad.append(str(decoded))
                elif not bad:
                    row, facts = decoded
                    writer.add(row)
                    account.add(subset, facts, row.class_pixels)
                    if subset == "train":
                        colour += row.colour_sum
                        num_pixels += row.image.shape[0] * row.image.shape[1]
        content[subset] = writer.content
    if bad:
        listed = "\n  ".join(bad)
        raise DataError(
            f"data set {dataset.name!r}: {len(bad)} of {total} images cannot be used:\n  {listed}"
        )
    account.account(sources.skipped.reasons).write(folder)
    source_record.write(folder, recorded)
    red, green, blue = (round(int(channel) / num_pixels) for channel in colour)
    Manifest(
        format=FORMAT,
        name=dataset.name,
        class_names=dataset.class_names,
        size_px=dataset.config.size_px,
        mean_colour=(red, green, blue),
        fingerprint=fingerprint,
        num_images={subset: len(names[subset]) for subset in SUBSETS},
        file_bytes={subset: (folder / f"{subset}.arrow").stat().st_size for subset in SUBSETS},
        content=content,
    ).write(folder)


def _decoded(
    dataset: Dataset, subset: Subset, names: tuple[str, ...], num_threads: int
) -> Iterator[Decoded | DataError]:
    """Rows in the order of the names, decoded by threads a little ahead; an unusable image yields
    its error."""

    def decode(name: str) -> Decoded | DataError:
        try:
            raw = dataset.read(subset, name)
        except DataError as error:
            return error
        resized = _resized(raw, dataset.config.size_px)
        row = Row.of(name, resized, len(dataset.class_names))
        num_ignored = 0 if resized.label is None else int((resized.label == 255).sum())
        return row, ImageFacts.of(name, raw, num_ignored)

    with ThreadPoolExecutor(num_threads, "decode") as pool:
        waiting: deque[Future[Decoded | DataError]] = deque()
        try:
            for name in names:
                waiting.append(pool.submit(decode, name))
                if len(waiting) > 2 * num_threads:  # bounds the memory, however large the set
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _resized(raw: RawImage, size_px: SizePx | None) -> RawImage:
    """Image by antialiased bilinear, label by nearest pixel; untouched where the size is right or
    its own."""
    if size_px is None or raw.image.shape[:2] == size_px:
        return raw
    label = None if raw.label is None else resize_label(raw.label, size_px)
    return RawImage(resize_image(raw.image, size_px), label)
