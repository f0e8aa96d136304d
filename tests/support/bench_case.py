"""The smallest setting of the benchmark, in words, and the smallest archives of records."""

import zipfile
from pathlib import Path

from rml_benchmarks.one_gpu.records import INNER

_WORDS = (
    "--backbone test_resnet --crop 24 32 --batch 2 2 --classes 3 --precision float32 --rounds 1"
)
TINY_WORDS = _WORDS.split()


def archive_of(file: Path, *runs: str, is_nested: bool = True) -> Path:
    """An archive with records of these runs; older ones are not nested."""
    inner = file.with_name("inner.zip") if is_nested else file
    with zipfile.ZipFile(inner, "w") as zipped:
        zipped.writestr("studies/evidence/plan.json", "{}")
        for run in runs:
            zipped.writestr(f"runs/{run}/result.json", run)
    if is_nested:
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.write(inner, INNER)
        inner.unlink()
    return file
