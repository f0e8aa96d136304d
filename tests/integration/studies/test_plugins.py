"""A method, a network, a data set and a metric from a folder outside the repository, through the
command line and without Ray."""

from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from PIL import Image
from typer.testing import CliRunner

from rml_platform.cli import app
from rml_platform.planning.run_id import run_id
from rml_platform.plugins import load_plugin
from rml_platform.run.run_folder import RunFolder
from rml_trainers.config import RunConfig
from rml_trainers.data.prepared.prepare import cache_folder
from rml_trainers.errors import RmlError
from tests.support.platform.documented_plugins import RUN, STUDY, options, write_plugins
from tests.support.platform.plugins import no_plugin_stays
from tests.support.tiny import tiny_config

pytestmark = pytest.mark.usefixtures("single_thread")


def rml(*arguments: object) -> str:
    """What a command says, in a process of its own as far as plug-ins go."""
    with no_plugin_stays():
        words = [str(argument) for argument in arguments]
        done = CliRunner().invoke(app, words, env={"COLUMNS": "400"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[Path, ...]]:
    """Folder of a run that uses all four, and their files."""
    folder = tmp_path_factory.mktemp("plug-ins")
    files = write_plugins(folder)
    (folder / "run.yaml").write_text(RUN)
    (folder / "study.yaml").write_text(STUDY)
    said = rml("run", folder / "run.yaml", "--out", folder / "out", *options(*files))
    assert "done: night-4-self_taught-s0-" in said, said
    return folder, files


def id_of(folder: Path) -> str:
    (run,) = (folder / "out" / "runs").iterdir()
    return run.name


def test_the_run_is_tracked_with_its_plug_ins_and_scored_by_the_metric(
    trained: tuple[Path, tuple[Path, ...]],
) -> None:
    folder, files = trained
    client = MlflowClient(f"sqlite:///{folder / 'out' / 'mlflow.db'}")
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    (recorded,) = client.search_runs(experiments)
    with no_plugin_stays():
        hashes = {load_plugin(str(file)).name: load_plugin(str(file)).hash for file in files}
    shown = dict(part.split("@") for part in recorded.data.tags["rml.plugins"].split())
    assert shown == hashes
    scores = recorded.data.metrics
    by_class = [value for name, value in scores.items() if name.startswith("final/iou/")]
    assert scores["final/worst_iou"] <= min(by_class)
    task = RunFolder.of(str(folder / "out"), id_of(folder)).task()
    assert task is not None
    assert {plugin.name: plugin.hash for plugin in task.plugins} == hashes


def test_the_same_content_elsewhere_is_the_same_run(
    trained: tuple[Path, tuple[Path, ...]], tmp_path: Path
) -> None:
    folder, _ = trained
    copies = write_plugins(tmp_path)
    said = rml("plan", folder / "study.yaml", "--out", folder / "out", *options(*copies))
    assert id_of(folder) in said
    assert "1 runs for 1 cells: 1 done" in said


@pytest.mark.parametrize("changed", ["my_method.py", "my_network.py", "my_data.py", "my_metric.py"])
def test_another_content_is_another_run_where_the_run_uses_it(
    trained: tuple[Path, tuple[Path, ...]], tmp_path: Path, changed: str
) -> None:
    folder, _ = trained
    copies = write_plugins(tmp_path)
    with (tmp_path / changed).open("a") as file:
        file.write("# a change\n")
    said = rml("plan", folder / "study.yaml", "--out", folder / "out", *options(*copies))
    is_same = id_of(folder) in said
    assert is_same is (changed == "my_metric.py")
    assert ("1 to do" in said) is not is_same


def test_a_finished_run_is_not_scored_again_by_a_changed_metric_and_that_is_told(
    trained: tuple[Path, tuple[Path, ...]], tmp_path: Path
) -> None:
    folder, _ = trained
    copies = write_plugins(tmp_path)
    with (tmp_path / "my_metric.py").open("a") as file:
        file.write("# a change\n")
    said = rml("launch", folder / "study.yaml", "--out", folder / "out", *options(*copies))
    assert "nothing to do: all 1 runs are done" in said
    assert f"{id_of(folder)} was scored before plug-in my_metric had its present content" in said


def test_runs_that_use_nothing_of_it_keep_their_id_and_their_data(tmp_path: Path) -> None:
    def identity(config: RunConfig) -> tuple[str, str]:
        run = run_id(config, split_hash="s", data_hash="d", num_labelled=4)
        return run, cache_folder(config.data, Path("cache")).name

    before = identity(tiny_config("rml"))
    with no_plugin_stays():
        for file in write_plugins(tmp_path):
            load_plugin(str(file))
        assert identity(tiny_config("rml")) == before


@pytest.mark.parametrize(
    ("left_out", "said"),
    [
        ("my_method.py", r"method\.name = \"self_taught\": unknown method; .*rml"),
        ("my_network.py", r"network\.name = \"small\": unknown network; .*deeplab_v2"),
        ("my_data.py", r"data\.name = \"night\": unknown data set; .*camvid"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "status", "tables"])
def test_an_absent_plug_in_is_asked_for(
    trained: tuple[Path, tuple[Path, ...]], command: str, left_out: str, said: str
) -> None:
    folder, files = trained
    given = [file for file in files if file.name != left_out]
    asked = rf"{said}.*if it lives in a plug-in, give --plugin MODULE or set RML_PLUGINS"
    with pytest.raises(RmlError, match=asked):
        rml(command, folder / "study.yaml", "--out", folder / "out", *options(*given))


@pytest.mark.parametrize("place", ["table: {metric: %s}", "columns: [{label: a, metric: %s}]"])
def test_an_absent_metric_is_asked_for_before_anything_is_trained(
    trained: tuple[Path, tuple[Path, ...]], tmp_path: Path, place: str
) -> None:
    _, files = trained
    study = tmp_path / "study.yaml"
    study.write_text(STUDY + place % "final/worst_iou" + "\n")
    rml("plan", study, "--out", tmp_path, *options(*files))
    given = [file for file in files if file.name != "my_metric.py"]
    asked = r"metric: 'final/worst_iou': no run records .* 'worst_iou'; .*miou.*; if it lives in a"
    with pytest.raises(RmlError, match=asked):
        rml("plan", study, "--out", tmp_path, *options(*given))


def test_status_and_tables_read_the_run(trained: tuple[Path, tuple[Path, ...]]) -> None:
    folder, files = trained
    place = [folder / "study.yaml", "--out", folder / "out", *options(*files)]
    assert f"{id_of(folder)}  done" in rml("status", *place)
    rml("tables", *place, "--to", folder / "tables")
    assert id_of(folder) in (folder / "tables" / "outside.csv").read_text()


def test_predictions_of_the_run_need_its_plug_ins_and_say_so(
    trained: tuple[Path, tuple[Path, ...]], tmp_path: Path
) -> None:
    folder, files = trained
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "street.png")
    words = [id_of(folder), tmp_path / "street.png", "--to", tmp_path, "--out", folder / "out"]
    with pytest.raises(RmlError, match=r"was trained with the plug-in my_.* give --plugin .*my_"):
        rml("predict", *words)
    rml("predict", *words, *options(*files))
    assert np.asarray(Image.open(tmp_path / "street_mask.png")).shape == (50, 70)
