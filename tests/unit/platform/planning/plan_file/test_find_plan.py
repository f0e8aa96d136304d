"""Which plan a command goes by: the written one where it is the plan of what was asked for, a new
one where that can be made, and never another one in silence."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rml_dashboards.contract.study_plan import plan_file
from rml_platform.planning.plan_file import find_plan as module
from rml_platform.planning.plan_file.find_plan import find_plan
from rml_platform.planning.plan_file.written_plan import WrittenPlan, write_plan
from rml_trainers.errors import ConfigError
from tests.support.platform.plan_on_disk import PlanOnDisk


@pytest.fixture
def there(tmp_path: Path) -> PlanOnDisk:
    return PlanOnDisk.make(tmp_path)


@pytest.fixture
def stderr(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was said since it was asked last."""
    return lambda: capsys.readouterr().err


def found(there: PlanOnDisk, study: str | Path | None = None, **options: object) -> WrittenPlan:
    return find_plan(
        str(study or there.study),
        out=there.out,
        data_root=there.data_root,
        **options,  # type: ignore[arg-type]
    )


def test_the_written_plan_is_taken_where_the_images_are_gone(
    there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    made = there.write()
    there.lose_images()
    stderr()
    assert found(there) == made
    assert found(there, "own") == made
    assert stderr() == ""


def test_an_output_folder_can_be_moved_and_read_from_elsewhere(
    there: PlanOnDisk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = there.write()
    there.lose_images()
    there.study.unlink()
    (tmp_path / "elsewhere").mkdir()
    there.out.rename(tmp_path / "elsewhere" / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert find_plan("own", out=Path("moved")) == made


def test_a_machine_that_reaches_only_the_storage(there: PlanOnDisk, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    made = there.write(storage=storage)
    assert find_plan("own", out=tmp_path / "nothing", storage=str(storage)) == made


def test_of_two_places_the_one_with_the_plan_that_was_asked_for(
    there: PlanOnDisk, tmp_path: Path
) -> None:
    """Another machine has launched the study with other seeds since; the storage has that plan."""
    storage = tmp_path / "storage"
    own = there.write()
    other = PlanOnDisk(there.study, there.data_root, tmp_path / "other machine")
    newer = other.write("seeds=[7]", storage=storage)
    newer = replace(newer, written_at="9999-01-01T00:00:00+00:00")
    write_plan(newer, storage)
    there.lose_images()
    place = str(storage)
    assert found(there, storage=place) == own
    assert found(there, storage=place, overrides=["seeds=[7]"]) == newer
    assert found(there, "own", storage=place) == newer, "by its name, the newest"


def test_a_changed_file_is_planned_anew_and_says_so(
    there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    made = there.write()
    there.study.write_text(there.study.read_text().replace("seeds: [0, 1]", "seeds: [0, 1, 2]"))
    stderr()
    again = found(there)
    assert (len(made.runs), len(again.runs)) == (4, 6)
    assert {run.run_id for run in made.runs} < {run.run_id for run in again.runs}
    said = stderr()
    assert f"{there.study}: the file has changed since its plan was written" in said
    assert f"`rml plan {there.study}` writes the plan down" in said
    written = json.loads((there.out / plan_file("own", None)).read_text())
    assert len(written["runs"]) == 4, "looking at a study does not replace its plan"


def test_a_changed_file_is_refused_where_it_cannot_be_planned(there: PlanOnDisk) -> None:
    there.write()
    there.lose_images()
    there.study.write_text(there.study.read_text() + "description: other\n")
    with pytest.raises(ConfigError) as caught:
        found(there)
    message = str(caught.value)
    assert message.startswith(f"{there.study}: the file has changed since its plan was written")
    assert "cannot be planned here" in message
    assert f"Run `rml plan {there.study}` where its images are" in message
    assert "the name instead of the file, own, to see the plan as it was written" in message


def test_by_its_name_a_plan_is_shown_as_written_and_a_changed_file_is_told(
    there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    made = there.write()
    there.study.write_text(there.study.read_text() + "description: other\n")
    stderr()
    assert found(there, "own") == made
    assert f"own: {there.study} has changed since its plan was written" in stderr()


@pytest.mark.parametrize("text", ["rows: [", "", "- a list"])
def test_by_its_name_a_plan_is_shown_while_its_file_is_being_written(
    text: str, there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    made = there.write()
    there.study.write_text(text)
    stderr()
    assert found(there, "own") == made
    said = stderr()
    assert f"own: {there.study} cannot be read now ({there.study}" in said
    assert "may have changed since its plan was written" in said
    assert "shown is the plan as it was written" in said


def test_other_settings_are_another_plan(there: PlanOnDisk, stderr: Callable[[], str]) -> None:
    there.write("seeds=[0]")
    stderr()
    assert len(found(there, overrides=["seeds=[0]"]).runs) == 2
    assert stderr() == ""
    assert len(found(there).runs) == 4
    assert "its plan was written with --set 'seeds=[0]', not without --set" in stderr()
    assert len(found(there, "own").runs) == 2
    assert "own: the plan of " in stderr()
    with pytest.raises(ConfigError, match=r"written with --set 'seeds=\[0\]', not with --set 's"):
        found(there, "own", overrides=["seeds=[1]"])
    there.lose_images()
    with pytest.raises(ConfigError, match="not without --set, and it cannot be planned here"):
        found(there)


def test_the_order_of_settings_makes_no_other_plan(
    there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    made = there.write("seeds=[0]", "optimiser.lr=0.1")
    there.lose_images()
    assert found(there, overrides=["optimiser.lr=0.1", "seeds=[0]"]) == made


def test_a_profile_is_another_plan(there: PlanOnDisk) -> None:
    there.write()
    short = there.write(profile="short")
    there.lose_images()
    assert found(there, profile="short") == found(there, "own", profile="short") == short
    assert found(there).profile is None
    with pytest.raises(ConfigError, match=r"no plan studies/own/plan-shrot.json .*own --profile"):
        found(there, "own", profile="shrot")


def test_results_of_another_version_are_other_runs(
    there: PlanOnDisk, stderr: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = there.write()
    monkeypatch.setattr(module, "RESULT_VERSION", made.result_version + 1)
    stderr()
    assert found(there, "own") == made
    assert "shown are the runs of that version" in stderr()
    there.lose_images()
    with pytest.raises(ConfigError, match="of version 1 of the results, and this rml makes"):
        found(there)


def test_without_a_plan_a_study_is_planned_and_that_is_told(
    there: PlanOnDisk, stderr: Callable[[], str]
) -> None:
    assert len(found(there).runs) == 4
    assert f"{there.study}: no plan of it was written, so it was planned now" in stderr()
    assert not (there.out / "studies").exists()


def test_without_a_plan_and_without_images_it_says_what_to_do(there: PlanOnDisk) -> None:
    there.write()
    there.lose_images()
    (there.out / plan_file("own", None)).unlink()
    with pytest.raises(
        ConfigError,
        match=r"no plan of it was written, .* Run `rml plan .* where its images are\. Missing: ",
    ):
        found(there)


def test_a_name_that_nobody_planned_lists_what_there_is(there: PlanOnDisk) -> None:
    with pytest.raises(ConfigError, match=r"no plan studies/onw/plan.json under .*; there is none"):
        found(there, "onw")
    there.write(profile="short")
    with pytest.raises(ConfigError, match=r"plans are there of: own --profile short. `rml plan"):
        found(there, "own")


@pytest.mark.parametrize("name", ["..", "", "a b", ".hidden"])
def test_names_are_no_paths(there: PlanOnDisk, name: str) -> None:
    with pytest.raises(ConfigError, match="expected a name, or the path of a study file"):
        find_plan(name, out=there.out)
    with pytest.raises(ConfigError, match="expected a name"):
        find_plan("own", profile=f"../{name}", out=there.out)


def test_a_damaged_plan_is_named_and_not_replaced(there: PlanOnDisk) -> None:
    there.write()
    file = there.out / plan_file("own", None)
    file.write_text("{")
    for study in (str(there.study), "own"):
        with pytest.raises(ConfigError, match=f"{file} is damaged"):
            found(there, study)
    assert file.read_text() == "{"


def test_plug_ins_of_another_content_are_another_plan(there: PlanOnDisk, tmp_path: Path) -> None:
    """The plan says which plug-ins it needs; whether they are the same is told without importing
    them."""
    there.write()
    there.lose_images()
    plugin = tmp_path / "mine.py"
    plugin.write_text("raise ImportError('reading a plan imports no plug-in')\n")
    assert found(there, plugins=[str(plugin)]).plugins == ()
    file = there.out / plan_file("own", None)
    value = json.loads(file.read_text())
    value["plugins"] = [{"name": "mine", "hash": "0" * 12}]
    file.write_text(json.dumps(value))
    assert found(there).plugins[0].name == "mine", "nothing was given that could differ"
    with pytest.raises(ConfigError, match="reading a plan imports no plug-in"):
        found(there, plugins=[str(plugin)])
