"""What `make gpu-evidence` starts, in which order, and what it makes of how that ends."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rml_benchmarks import gpu_evidence as command
from rml_benchmarks.gpu_evidence import RECORDS, SETTINGS, STUDY, Clock, Evidence, main
from rml_benchmarks.one_gpu.commands import TIME_UP, Commands
from rml_benchmarks.one_gpu.records import runs_in
from rml_platform.study.cells import expand
from rml_platform.study.schema import load_study
from tests.support.bench_case import archive_of


class Calls:
    """Stands in for what the command starts. Each launch brings a run to its end.

    Args:
        launches: exit codes of the launches in turn, then 0.
        unpacking: exit code of unpacking.
        failed: what is told of the runs that failed in a launch, such as `device a`.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        *,
        launches: Sequence[int] = (),
        unpacking: int = 0,
        failed: str = "",
    ) -> None:
        self.words = list[tuple[str, ...]]()
        self._codes = iter(launches)
        self._unpacking = unpacking
        monkeypatch.setattr(command, "lacking", lambda *_, **__: [])
        monkeypatch.setattr(command, "gpu_fault", lambda: None)
        monkeypatch.setattr(command, "launch_fault", lambda *_: None)
        monkeypatch.setattr(command, "ask", lambda *_: (0, failed, ""))
        monkeypatch.setattr(Commands, "run", self.run)

    def run(
        self,
        words: Sequence[str],
        *,
        seconds: float | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> int:
        own = tuple(words[2:])
        self.words.append(own)
        match own[:2]:
            case ("launch", _):
                run = f"run-{self.names.count('launch')}"
                folder = Path(own[own.index("--out") + 1], "runs", run)
                folder.mkdir(parents=True)
                (folder / "result.json").touch()
                return next(self._codes, 0)
            case ("records", "pack"):
                runs = Path(own[own.index("--out") + 1], "runs").iterdir()
                archive_of(Path(own[own.index("--to") + 1]), *(run.name for run in runs))
            case ("records", "unpack"):
                return self._unpacking
        return 0

    @property
    def names(self) -> list[str]:
        return [more if word == "records" else word for word, more, *_ in self.words]

    @property
    def seeds(self) -> list[str]:
        """Of the launches in turn."""
        launches = [words for words in self.words if words[0] == "launch"]
        return [words[words.index("--set") + 1].removeprefix("seeds=") for words in launches]


class Falling(Clock):
    """A clock of the test's own: each command takes so many seconds."""

    def __init__(self, seconds: float) -> None:
        super().__init__(0)
        self.seconds = seconds

    def left(self) -> float:
        return max(0.0, self.seconds)


def ladder(folder: Path) -> Evidence:
    return Evidence(folder / "to", folder / "work", dry=False, clock=Clock(60))


EACH = ["[0]", "[1]", "[2]", "[3]", "[4]"]


def test_every_seed_is_packed_and_shown_before_the_next_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    to = tmp_path / "to"
    assert main(["--only", "training", "--to", str(to)]) == 0
    assert calls.names == 5 * ["launch", "pack", "tables"]
    assert calls.seeds == EACH
    assert runs_in(to / RECORDS) == {f"run-{number}" for number in range(1, 6)}


@pytest.mark.parametrize(
    ("code", "failed", "seeds", "said"),
    [
        (1, "non_finite a\nout_of_memory b", EACH, "these runs failed: a, b"),
        (1, "", EACH, "exit code 1"),
        (1, "non_finite a\ndevice b", ["[0]", *EACH], None),
        (-11, "", ["[0]", *EACH], None),
        (2, "", ["[0]"], "exit code 2"),
        (143, "", ["[0]"], "exit code 143"),
        (-15, "", ["[0]"], "exit code -15"),
        (-9, "", ["[0]"], "exit code -9"),
        (TIME_UP, "", ["[0]"], "the time was up"),
    ],
)
def test_a_launch_that_fails_ends_the_ladder_only_where_no_other_could_go_on(
    code: int,
    failed: str,
    seeds: list[str],
    said: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that failed for good is in no later launch; what is made up for is not missing."""
    calls = Calls(monkeypatch, launches=[code], failed=failed)
    evidence = ladder(tmp_path)
    (tmp_path / "to").mkdir()
    evidence.train()
    assert calls.seeds == seeds
    expected = [] if said is None else [f"seed 0 was not trained to the end, {said}"]
    assert evidence.problems == expected


def test_the_runs_of_one_seed_are_those_that_the_whole_study_has() -> None:
    """So tables and records of the whole find what was launched seed by seed."""
    whole = [cell for cell in expand(load_study(STUDY, profile="medium")) if cell.seed == 1]
    assert expand(load_study(STUDY, ["seeds=[1]"], "medium")) == tuple(whole)


def test_a_gpu_that_is_lost_again_and_again_costs_two_launches_a_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, launches=10 * [1], failed="device a")
    evidence = ladder(tmp_path)
    (tmp_path / "to").mkdir()
    evidence.train()
    assert calls.seeds == [seed for seed in EACH for _ in range(2)]
    assert len(evidence.problems) == 5


def test_nothing_goes_on_on_the_cpu_once_the_gpu_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch, launches=[1], failed="device a")
    faults = iter([None, "no driver"])
    monkeypatch.setattr(command, "gpu_fault", lambda: next(faults))
    evidence = ladder(tmp_path)
    evidence.train()
    assert calls.seeds == ["[0]"]
    assert evidence.problems == ["the GPU cannot be used any more: no driver"]


@pytest.mark.parametrize("where", ["given", "own"])
def test_without_the_records_that_it_should_go_on_with_nothing_is_begun(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls(monkeypatch, unpacking=2)
    to = tmp_path / "to"
    words = ["--records", "gone.zip"] if where == "given" else []
    if where == "own":
        to.mkdir()
        (to / RECORDS).write_text("damaged")
    assert main(["--only", "training", "--to", str(to), *words]) == 1
    assert calls.names == ["unpack"], "nothing is trained"
    assert "nothing was begun" in capsys.readouterr().err
    if where == "own":
        assert (to / RECORDS).read_text() == "damaged"


def test_what_is_named_is_found_from_where_the_caller_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RML_DATA", "data")
    words = ["--to", "to", "--work", "work", "--records", "old.zip", "--minutes", "2"]
    assert main(["--only", "training", *words]) == 0
    unpacking = calls.words[0]
    assert unpacking[2] == str(tmp_path / "old.zip")
    assert unpacking[-1] == str(tmp_path / "work" / "outputs")
    packing = calls.words[calls.names.index("pack")]
    assert packing[packing.index("--data-root") + 1] == str(tmp_path / "data")
    assert (tmp_path / "to" / RECORDS).is_file()


def test_records_that_are_there_are_gone_on_with_and_never_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    calls = Calls(monkeypatch)
    before = archive_of(tmp_path / RECORDS, "c").read_bytes()
    assert main(["--only", "training", "--to", str(tmp_path)]) == 1
    assert calls.words[0][:3] == ("records", "unpack", str(tmp_path / RECORDS))
    assert (tmp_path / RECORDS).read_bytes() == before
    own = tmp_path / "records-2.zip"
    assert "run-1" in runs_in(own) and f"its own are in {own}" in capsys.readouterr().out


def test_step_times_take_no_records(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["--only", "steps", "--records", "old.zip", "--to", str(tmp_path / "to")])
    assert not (tmp_path / "to").exists()


def test_without_a_run_that_is_done_there_are_no_records_and_that_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Calls(monkeypatch)
    assert main(["--only", "training", "--to", str(tmp_path), "--minutes", "0"]) == 1
    said = capsys.readouterr().out
    assert "missing: the time was up before seed 0 was done" in said
    assert "missing: no run is done, so there are no records" in said


@pytest.mark.parametrize(
    ("seconds", "each", "share", "begun"),
    [
        (9000.0, 60.0, 0.4, 8),
        (1500.0, 120.0, 0.4, 4),  # of 600 s the fifth would have 120
        (500.0, 100.0, 0.4, 1),
        (440.0, 100.0, 0.4, 0),
        (440.0, 100.0, 1.0, 3),
    ],
)
def test_a_setting_gets_what_is_left_and_none_is_begun_with_too_little(
    seconds: float,
    each: float,
    share: float,
    begun: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Falling(seconds)
    given = list[tuple[str, float]]()

    def run(commands: Commands, words: Sequence[str], *, seconds: float, **how: object) -> int:
        given.append((words[words.index("--setting") + 1], seconds))
        clock.seconds -= each
        return 0

    monkeypatch.setattr(Commands, "run", run)
    evidence = Evidence(tmp_path, tmp_path / "work", dry=False, clock=clock)
    evidence.measure_steps(share)
    assert [name for name, _ in given] == list(SETTINGS[:begun]), "the most important first"
    whole = share * seconds
    left = [whole - each * number for number in range(begun)]
    assert [one for _, one in given] == pytest.approx(left)
    assert evidence.problems == [
        f"there was no time for the steps of {n}" for n in SETTINGS[begun:]
    ]


@pytest.mark.parametrize("fault", [None, "no driver"])
def test_after_a_setting_that_failed_the_next_is_measured_if_the_gpu_is_still_there(
    fault: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    codes = iter([1, TIME_UP, *len(SETTINGS) * [0]])
    monkeypatch.setattr(Commands, "run", lambda *_, **__: next(codes))
    monkeypatch.setattr(command, "gpu_fault", lambda: fault)
    evidence = Evidence(tmp_path, tmp_path / "work", dry=False, clock=Clock(600))
    evidence.measure_steps()
    first = "the steps of cityscapes were not measured (exit code 1)"
    second = "the steps of voc were not measured (the time was up)"
    gone = "the GPU cannot be used any more: no driver"
    assert evidence.problems == ([first, gone] if fault else [first, second])


def test_a_folder_that_takes_no_archive_ends_no_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = Calls(monkeypatch)
    evidence = ladder(tmp_path)  # its folder is not there
    evidence.train()
    assert calls.seeds == EACH
    assert evidence.problems and all("could not be brought to" in p for p in evidence.problems)
