"""What fails on a node's own disk is told from what fails elsewhere."""

import errno
import tempfile
from pathlib import Path

import pytest

from rml_platform.run.files.node_disk import NodeDiskError, check_temporary, work_folder
from rml_trainers.errors import CheckpointError, DataError, HubHomeError


def full_checkpoint() -> CheckpointError:
    """As the trainer tells of a full disk."""
    error = CheckpointError("cannot write a checkpoint: the disk is full")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize(
    "error", [full_checkpoint(), OSError(errno.EROFS, "Read-only file system")]
)
def test_a_work_folder_whose_disk_takes_no_more_is_the_nodes_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(NodeDiskError, match=r"set TMPDIR on that node") as caught, work_folder():
        raise error
    assert str(tmp_path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def full_cache() -> HubHomeError:
    """Another disk, which tells its own place."""
    error = HubHomeError("this node cannot use timm's cache")
    error.__cause__ = OSError(errno.ENOSPC, "No space left on device")
    return error


@pytest.mark.parametrize("error", [DataError("damaged"), OSError(errno.EIO, "error"), full_cache()])
def test_other_errors_of_a_run_stay_what_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, work_folder():
        raise error
    assert caught.value is error


def test_a_temporary_folder_that_is_not_there_is_the_nodes_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_temporary()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(NodeDiskError, match=r"gone: .*set TMPDIR"):
        check_temporary()
    with pytest.raises(NodeDiskError, match=r"gone: .*set TMPDIR"), work_folder():
        raise AssertionError("there is none")
