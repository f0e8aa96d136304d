"""Plans: runs named once, shared cells found, everything checked before anything is started."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from rml_platform.planning.machine import Machine
from rml_platform.planning.plan import Plan, make_plan, plan_run
from rml_platform.study.cells import Study
from rml_platform.study.schema import load_study
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.errors import ConfigError, DeviceError
from tests.support.platform.studies import STUDY, write_study
from tests.support.tiny import SCENES, tiny_config

LAPTOP = Machine(cores=2, gpus=0)
GPU_BOX = Machine(cores=16, gpus=4)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Cache folder that holds the studies' data set already."""
    folder = tmp_path_factory.mktemp("plan-cache")
    ensure_prepared(SCENES, None, folder)
    return folder


def study_of(folder: Path, text: str = STUDY, *overrides: str) -> Study:
    return load_study(write_study(folder, text), overrides)


def planned(
    folder: Path, cache: Path, text: str = STUDY, *overrides: str, machine: Machine | None = LAPTOP
) -> Plan:
    return make_plan(
        study_of(folder, text, *overrides), data_root=None, cache_root=cache, machine=machine
    )


def test_every_cell_gets_a_run(tmp_path: Path, cache: Path) -> None:
    plan = planned(tmp_path, cache)
    assert len(plan.runs) == len(plan.cells) == 8
    first = plan.runs[0]
    assert first.run_id.startswith("scenes-2-supervised-s0-")
    assert len(first.split.labelled) == 2
    assert first.split_hash == first.split.hash
    assert PreparedData.open(first.prepared_folder).content_hash == first.data_hash
    assert len({run.run_id for run in plan.runs}) == 8


def test_cells_that_compute_the_same_share_a_run(tmp_path: Path, cache: Path) -> None:
    """A row that repeats another one's settings, written differently, is trained once and fills
    both."""
    text = STUDY.replace(
        "  - label: RML\n",
        "  - {label: Again, set: {peer_network: null, seed_: 0}}\n  - label: RML\n",
    )
    text = text.replace(", seed_: 0", "")
    plan = planned(tmp_path, cache, text)
    assert len(plan.cells) == 12
    assert len(plan.runs) == 8
    shared = plan.runs[0]
    assert [cell.row for cell in shared.cells] == ["Supervised", "Again"]


def test_a_plan_is_the_same_every_time(tmp_path: Path, cache: Path) -> None:
    assert planned(tmp_path, cache).runs == planned(tmp_path, cache).runs


def test_a_split_larger_than_the_data_set_names_its_cells(tmp_path: Path, cache: Path) -> None:
    text = STUDY.replace("{split.num_labelled: 5}", "{split.num_labelled: 50}")
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, cache, text)
    message = str(caught.value)
    assert "4 of 8 cells cannot run" in message
    assert "split.num_labelled = 50" in message
    assert "row 'Supervised', column '1/2', seed 0" in message
    assert "1/4" not in message


@pytest.mark.parametrize(
    ("evaluation", "message"),
    [
        (
            "{inference: padded, inference_px: [32, 40]}",
            r"evaluation.inference_px = \[32, 40\]: 3 of 3 images are larger, among them val_00000 "
            r"\(32×48",
        ),
        (
            "{moment: best_holdout, num_holdout: 2, every_steps: 1}",
            r"evaluation.num_holdout = 2: the split has 2 labelled images",
        ),
    ],
)
def test_an_evaluation_that_cannot_be_is_found_before_any_training(
    evaluation: str, message: str, tmp_path: Path, cache: Path
) -> None:
    text = STUDY.replace(
        "set: {method.name: rml}", f"set: {{method.name: rml, evaluation: {evaluation}}}"
    )
    with pytest.raises(ConfigError, match=message) as caught:
        planned(tmp_path, cache, text)
    assert "row 'RML', column '1/4', seed 0" in str(caught.value)
    assert "'Supervised'" not in str(caught.value)


def test_a_method_without_unlabelled_images_is_refused_and_supervised_is_not(
    tmp_path: Path, cache: Path
) -> None:
    text = STUDY.replace("{split.num_labelled: 5}", "{split.num_labelled: 10}")
    with pytest.raises(
        ConfigError, match="all 10 training images are labelled, so rml has none"
    ) as caught:
        planned(tmp_path, cache, text)
    assert "2 of 8" in str(caught.value)
    pool = text.replace("{num_labelled: 4}", "{num_labelled: 4, pool_includes_labelled: true}")
    assert len(planned(tmp_path, cache, pool).runs) == 8


def test_a_batch_that_workers_cannot_share(tmp_path: Path, cache: Path) -> None:
    overrides = ("execution=train", "resources.workers=3", "resources.cpus_per_worker=0.5")
    with pytest.raises(
        ConfigError, match=r"batch\.labelled = 4: .* multiple of the number of workers, 3"
    ):
        planned(tmp_path, cache, STUDY, *overrides)


@pytest.mark.parametrize(
    ("resources", "machine", "error", "part"),
    [
        (
            ResourcesConfig(workers=4),
            LAPTOP,
            ConfigError,
            "4 workers × 1 cores = 4 cores; this machine has 2",
        ),
        (ResourcesConfig(cpus_per_worker=3), LAPTOP, ConfigError, "= 3 cores; this machine has 2"),
        (ResourcesConfig(gpus_per_worker=1), LAPTOP, DeviceError, "1 GPUs; this machine has 0"),
        (
            ResourcesConfig(workers=8, cpus_per_worker=1),
            GPU_BOX,
            DeviceError,
            "8 GPUs; this machine has 4",
        ),
    ],
)
def test_more_than_the_machine_has(
    tmp_path: Path,
    cache: Path,
    resources: ResourcesConfig,
    machine: Machine,
    error: type[Exception],
    part: str,
) -> None:
    study = replace(study_of(tmp_path), resources=resources, execution="train")
    with pytest.raises(error, match=r"study\.yaml: resources: one run asks for") as caught:
        make_plan(study, data_root=None, cache_root=cache, machine=machine)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "gpus", "is_refused"),
    [
        (LAPTOP, "auto", True),
        (GPU_BOX, "auto", False),
        (GPU_BOX, 0, True),
        (None, "auto", False),
        (None, 0, True),
    ],
    ids=["laptop", "GPUs", "none of the GPUs", "cluster", "none of the cluster"],
)
def test_workers_on_cpus_are_refused_synchronised_batch_statistics_by_the_plan(
    machine: Machine | None,
    gpus: Literal["auto"] | float,
    is_refused: bool,
    tmp_path: Path,
    cache: Path,
) -> None:
    """A cluster is asked for its GPUs when it is joined."""
    settings = ("base.sync_batchnorm=true", "base.runtime.device=auto")
    resources = ResourcesConfig(workers=2, gpus_per_worker=gpus)
    study = replace(study_of(tmp_path, STUDY, *settings), resources=resources, execution="train")
    if is_refused:
        with pytest.raises(ConfigError, match="sync_batchnorm = true: the 2 workers"):
            make_plan(study, data_root=None, cache_root=cache, machine=machine)
    else:
        make_plan(study, data_root=None, cache_root=cache, machine=machine)


def test_a_cluster_is_not_judged_by_this_machine(tmp_path: Path, cache: Path) -> None:
    study = replace(
        study_of(tmp_path),
        resources=ResourcesConfig(workers=2, cpus_per_worker=99),
        execution="train",
    )
    assert len(make_plan(study, data_root=None, cache_root=cache, machine=None).runs) == 8


def test_a_class_without_labels_is_a_warning(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = PreparedData.class_pixel_counts

    def without_the_first_two(self: PreparedData, names: Any) -> Any:
        found = counts(self, names)
        found[:2] = 0
        return found

    monkeypatch.setattr(PreparedData, "class_pixel_counts", without_the_first_two)
    warnings = planned(tmp_path, cache).warnings
    assert len(warnings) == 2, "one for each of the two splits, not one for each run"
    assert warnings[0].startswith("scenes, split french/2/12345: no labelled image shows ")
    assert "sky, building" in warnings[0]


def test_data_are_prepared_on_the_way_and_told(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    study = study_of(tmp_path)
    make_plan(
        study,
        data_root=None,
        cache_root=tmp_path / "cache",
        on_prepare=lambda *now: told.append(now),
    )
    assert told[-1] == ("scenes", 13, 13)
    (account,) = make_plan(study, data_root=None, cache_root=tmp_path / "cache").accounts
    assert account.startswith("scenes: 10 train images, 3 val images; 0 unlabelled; 8 classes; ")
    told.clear()
    make_plan(
        study,
        data_root=None,
        cache_root=tmp_path / "cache",
        on_prepare=lambda *now: told.append(now),
    )
    assert not told


def test_a_single_run_has_the_id_that_a_study_gives_it(tmp_path: Path, cache: Path) -> None:
    plan = planned(tmp_path, cache)
    for run in plan.runs[::3]:
        assert (
            plan_run(run.config, data_root=None, cache_root=cache, on_prepare=None).run_id
            == run.run_id
        )
    other = plan_run(tiny_config(), data_root=None, cache_root=cache, on_prepare=None)
    assert other.run_id not in {run.run_id for run in plan.runs}
