"""Which files a prepared set was made from: their sizes, times and contents, to notice a change.

Names and sizes are compared always. A file whose time differs is read again and its content
decides: a copy with new times is no change, a mask corrected in place is one. What no program can
see without reading everything is a file exchanged for one of the same size and the same time;
`--fresh` prepares again whatever the record says.
"""

import contextlib
import hashlib
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

FILE = "sources.json"
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class SourceFile:
    """One file as it was when the set was prepared."""

    size: int
    mtime_ns: int
    content: str
    """sha256, first 16 hex digits."""

    @classmethod
    def of(cls, path: Path) -> "SourceFile":
        stat = path.stat()
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()[:16]
        return cls(stat.st_size, stat.st_mtime_ns, content)


def record(files: Mapping[str, Path], num_threads: int) -> dict[str, SourceFile]:
    """Size, time and content of every file, by name."""
    with ThreadPoolExecutor(num_threads, "hash") as pool:
        return dict(zip(files, pool.map(SourceFile.of, files.values()), strict=True))


def write(folder: Path, found: Mapping[str, SourceFile]) -> None:
    """Store beside a prepared set, whole or not at all."""
    rows = {name: [one.size, one.mtime_ns, one.content] for name, one in found.items()}
    temporary = folder / f"{FILE}.writing"
    temporary.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    temporary.replace(folder / FILE)


def read(folder: Path) -> dict[str, SourceFile] | None:
    """Of a prepared set; None where there is none, or none that can be read: then nothing is known,
    and the set is judged as one that was prepared before records were kept."""
    try:
        rows = json.loads((folder / FILE).read_text(encoding="utf-8"))
        return {name: SourceFile(*row) for name, row in rows.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def changed_files(folder: Path, files: Mapping[str, Path]) -> list[str]:
    """Names of the files that are not those of a prepared set any more.

    The record learns the new times of files whose content is the same. Of a set without a record
    every file counts that is younger than the set.
    """
    known = read(folder)
    if known is None:
        prepared_ns = (folder / MANIFEST).stat().st_mtime_ns
        return [name for name, path in files.items() if path.stat().st_mtime_ns > prepared_ns]
    changed = sorted(known.keys() ^ files.keys())
    touched: dict[str, SourceFile] = {}
    for name, path in files.items():
        before = known.get(name)
        if before is None:
            continue
        stat = path.stat()
        if stat.st_size != before.size:
            changed.append(name)
        elif stat.st_mtime_ns != before.mtime_ns:
            now = SourceFile.of(path)
            if now.content == before.content:
                touched[name] = now
            else:
                changed.append(name)
    if touched and not changed:
        # Only spares the next look; a folder that cannot be written is looked at again.
        with contextlib.suppress(OSError):
            write(folder, known | touched)
    return changed
