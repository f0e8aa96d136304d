"""A probe trains a few steps, keeps their times, and leaves nothing behind."""

from pathlib import Path

import pytest
import torch

from rml_platform.planning.costs.probe import STEPS, probe, probe_all, shortened
from rml_platform.planning.plan import Plan, make_plan
from rml_platform.study.schema import load_study
from rml_trainers.methods import METHODS
from rml_trainers.training.stages import stages_of
from tests.support.platform.studies import write_study
from tests.support.tiny import tiny_config

STUDY = """\
name: probed
base:
  data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
  split: {num_labelled: 4}
  method: {name: iml}
  network: {backbone: test_resnet, weights: none, aspp_branches: 2}
  geometry: {crop_px: [24, 32]}
  batch: {labelled: 2, unlabelled: 2}
  schedule: {warm_up_steps: 500, stage_steps: [700, 700]}
  runtime: {device: cpu, num_read_ahead: 0}
seeds: [0, 1]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Plan:
    study = load_study(write_study(tmp_path, STUDY))
    return make_plan(study, data_root=None, cache_root=tmp_path / "cache")


def test_a_probe_knows_steps_evaluation_and_checkpoint(plan: Plan, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    told: list[str] = []
    (found,) = probe_all(plan.runs, plan.study.resources, tmp_path, told.append).values()
    assert min(found.warm_up_s, found.stage_s, found.evaluation_s) > 0
    assert found.run_bytes > 100_000
    assert (len(told), torch.get_num_threads()) == (1, threads)
    assert not (tmp_path / "runs").exists()


def test_what_a_run_would_end_in_a_probe_ends_in(plan: Plan) -> None:
    (tmp,) = {run.prepared_folder for run in plan.runs}
    for file in tmp.iterdir():
        file.unlink()
    with pytest.raises(Exception, match=str(tmp)):
        probe(plan.runs[0], plan.study.resources)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_is_probed_in_each_kind_of_its_stages(method: str) -> None:
    config = tiny_config(method)
    stages = stages_of(shortened(config))
    assert [stage.warm_up for stage in stages] == [s.warm_up for s in stages_of(config)]
    assert max(stage.num_steps for stage in stages) <= STEPS
