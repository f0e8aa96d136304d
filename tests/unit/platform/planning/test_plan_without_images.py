"""Studies without their images: cells and cost all the same, and what several studies share."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.planning.plan_without_images import plan_without_images
from rml_platform.study.schema import load_study
from rml_trainers.errors import ConfigError
from tests.support.platform.studies import STUDY, write_study

CAMVID = STUDY.replace(
    "data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}", "data: {name: camvid}"
)
RATED = (
    f"{CAMVID}cost: {{seconds_per_megapixel: {{deeplab_v2: 3600}}, device: abacus, source: "
    "counted on fingers}\n"
)


def rml(*arguments: object) -> str:
    done = CliRunner().invoke(
        app, [str(a) for a in arguments], env={"COLUMNS": "200", "RML_DATA": ""}
    )
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


def test_equal_settings_are_one_run_whatever_the_runtime(tmp_path: Path) -> None:
    again = "  - {label: Again, set: {peer_network: null, runtime.log_every_steps: 7}}\n"
    study = load_study(
        write_study(tmp_path, CAMVID.replace("  - label: RML\n", f"{again}  - label: RML\n"))
    )
    plan = plan_without_images(study, "nothing there")
    assert plan.num_cells == 12
    assert len(plan.runs) == 8
    assert [cell.row for cell in plan.runs[0].cells] == ["Supervised", "Again"]
    assert plan.missing == "nothing there"


def test_weights_that_are_not_there_stand_in_by_their_name(tmp_path: Path) -> None:
    network = "{weights: file, weights_file: nowhere/one.safetensors}"
    files = f"  - {{label: One, set: {{method.name: rml, network: {network}}}}}\n"
    text = CAMVID.replace(
        "  - label: RML\n",
        f"{files}{files.replace('One', 'Two').replace('one', 'two')}  - label: RML\n",
    )
    plan = plan_without_images(load_study(write_study(tmp_path, text)), "nothing there")
    assert len(plan.runs) == 16
    ends = [run.stages(None)[-1].hash for run in plan.runs if run.config.method.name == "rml"]
    assert len(set(ends)) == len(ends) == 12, "no two of them are trained as one"
    assert "16 runs for 16 cells" in rml(
        "plan", write_study(tmp_path, text), "--out", tmp_path / "out"
    )


def test_plan_without_images_lists_cells_cost_and_what_is_missing(tmp_path: Path) -> None:
    text = rml("plan", write_study(tmp_path, RATED), "--out", tmp_path / "out")
    assert text.count("Supervised") == 4
    assert "8 runs for 8 cells, by their settings alone" in text
    assert "abacus-hours for 8 runs (counted on fingers)" in text
    assert "data missing, so runs have no ids yet: data set 'camvid' needs images on disk" in text
    assert not (tmp_path / "out" / "cache").exists()


def test_the_splits_of_a_published_set_are_known_and_checked(tmp_path: Path) -> None:
    text = CAMVID.replace("{name: camvid}", "{name: cityscapes}").replace(
        "{split.num_labelled: 2}", "{split.num_labelled: 100}"
    )
    printed = rml("plan", write_study(tmp_path, text), "--out", tmp_path / "out")
    assert printed.count("8ae9b182a9cb") == 4, (
        "the published hash of French et al.'s first split of 100"
    )
    too_many = text.replace("{split.num_labelled: 5}", "{split.num_labelled: 2975}")
    with pytest.raises(ConfigError, match="2 of 8 cells cannot run") as caught:
        plan_without_images(load_study(write_study(tmp_path, too_many)), "nothing there")
    assert "all 2975 training images are labelled, so rml has none" in str(caught.value)


def test_a_data_root_without_the_data_set_is_missing_data_too(tmp_path: Path) -> None:
    text = rml(
        "plan", write_study(tmp_path, CAMVID), "--data-root", tmp_path, "--out", tmp_path / "out"
    )
    assert "no such folder" in text
    assert "unknown until one of them has trained" in text


@pytest.mark.parametrize(("name", "noun"), [("camvid", "settings alone"), ("scenes", "8 to do")])
def test_runs_that_two_studies_share_are_counted_once(tmp_path: Path, name: str, noun: str) -> None:
    text = RATED if name == "camvid" else STUDY
    (tmp_path / "other").mkdir()
    first = write_study(tmp_path, text)
    second = write_study(
        tmp_path / "other", text.replace("name: tiny", "name: other").replace("[0, 1]", "[1, 2]")
    )
    printed = rml("plan", first, second, "--out", tmp_path / "out")
    assert printed.count(noun) == 2
    assert (
        "together: 12 runs for 16 cells of 2 studies; 4 runs fill cells of more than one study"
        in printed
    )
    if name == "camvid":
        assert "abacus-hours for 12 runs" in printed


def test_the_rate_of_a_study_is_of_its_own_size(tmp_path: Path) -> None:
    path = write_study(tmp_path, RATED)
    whole = load_study(path)
    small = load_study(path, (), "small")
    assert whole.cost is not None and whole.cost.device == "abacus"
    assert small.cost is None
    own = RATED.replace(
        "    seeds: [7]", "    seeds: [7]\n    cost: {seconds_per_megapixel: {}, source: its own}"
    )
    of_profile = load_study(write_study(tmp_path, own), (), "small").cost
    assert of_profile is not None and of_profile.source == "its own"
