"""The first steps of every method on two networks, as they were recorded: a changed result is seen.

Recorded are the losses of every step, and how far students and mean teachers moved in all. Rounding
differs from CPU to CPU and from one release of torch to the next, by about 1e-6 of a loss in so few
steps; what is asked for is 1e-4, which no change of meaning passes.

If this fails and the change is on purpose, runs give other results under the ids of old ones:
raise RESULT_VERSION in rml_trainers/__init__.py, say in the changelog which runs change and why,
and record the steps anew with `python -m tests.numerics.methods.test_first_steps`. If it is not on
purpose, the code under test is wrong. Under an unchanged RESULT_VERSION that command only adds what
is not recorded yet: a new method's steps.
"""

import json
from dataclasses import replace as with_fields
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from rml_trainers import RESULT_VERSION
from rml_trainers.config import (
    BatchConfig,
    EvaluationConfig,
    OptimiserConfig,
    RunConfig,
    ScheduleConfig,
    replace,
)
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import ensure_prepared
from rml_trainers.data.splitting.splits import make_split
from rml_trainers.methods import METHODS
from rml_trainers.noise.config import GeometryConfig
from rml_trainers.training.reporting import MemoryReporter
from rml_trainers.training.trainer import Trainer
from tests.support.tiny import NETWORK_CONFIGS, SCENES, tiny_config

GOLDEN = Path(__file__).parent / "goldens" / "first_steps.json"
REGENERATE = "python -m tests.numerics.methods.test_first_steps"
NETWORKS = {
    "deeplab_v2": GeometryConfig(crop_px=(32, 48), scale=(0.75, 1.25)),
    "mlp": GeometryConfig(crop_px=(32, 48)),
}
"""And how their training images are cut."""
SEED = 0
"""Chosen so that no pixel of these steps lies on an edge (two classes alike, a threshold just met)
that rounding could push it over: they are the same with instruction sets from SSE to AVX2."""
Recorded = dict[str, list[float]]


def config_of(method: str, network: str) -> RunConfig:
    """One step of warm-up and two of each stage, every step reported."""
    config = tiny_config(
        method,
        network=NETWORK_CONFIGS[network],
        geometry=NETWORKS[network],
        batch=BatchConfig(labelled=4, unlabelled=4),
        optimiser=OptimiserConfig(lr=0.002),
        schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(2, 2)),
        evaluation=EvaluationConfig(networks=("student_1",), batch=3),
        seed=SEED,
    )
    return replace(config, runtime=with_fields(config.runtime, log_every_steps=1))


def steps_of(config: RunConfig, data: PreparedData, work_dir: Path) -> Recorded:
    """The losses of each step by name, and the distances that the networks went."""
    reporter = MemoryReporter()
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config, data, split, device=torch.device("cpu"), reporter=reporter, work_dir=work_dir
    )
    networks = {"students": trainer.learners.students, "teachers": trainer.learners.teachers}
    before = {name: _weights(group) for name, group in networks.items()}
    trainer.fit()
    found: Recorded = {}
    for _, scalars in reporter.steps:
        for name, value in scalars.items():
            if name.startswith("loss"):
                found.setdefault(name, []).append(value)
    for name, group in networks.items():
        found[f"{name} moved by"] = [float((_weights(group) - before[name]).norm())]
    return found


def _weights(networks: nn.ModuleList) -> Tensor:
    """All parameters and statistics as one vector."""
    state = networks.state_dict()
    return torch.cat([state[name].double().flatten() for name in sorted(state)])


def _recorded() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return recorded


@pytest.mark.usefixtures("single_thread")
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("method", METHODS)
def test_a_method_makes_the_recorded_steps(
    method: str, network: str, tiny_data: PreparedData, scratch: Path
) -> None:
    recorded = _recorded()
    assert recorded["result_version"] == RESULT_VERSION, (
        f"record the steps of the new version with `{REGENERATE}`"
    )
    wanted = recorded["steps"][f"{method} on {network}"]
    found = steps_of(config_of(method, network), tiny_data, scratch)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-7), (
            f"{name} of {method} on {network} has changed. On purpose? Then raise RESULT_VERSION "
            f"and record the steps anew with `{REGENERATE}`"
        )


@pytest.mark.usefixtures("single_thread")
def test_a_small_change_of_meaning_is_seen(tiny_data: PreparedData, tmp_path: Path) -> None:
    """The tolerance is wide enough for rounding only: 1 % of one weight is too much for it."""
    config = config_of("iml", "deeplab_v2")
    for n, changed in enumerate(
        (
            replace(config, unsupervised_weight=1.01),
            replace(config, teacher=with_fields(config.teacher, ema_decay=0.909)),
            replace(config, optimiser=with_fields(config.optimiser, momentum=0.909)),
        )
    ):
        work_dir = tmp_path / str(n)
        work_dir.mkdir()
        found = steps_of(changed, tiny_data, work_dir)
        wanted = _recorded()["steps"]["iml on deeplab_v2"]
        assert any(
            found[name] != pytest.approx(values, rel=1e-4) for name, values in wanted.items()
        )


def _record() -> None:
    torch.set_num_threads(1)
    before = _recorded()
    same = before["result_version"] == RESULT_VERSION
    steps: dict[str, Recorded] = before["steps"] if same else {}
    with TemporaryDirectory() as scratch:
        data = ensure_prepared(SCENES, None, Path(scratch) / "cache")
        for method in METHODS:
            for network in NETWORKS:
                if f"{method} on {network}" in steps:
                    continue
                work_dir = Path(scratch) / method / network
                work_dir.mkdir(parents=True)
                found = steps_of(config_of(method, network), data, work_dir)
                steps[f"{method} on {network}"] = {
                    name: [float(f"{value:.7g}") for value in values]
                    for name, values in found.items()
                }
    GOLDEN.parent.mkdir(exist_ok=True)
    recorded = {"result_version": RESULT_VERSION, "steps": steps}
    GOLDEN.write_text(json.dumps(recorded, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    _record()
