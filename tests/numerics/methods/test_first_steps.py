"""The first steps of every method on two networks, as they were recorded: a changed bit is seen.

Recorded are the losses of every step, how far students and mean teachers moved in all, and a hash
of all bits of both. Rounding differs from CPU to CPU and from one release of torch to the next, by
about 1e-6 of a loss in so few steps. So equal bits are asked for on machines that round as the one
on which they were recorded (`bits.json` names them); elsewhere 1e-4, which no change of meaning
passes.

If this fails and the change is on purpose, runs give other results under the ids of old ones:
raise RESULT_VERSION in rml_trainers/__init__.py, say in the changelog which runs change and why,
and record the steps anew with `python -m tests.numerics.methods.test_first_steps`. If it is not on
purpose, the code under test is wrong. Under an unchanged RESULT_VERSION that command only adds what
is not recorded yet: a new method's steps, or the bits of another machine.
"""

import hashlib
import json
import struct
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
from tests.support.rounding import how_it_rounds
from tests.support.tiny import NETWORK_CONFIGS, SCENES, tiny_config

GOLDEN = Path(__file__).parent / "goldens" / "first_steps.json"
BITS = GOLDEN.with_name("bits.json")
"""For each machine (`how_it_rounds`) a hash of each method on each network."""
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


def steps_of(config: RunConfig, data: PreparedData, work_dir: Path) -> tuple[Recorded, str]:
    """The losses of each step by name, and the distances that the networks went; and a hash of all
    bits of the losses and of the networks afterwards."""
    reporter = MemoryReporter()
    split = make_split(data.names("train"), config.split)
    trainer = Trainer(
        config, data, split, device=torch.device("cpu"), reporter=reporter, work_dir=work_dir
    )
    networks = {"students": trainer.learners.students, "teachers": trainer.learners.teachers}
    before = {name: _weights(group) for name, group in networks.items()}
    trainer.fit()
    found: Recorded = {}
    bits = hashlib.sha256()
    for _, scalars in reporter.steps:
        for name, value in sorted(scalars.items()):
            if name.startswith("loss"):
                found.setdefault(name, []).append(value)
                bits.update(struct.pack("<d", value))
    for name, group in networks.items():
        after = _weights(group)
        found[f"{name} moved by"] = [float((after - before[name]).norm())]
        bits.update(after.numpy().tobytes())
    return found, bits.hexdigest()[:16]


def _weights(networks: nn.ModuleList) -> Tensor:
    """All parameters and statistics as one vector."""
    state = networks.state_dict()
    return torch.cat([state[name].double().flatten() for name in sorted(state)])


def _recorded() -> dict[str, Any]:
    recorded: dict[str, Any] = json.loads(GOLDEN.read_text())
    return recorded


def _recorded_bits() -> dict[str, dict[str, str]]:
    recorded: dict[str, dict[str, str]] = json.loads(BITS.read_text())
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
    found, bits = steps_of(config_of(method, network), tiny_data, scratch)
    assert found.keys() == wanted.keys()
    for name, values in wanted.items():
        assert found[name] == pytest.approx(values, rel=1e-4, abs=1e-7), (
            f"{name} of {method} on {network} has changed. On purpose? Then raise RESULT_VERSION "
            f"and record the steps anew with `{REGENERATE}`"
        )
    recorded_bits = _recorded_bits().get(how_it_rounds(), {}).get(f"{method} on {network}")
    assert recorded_bits in (None, bits), (
        f"{method} on {network} rounds in another way than recorded. On purpose? Then raise "
        f"RESULT_VERSION and record the steps anew with `{REGENERATE}`"
    )


def test_bits_are_recorded_for_this_machine() -> None:
    """Where they are not, the tests above see a change of meaning, and not one of rounding."""
    recorded = _recorded_bits()
    machine = how_it_rounds()
    if machine not in recorded:
        pytest.skip(
            f"no bits are recorded for {machine}: losses are compared to 1e-4; `{REGENERATE}` "
            "records the bits of the code as it is"
        )
    assert recorded[machine].keys() == _recorded()["steps"].keys(), f"record with `{REGENERATE}`"


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
        found, _ = steps_of(changed, tiny_data, work_dir)
        wanted = _recorded()["steps"]["iml on deeplab_v2"]
        assert any(
            found[name] != pytest.approx(values, rel=1e-4) for name, values in wanted.items()
        )


@pytest.mark.usefixtures("single_thread")
def test_a_change_of_rounding_alone_is_seen(tiny_data: PreparedData, tmp_path: Path) -> None:
    """Two students whose losses are summed before one backward pass instead of two."""
    config = config_of("iml", "deeplab_v2")
    other = replace(config, runtime=with_fields(config.runtime, students="together"))
    found = []
    for n, one in enumerate((config, other)):
        work_dir = tmp_path / str(n)
        work_dir.mkdir()
        found.append(steps_of(one, tiny_data, work_dir))
    (losses, bits), (other_losses, other_bits) = found
    for name, values in losses.items():
        assert other_losses[name] == pytest.approx(values, rel=1e-4, abs=1e-7)
    assert bits != other_bits


def _record() -> None:
    torch.set_num_threads(1)
    before = _recorded()
    same = before["result_version"] == RESULT_VERSION
    steps: dict[str, Recorded] = before["steps"] if same else {}
    machines = _recorded_bits() if same else {}
    bits = machines.setdefault(how_it_rounds(), {})
    with TemporaryDirectory() as scratch:
        data = ensure_prepared(SCENES, None, Path(scratch) / "cache")
        for method in METHODS:
            for network in NETWORKS:
                name = f"{method} on {network}"
                if name in steps and name in bits:
                    continue
                work_dir = Path(scratch) / method / network
                work_dir.mkdir(parents=True)
                found, bits_here = steps_of(config_of(method, network), data, work_dir)
                bits.setdefault(name, bits_here)
                rounded = {
                    key: [float(f"{value:.7g}") for value in values]
                    for key, values in found.items()
                }
                steps.setdefault(name, rounded)
    GOLDEN.parent.mkdir(exist_ok=True)
    _write(GOLDEN, {"result_version": RESULT_VERSION, "steps": steps})
    _write(BITS, machines)


def _write(file: Path, content: Any) -> None:
    file.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    _record()
