"""Plug-ins reach the processes of Ray: the actors of Tune and the workers of Train."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.launch.claiming import new_launch_id
from rml_platform.launch.output_layout import OutputLayout
from rml_platform.launch.session.ray_session import ray_session
from rml_platform.launch.sizing import task_of
from rml_platform.planning.plan import plan_run
from rml_platform.plugins import load_plugin
from rml_platform.run.run_folder import RunFolder
from rml_platform.study.schema import load_run_config
from tests.support.platform.documented_plugins import RUN, write_plugins
from tests.support.platform.plugins import no_plugin_stays

pytestmark = [pytest.mark.ray, pytest.mark.timeout(900)]


@pytest.fixture(scope="module", autouse=True)
def ray() -> Iterator[None]:
    with ray_session(None, with_train=True, num_cpus=2):
        yield


def test_a_run_of_plug_ins_alone_trains_in_both_and_is_the_same(tmp_path: Path) -> None:
    from rml_platform.launch.on_ray.sweep import sweep

    (tmp_path / "run.yaml").write_text(RUN)
    results = []
    with no_plugin_stays():
        for file in write_plugins(tmp_path):
            load_plugin(str(file))
        config = load_run_config(tmp_path / "run.yaml")
        run = plan_run(config, data_root=None, cache_root=tmp_path / "cache", on_prepare=None)
        for execution in ("direct", "train"):
            layout = OutputLayout(root=tmp_path, storage=str(tmp_path / execution))
            task = task_of(run, "outside", layout, None, new_launch_id())
            lost = sweep([replace(task, execution=execution)], max_concurrent=1)
            record = RunFolder.of(layout.storage, run.run_id).record()
            assert not lost
            assert record.result is not None, record.failure
            assert "worst_iou" in record.result.evaluations[0].scores
            results.append(record.result.evaluations[0].confusion.tolist())
    assert results[0] == results[1]
