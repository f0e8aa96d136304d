"""Files are read again only where that may give something else."""

import time

import pytest

from rml_dashboards.contract.freshness import ReadFiles

LONG_AGO_NS = 1_000_000_000


class Read:
    """A file that counts how often it is read."""

    def __init__(self) -> None:
        self.num_reads = 0
        self.is_away = False

    def __call__(self) -> int:
        self.num_reads += 1
        if self.is_away:
            raise OSError("the storage is away")
        return self.num_reads


def test_a_file_is_read_once_until_its_size_or_time_changes() -> None:
    files = ReadFiles()
    read = Read()
    for size, changed_ns, expected in (
        (5, LONG_AGO_NS, 1),
        (5, LONG_AGO_NS, 1),
        (6, LONG_AGO_NS, 2),
        (6, LONG_AGO_NS + 1, 3),
        (None, None, 4),
        (None, None, 4),
    ):
        assert files.content("file", size, changed_ns, read) == expected
    assert files.content("other", None, None, read) == 5


def test_what_has_just_changed_is_read_once_more() -> None:
    files = ReadFiles()
    read = Read()
    now_ns = time.time_ns()
    assert [files.content("file", 5, now_ns, read) for _ in range(2)] == [1, 2]


def test_what_could_not_be_read_is_read_next_time() -> None:
    files = ReadFiles()
    read = Read()
    files.content("file", 5, LONG_AGO_NS, read)
    read.is_away = True
    with pytest.raises(OSError, match="away"):
        files.content("file", 6, LONG_AGO_NS, read)
    read.is_away = False
    assert files.content("file", 6, LONG_AGO_NS, read) == 3
