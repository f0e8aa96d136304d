"""The command line: help, options, exit codes, and errors a person can read."""

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app, main
from tests.support.platform.studies import STUDY, write_study
from tests.support.published_trees import write_voc

_COMMANDS = "demo run plan launch status cancel tables figures predict compare doctor data tracking"
COMMANDS = _COMMANDS.split()
runner = CliRunner()


def rml(*arguments: object, env: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and output of a command that ends well."""
    done = runner.invoke(
        app, [str(argument) for argument in arguments], env={"COLUMNS": "200", **(env or {})}
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: object
) -> str:
    """What a command that a person used wrongly says on stderr, its exit code being 2."""
    monkeypatch.setattr(sys, "argv", ["rml", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err + printed.out
    return printed.err


def test_help_lists_every_command() -> None:
    code, text = rml("--help")
    assert code == 0
    for command in COMMANDS:
        assert f" {command} " in text


@pytest.mark.parametrize(
    "command",
    [
        *COMMANDS,
        *("data download", "data prepare", "data check", "data splits", "data inspect"),
        *("tracking sync", "tracking serve"),
    ],
)
def test_every_command_explains_itself_and_its_options(command: str) -> None:
    code, text = rml(*command.split(), "--help")
    assert code == 0
    assert "usage" in text.lower()
    if command in (
        "run",
        "plan",
        "launch",
        "status",
        "cancel",
        "tables",
        "figures",
        "demo",
        "data download",
        "data prepare",
        "data splits",
    ):
        assert "--set" in text


def test_the_installed_command_starts_without_heavy_imports() -> None:
    code = (
        "import sys; sys.argv = ['rml', '--help']\n"
        "from rml_platform.cli import main\n"
        "try: main()\n"
        "except SystemExit: print('loaded', *(m for m in ('torch', 'ray', 'mlflow', 'pydantic') if "
        "m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].strip() == "loaded"


def test_a_launch_begins_without_what_only_training_and_tables_need() -> None:
    code = (
        "import sys, rml_platform.launch.launch, rml_platform.planning.plan_from_file\n"
        "heavy = ('timm', 'torchvision', 'torch._dynamo', 'scipy', 'pandas', 'mlflow', 'ray')\n"
        "print('loaded', *(m for m in heavy if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "loaded"


def test_plan_lists_cells_and_status_their_runs(tmp_path: Path) -> None:
    study = write_study(tmp_path)
    code, text = rml("plan", study, "--out", tmp_path / "out")
    assert code == 0
    assert text.count("to do") == 8 + 1
    assert "8 runs for 8 cells: 8 to do" in text
    assert "unknown until one of them has trained" in text
    code, text = rml("status", study, "--out", tmp_path / "out", "--set", "seeds=[0]")
    assert "4 runs for 4 cells: 4 to do" in text
    assert "0/8" in text
    assert not (tmp_path / "out" / "runs").exists(), "planning starts nothing"


def test_cancel_without_anything_running(tmp_path: Path) -> None:
    code, text = rml("cancel", write_study(tmp_path), "--out", tmp_path / "out")
    assert code == 0
    assert "cancelled before they run: 8 runs" in text
    study = tmp_path / "study.yaml"
    for told in ("taken back: ", "none of these runs is cancelled"):
        code, text = rml("cancel", study, "--undo", "--out", tmp_path / "out")
        assert (code, told in text) == (0, True)


def test_data_can_be_prepared_checked_and_split(tmp_path: Path) -> None:
    settings = ("--set", "size_px=[32, 48]", "--set", "num_train=10", "--set", "num_val=3")
    _, text = rml("data", "prepare", "scenes", *settings, "--out", tmp_path)
    folder, content_hash = text.splitlines()[0].split()
    assert "10 train images, 10 with a mask" in text
    assert (Path(folder) / "manifest.json").is_file()
    assert len(content_hash) == 12
    _, text = rml("data", "check", folder)
    assert "sound; 10 train, 3 val images" in text
    done = runner.invoke(app, ["data", "splits", "scenes", *settings, "--count", "3"])
    assert len(done.stdout.split()) == 3
    assert "3 labelled, 7 unlabelled, hash " in done.stderr
    _, text = rml("data", "prepare", write_study(tmp_path), "--out", tmp_path)
    assert text.split()[0] == folder, "a study names the same data"


def test_a_download_goes_only_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.delenv("RML_DATA", raising=False)
    assert "where to? Give --data-root DIR or set RML_DATA" in failure(
        monkeypatch, capsys, "data", "download", "voc"
    )
    write_voc(tmp_path)
    monkeypatch.setenv("RML_DATA", str(tmp_path))
    code, text = rml("data", "download", "voc", "--set", "complete=false")
    assert (code, text) == (0, f"voc: already complete in {tmp_path}\n")


@pytest.mark.parametrize(
    ("arguments", "split_hash"),
    [
        (("cityscapes", "--count", "100"), "8ae9b182a9cb"),
        (("voc", "--count", "106", "--seed", "0"), "494702715ac1"),
        (("voc", "--family", "dmt", "--fraction", str(1 / 50), "--seed", "0"), "f1ad6f69af3d"),
    ],
)
def test_splits_of_published_sets_need_no_images(
    arguments: tuple[str, ...], split_hash: str
) -> None:
    done = runner.invoke(app, ["data", "splits", *arguments], env={"RML_DATA": ""})
    assert done.exit_code == 0
    assert f"hash {split_hash}" in done.stderr
    assert (
        hashlib.sha256("\n".join(sorted(done.stdout.split())).encode()).hexdigest()[:12]
        == split_hash
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["plan", "absent.yaml"], ["absent.yaml: no such file"]),
        (
            ["plan", "STUDY", "--set", "optimser.lr=1"],
            ["--set optimser.lr", "did you mean 'optimiser'?"],
        ),
        (
            ["plan", "STUDY", "--set", "split.num_labelled=99"],
            ["8 of 8 cells", "split.num_labelled = 99"],
        ),
        (
            ["launch", "STUDY", "--set", "execution=train", "--set", "resources.workers=9999"],
            ["this machine has"],
        ),
        (["run", "STUDY"], ["this is a study", "rml launch"]),
        (["predict", "no-such-run", "x.png"], ["no run 'no-such-run'"]),
        (["compare", "no-such-run=ours"], ["no run 'no-such-run'", "there are none"]),
        (["figures", "STUDY"], ["Launch the study first"]),
        (["data", "prepare", "camvit"], ["did you mean 'camvid'?"]),
        (
            ["data", "prepare", "scenes", "--set", "size=3"],
            ["--set size", "did you mean 'size_px'?"],
        ),
        (
            ["data", "splits", "scenes", "--family", "frensh", "--count", "3"],
            ["did you mean 'french'?"],
        ),
        (
            ["data", "splits", "scenes", "--count", "3", "--fraction", "0.5"],
            ["exactly one of the two"],
        ),
        (["data", "check", "nowhere"], ["nowhere"]),
        (
            ["data", "download", "cityscapes", "--data-root", "."],
            ["rml downloads", "www.cityscapes-dataset.com"],
        ),
        (["nonsense"], ["No such command"]),
    ],
)
def test_errors_are_one_message_on_stderr(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    parts: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = str(write_study(tmp_path, STUDY))
    text = failure(
        monkeypatch, capsys, *(study if argument == "STUDY" else argument for argument in arguments)
    )
    for part in parts:
        assert part in text


def test_an_error_of_the_program_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("rml_platform.doctor.examine", broken)
    monkeypatch.setattr(sys, "argv", ["rml", "doctor"])
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main()


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            IsADirectoryError(errno.EISDIR, "Is a directory", ".r.zip.tmp", None, "folder"),
            "folder: Is a directory",
        ),
        (FileExistsError(errno.EEXIST, "File exists", "tables"), "tables: File exists"),
        (NotADirectoryError(errno.ENOTDIR, "Not a directory", "a/b"), "a/b: Not a directory"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), "/a: Permission denied"),
        (
            PermissionError(errno.EACCES, "Failed to open local file '/a/b'"),  # as pyarrow has it
            "[Errno 13] Failed to open local file '/a/b'",
        ),
        (
            OSError(errno.EIO, "Input/output error", "s3://key:hush@b/runs"),
            "[Errno 5] Input/output error: 's3://key:***@b/runs'. The storage is away: see that it "
            "answers, and give the command again",
        ),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, OSError) else "",
)
def test_a_path_in_the_way_and_a_storage_that_is_away_are_no_errors_of_the_program(
    error: OSError,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("rml_platform.doctor.examine", Mock(side_effect=error))
    assert failure(monkeypatch, capsys, "doctor") == f"rml: {told}\n"


def test_an_error_of_the_system_that_names_no_file_keeps_its_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    forbidden = PermissionError(errno.EPERM, "Operation not permitted")  # as of a signal
    monkeypatch.setattr("rml_platform.doctor.examine", Mock(side_effect=forbidden))
    monkeypatch.setattr(sys, "argv", ["rml", "doctor"])
    with pytest.raises(PermissionError):
        main()


@pytest.mark.parametrize(
    ("command", "what"),
    [
        (["tables", "STUDY", "--to", "a file"], "a file: "),
        (["plan", "STUDY", "--out", "a file"], "a file"),
        (["status", "STUDY", "--out", "a file"], "a file"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_file_where_a_folder_is_wanted_is_named(
    command: list[str],
    what: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    study = str(write_study(tmp_path, STUDY))
    (tmp_path / "a file").write_text("of somebody")
    words = [study if word == "STUDY" else word for word in command]
    if "--to" in command:
        words += ["--tracking-uri", "none"]
        rml("plan", study)
    assert what in failure(monkeypatch, capsys, *words)
    assert (tmp_path / "a file").read_text() == "of somebody"


def test_a_disk_that_is_full_is_no_error_of_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "tables.md")
    monkeypatch.setattr("rml_platform.doctor.examine", Mock(side_effect=full))
    text = failure(monkeypatch, capsys, "doctor")
    assert text == "rml: [Errno 28] No space left on device: 'tables.md'\n"
