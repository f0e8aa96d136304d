"""`rml status`, `cancel`, `tables` and `figures` go by the written plan: without images, without
what they do not need, and for thousands of cells."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.launch.scheduling.wishes import read_wishes
from rml_platform.planning.plan_file.written_plan import WrittenPlan, write_plan
from rml_platform.run.run_folder import Failure, RunFolder
from rml_trainers.errors import ConfigError
from tests.support.platform.plan_on_disk import PlanOnDisk, enlarged
from tests.support.platform.tasks import beat_of

NUM_CELLS = 2000
BEAT = beat_of(step=3, num_steps=8, loss=0.5)
FAILURE = Failure(
    kind="NonFiniteLossError",
    message="loss is nan",
    traceback="",
    attempt=1,
    launch_id="launch-1",
    time=0.0,
)


@pytest.fixture
def there(tmp_path: Path) -> PlanOnDisk:
    """A study whose plan is written and whose images are gone."""
    made = PlanOnDisk.make(tmp_path)
    made.write()
    made.lose_images()
    return made


@pytest.fixture
def plan(there: PlanOnDisk) -> WrittenPlan:
    from rml_platform.planning.plan_file.find_plan import find_plan

    return find_plan("own", out=there.out)


def rml(*arguments: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "60"})
    if done.exception is not None:
        raise done.exception
    return done.output


def in_a_new_process(*arguments: object) -> tuple[str, set[str]]:
    """What a command prints, and the packages that were imported for it."""
    code = (
        "import sys\n"
        "from rml_platform.cli import main\n"
        "try: main()\n"
        "finally: print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, set(done.stderr.splitlines()[-1].split())


def begin(there: PlanOnDisk, plan: WrittenPlan) -> list[RunFolder]:
    """The first run is at work, the second has failed."""
    running, failed = (RunFolder.of(str(there.out), run.run_id) for run in plan.runs[:2])
    running.write_heartbeat(BEAT)
    failed.write_failure(FAILURE)
    return [running, failed]


@pytest.mark.parametrize("by_name", [False, True])
def test_status_and_cancel_without_images(
    by_name: bool, there: PlanOnDisk, plan: WrittenPlan
) -> None:
    running, failed = begin(there, plan)
    study = "own" if by_name else there.study
    text = rml("status", study, "--out", there.out)
    lines = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert lines[running.run_id][1:4] == ["running", "3/8", "0.500"]
    assert f"{failed.run_id}: NonFiniteLossError: loss is nan" in " ".join(text.split())
    assert "4 runs for 4 cells: 1 running, 1 failed, 2 to do" in text
    told = rml("cancel", study, "--out", there.out).splitlines()
    assert told == [
        f"asked to stop after its next checkpoint: {running.run_id}",
        "cancelled before they run: 3 runs",
        f"no launch starts them until: rml cancel {study} --out {there.out} --undo",
    ]
    assert running.stop_requested() == "checkpoint"


def test_rows_and_runs_are_cancelled_and_taken_back(there: PlanOnDisk, plan: WrittenPlan) -> None:
    running, failed = begin(there, plan)
    out = ("--out", there.out)
    first, *others = (run.run_id for run in plan.runs if run.cells[0].row == "RML")
    told = rml("cancel", "own", "RML", *out).splitlines()
    assert told == [
        "cancelled before they run: 2 runs",
        f"no launch starts them until: rml cancel own RML --out {there.out} --undo",
    ]
    assert read_wishes(str(there.out), "own", None).cancelled == (first, *others)
    assert running.stop_requested() == "never"
    rml("cancel", "own", running.run_id, "--now", *out)
    assert running.stop_requested() == "report"
    assert failed.stop_requested() == "never"
    rml("cancel", "own", first, running.run_id, "--undo", *out)
    assert running.stop_requested() == "never"
    assert read_wishes(str(there.out), "own", None).cancelled == tuple(others)
    with pytest.raises(ConfigError, match="no row and no run is called 'RLM'; did you mean 'RML'"):
        rml("cancel", "own", "RLM", *out)


def test_a_priority_is_given_by_command(there: PlanOnDisk) -> None:
    text = rml("prioritise", "own", "RML", "7", "--out", there.out)
    assert text == "row 'RML': priority 7 (the file says 0)\n"
    asked = read_wishes(str(there.out), "own", None).priorities["RML"]
    assert (asked.priority, asked.instead_of) == (7, 0)
    rml("prioritise", "own", "--out", there.out, "--", "RML", "-2")
    assert read_wishes(str(there.out), "own", None).priorities["RML"].priority == -2
    with pytest.raises(ConfigError, match="no row is called 'ML'; did you mean"):
        rml("prioritise", "own", "ML", "1", "--out", there.out)


def test_long_labels_are_not_cut_where_nobody_looks_at_a_terminal(there: PlanOnDisk) -> None:
    plan = PlanOnDisk.make(there.out.parent / "again")
    plan.study.write_text(plan.study.read_text().replace("label: RML", f"label: {'x' * 90}"))
    text = rml("plan", plan.study, "--out", plan.out, "--data-root", plan.data_root)
    assert text.count("x" * 90) == 3


@pytest.mark.parametrize("command", ["status", "cancel", "cancel --undo"])
def test_looking_imports_no_framework(command: str, there: PlanOnDisk, plan: WrittenPlan) -> None:
    begin(there, plan)
    _, loaded = in_a_new_process(*command.split(), there.study, "--out", there.out)
    assert not {"torch", "ray", "mlflow", "pandas", "rml_trainers.networks"} & loaded
    assert "pyarrow" in loaded, "it did look"


@pytest.mark.parametrize("command", ["tables", "figures"])
def test_tables_and_figures_of_run_folders_import_no_framework(
    command: str, there: PlanOnDisk
) -> None:
    """What they need for drawing is theirs; torch, Ray and a tracker that is not asked are not."""
    code = "from rml_platform.cli import main; main()"
    words = (command, "own", "--out", there.out, "--tracking-uri", "none")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", code, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = {line.split("|")[-1].strip() for line in done.stderr.splitlines()}
    assert "rml_dashboards.records.opening" in loaded
    assert not {"torch", "ray", "mlflow"} & loaded


def test_tables_without_images(there: PlanOnDisk, plan: WrittenPlan) -> None:
    begin(there, plan)
    rml("tables", "own", "--out", there.out, "--tracking-uri", "none")
    table = (there.out / "studies" / "own" / "own.md").read_text()
    for run in plan.runs[:2]:
        assert run.run_id in table


def test_thousands_of_cells_are_shown_without_torch(there: PlanOnDisk, plan: WrittenPlan) -> None:
    many = enlarged(plan, NUM_CELLS)
    write_plan(many, there.out)
    running = RunFolder.of(str(there.out), many.runs[-1].run_id)
    running.write_heartbeat(BEAT)
    text, loaded = in_a_new_process("status", "own", "--out", there.out)
    shown = [line.split()[0] for line in text.splitlines()[1 : NUM_CELLS + 1]]
    assert shown == [run.run_id for run in many.runs]
    assert text.splitlines()[NUM_CELLS].split()[1] == "running" or "cut off" in text
    assert f"{NUM_CELLS} runs for {NUM_CELLS} cells" in text
    assert not {"torch", "ray", "mlflow"} & loaded


def test_launch_and_plan_write_the_plan(tmp_path: Path) -> None:
    there = PlanOnDisk.make(tmp_path)
    place = ("--out", there.out, "--data-root", there.data_root)
    text = rml("plan", there.study, *place, "--set", "seeds=[0]")
    assert "2 runs for 2 cells" in text
    there.lose_images()
    assert "2 runs for 2 cells" in rml("status", "own", "--out", there.out)
    with pytest.raises(ConfigError, match="cannot be planned here"):
        rml("status", there.study, *place)
