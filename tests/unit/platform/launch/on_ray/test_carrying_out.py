"""When a launch begins to start Ray before it needs it; Ray itself is tested under distributed/."""

import functools
from pathlib import Path

import pytest

from rml_platform.launch.on_ray import carrying_out
from rml_platform.planning.plan import make_plan
from rml_platform.study.schema import load_study
from tests.support.platform.studies import write_study

STUDY = """\
name: tiny
execution: direct
base:
  data: {name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}
  split: {num_labelled: 4}
  method: {name: supervised}
  network: {backbone: test_resnet, weights: none, aspp_branches: 2}
  schedule: {warm_up_steps: 5, stage_steps: []}
seeds: [1, 2]
"""


def test_ray_is_begun_only_where_a_run_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = load_study(write_study(tmp_path, STUDY))
    plan = make_plan(study, data_root=None, cache_root=tmp_path / "cache")
    begun: list[dict[str, object]] = []

    class FakeRay:
        def __init__(self, **size: object) -> None:
            begun.append(size)

        def wait_begun(self) -> None: ...

        def close(self) -> None:
            begun.append({})

    monkeypatch.setattr(carrying_out, "LocalRay", FakeRay)
    ahead = functools.partial(carrying_out.ray_ahead, [plan], str(tmp_path))
    with ahead(False) as ray:
        assert (ray, begun) == (None, [])
    with ahead(True) as ray:
        assert (begun[0]["with_train"], len(begun)) == (False, 1)
    assert (ray is not None, begun[1:]) == (True, [{}])
    for run_id in (run.run_id for run in plan.runs):
        (tmp_path / "runs" / run_id).mkdir(parents=True)
        (tmp_path / "runs" / run_id / "result.json").touch()
    with ahead(True) as ray:
        assert (ray, len(begun)) == (None, 2)
