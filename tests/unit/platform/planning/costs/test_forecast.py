"""What is left of a study, and where each figure is from."""

from dataclasses import replace
from pathlib import Path

import pytest

from rml_platform.planning.costs.forecast import (
    ELSEWHERE,
    Devices,
    Paces,
    Price,
    by_row,
    forecast,
    total,
    trained,
    wall_seconds,
)
from rml_platform.planning.costs.kinds import kind_of
from rml_platform.planning.costs.measured import (
    Probe,
    bytes_of_kinds,
    device_text,
    is_of_kind,
    probes_for,
    probes_like,
    read_probes,
    write_probe,
)
from rml_platform.planning.plan_file.written_plan import WrittenPlan
from rml_platform.run.run_folder import Heartbeat, Result, RunRecord, going_on
from rml_platform.study.schema import load_study
from rml_platform.study.study_file import ResourcesConfig
from rml_trainers.config import BatchConfig, ScheduleConfig
from rml_trainers.errors import ConfigError
from tests.support.platform.fake_trainer import evaluation
from tests.support.platform.plans import written
from tests.support.platform.studies import write_study
from tests.support.platform.tasks import beat_of
from tests.support.tiny import tiny_config

CORE = Devices(count=1, unit="core")
PROBE = Probe(
    kind="",
    machine="a core",
    warm_up_s=1,
    stage_s=3,
    evaluation_s=10,
    evaluation_every=0,
    run_bytes=500,
    time=0,
)


@pytest.fixture
def plan(tmp_path: Path) -> WrittenPlan:
    """Supervised and RML, 8 steps each, of two columns and two seeds."""
    return written(load_study(write_study(tmp_path)), tmp_path)


def beat(step: int, seconds: float, first_step: int = 0) -> Heartbeat:
    return beat_of(step=step, seconds=seconds, first_step=first_step)


def running(step: int, seconds: float, first_step: int = 0) -> RunRecord:
    return RunRecord(state="running", heartbeat=beat(step, seconds, first_step))


def done(seconds: float, first_step: int = 0) -> RunRecord:
    result = Result(
        evaluations=(evaluation(0.5),),
        steps=8,
        seconds=seconds,
        device="cpu",
        host="host",
        num_workers=1,
        attempt=1,
        code_version="v",
        dirty=False,
        time=0,
    )
    return RunRecord(state="done", heartbeat=beat(8, seconds, first_step), result=result)


def records(plan: WrittenPlan, *first: RunRecord) -> dict[str, RunRecord]:
    """Of the first runs as given, of the others nothing."""
    new = RunRecord(state="new")
    return {r.run_id: first[i] if i < len(first) else new for i, r in enumerate(plan.runs)}


def test_the_best_source_that_there_is_counts(plan: WrittenPlan) -> None:
    kinds = dict.fromkeys(run.kind for run in plan.runs)
    assert [kind.partition("-")[0] for kind in kinds] == ["supervised", "rml"]
    supervised, rml = kinds
    known = records(plan, done(16), running(2, seconds=10))
    probes = {supervised: replace(PROBE, kind=supervised), rml: replace(PROBE, kind=rml)}
    left = forecast(plan, known, probes=probes, devices=CORE)
    assert [(one.source, one.seconds) for one in left[:2]] == [
        ("its own pace", 6 * 5),
        ("runs of its kind", pytest.approx(8 * 26 / 10)),
    ]
    first_rml = left[3]
    # Four steps of warm-up at 1 s and four at 3 s, each stage with an evaluation of 10 s.
    assert (first_rml.source, first_rml.seconds) == ("probe", 4 + 12 + 20)
    assert first_rml.num_bytes == 500
    assert forecast(plan, known, devices=CORE)[3].seconds is None


def test_the_pace_of_other_kinds_of_the_method_is_better_than_nothing(plan: WrittenPlan) -> None:
    other = replace(plan.runs[1], kind="supervised-larger")
    changed = replace(plan, runs=(plan.runs[0], other))
    (left,) = forecast(changed, records(changed, done(16)), devices=CORE)
    assert (left.source, left.seconds) == ("runs of its method", 16)


GPU = Devices(count=1, unit="GPU", workers=1, kinds=("A100",))
A100 = "NVIDIA A100-SXM4-80GB"


@pytest.mark.parametrize(
    ("device", "workers", "devices", "is_one"),
    [
        ("cpu", 1, CORE, True),
        ("cpu", None, replace(CORE, workers=2), True),
        ("cpu", 1, replace(CORE, workers=2), False),
        (A100, 1, CORE, False),
        (A100, 1, GPU, True),
        (A100, 2, GPU, False),
        ("NVIDIA H100 80GB HBM3", 1, GPU, False),
        ("NVIDIA H100 80GB HBM3", 1, replace(GPU, kinds=()), True),
        ("NVIDIA H100 80GB HBM3", 1, replace(GPU, kinds=("A100", "H100")), True),
        ("cpu", 1, GPU, False),
        ("cpu", 1, replace(GPU, kinds=()), False),
        ("cpu", 1, replace(GPU, uses_cpu=True), True),
        (A100, 1, replace(GPU, uses_cpu=True), False),
    ],
)
def test_a_pace_is_that_of_the_devices_that_it_was_measured_on(
    device: str, workers: int | None, devices: Devices, is_one: bool, plan: WrittenPlan
) -> None:
    """Of the run itself as well as of others of its kind."""
    at_work = beat_of(step=2, seconds=10, device=device, num_workers=workers)
    known = records(plan, RunRecord(state="running", heartbeat=at_work))
    first, second = forecast(plan, known, devices=devices)[:2]
    own: str = "its own pace" if is_one else ELSEWHERE
    like = "runs of its kind" if is_one else ELSEWHERE
    assert [(first.source, first.seconds), (second.source, second.seconds)] == [
        (own, 6 * 5),
        (like, 8 * 5),
    ]


def test_other_devices_are_asked_last(plan: WrittenPlan) -> None:
    at_work = beat_of(step=2, seconds=10, device="cpu")
    known = records(plan, RunRecord(state="running", heartbeat=at_work))
    probes = {plan.runs[0].kind: replace(PROBE, kind=plan.runs[0].kind)}
    assert forecast(plan, known, probes=probes, devices=GPU)[1].source == "probe"


def test_a_run_that_goes_on_elsewhere_has_the_pace_of_where_it_is(plan: WrittenPlan) -> None:
    before = beat_of(step=4, seconds=1000, device="cpu", num_workers=1, start_up_s=90)
    first = beat_of(step=4, checkpoint_step=4, device=A100, num_workers=1)
    moved = going_on(first, before)
    assert (moved.seconds, moved.elsewhere_s, moved.elsewhere_steps) == (1000, 1000, 4)
    later = replace(moved, step=6, seconds=1004)
    assert trained(RunRecord(state="running", heartbeat=later)) == (4, 2)
    result = replace(done(1008).result, device=A100)  # type: ignore[type-var]
    ended = RunRecord(state="done", heartbeat=later, result=result)
    assert trained(ended) == (8, 4)
    paces = Paces.of(plan.runs, records(plan, RunRecord(state="running", heartbeat=before)))
    paces.move(plan.runs[0], RunRecord(state="running", heartbeat=before), ended)
    on_gpu = paces.of_kind[plan.runs[0].kind].on(GPU)
    assert (on_gpu.seconds, on_gpu.steps) == (8, 4)
    stayed = going_on(replace(first, device="cpu"), replace(before, num_workers=None))
    assert (stayed.start_up_s, stayed.elsewhere_s) == (90, 0)


def test_what_was_taken_over_is_not_counted_as_trained() -> None:
    assert trained(running(step=6, seconds=10, first_step=4)) == (10, 2)
    assert trained(done(seconds=12, first_step=4)) == (12, 4)
    assert trained(RunRecord(state="new")) == (0, 0)


def starting(step: int, seconds: float, start_up: tuple[float, int]) -> RunRecord:
    start_up_s, steps = start_up
    known = replace(beat(step, seconds), start_up_s=start_up_s, start_up_steps=steps)
    return RunRecord(state="running", heartbeat=known)


def test_the_time_to_the_first_steps_is_not_taken_for_the_pace(plan: WrittenPlan) -> None:
    beginning = starting(1, 90, (90, 1))
    assert trained(beginning) == (0, 0)
    assert forecast(plan, records(plan, beginning), devices=CORE)[0].seconds is None
    later = starting(3, 94, (90, 1))
    left = forecast(plan, records(plan, later), devices=CORE)
    assert [(one.source, one.seconds) for one in left[:2]] == [
        ("its own pace", 5 * 2),
        ("runs of its kind", 8 * 2),
    ]


def test_a_probe_counts_until_a_run_has_made_enough_steps(plan: WrittenPlan) -> None:
    stages = (replace(plan.runs[0].stages[-1], last_step=1000, hash=None),)
    long = replace(plan.runs[0], stages=stages)
    plan = replace(plan, runs=(long, replace(plan.runs[1], stages=stages)))
    probes = {long.kind: replace(PROBE, kind=long.kind)}
    early = records(plan, starting(20, 100, (90, 10)))
    with_probe = forecast(plan, early, probes=probes, devices=CORE)
    assert {one.source for one in with_probe} == {"probe"}
    alone = forecast(plan, early, devices=CORE)
    assert [one.source for one in alone] == ["its own pace", "runs of its kind"]
    enough = records(plan, starting(60, 140, (90, 10)))
    sources = [one.source for one in forecast(plan, enough, probes=probes, devices=CORE)]
    assert sources == ["its own pace", "runs of its kind"]


def test_a_probe_is_found_by_the_device_of_the_runs(tmp_path: Path) -> None:
    for machine, time in (("2 cores of a", 3), ("H100 of a", 1), ("H100 of b", 2)):
        write_probe(tmp_path, replace(PROBE, kind="k", machine=machine, time=time))
    (tmp_path / "probes" / "k-damaged.json").write_text("{")

    def found(*devices: str) -> list[str]:
        return [probe.machine for probe in probes_like(tmp_path, ["k", ""], devices).values()]

    assert found(device_text("H100", 1)) == ["H100 of b"]
    assert found(device_text("cpu", 2)) == ["2 cores of a"]
    assert found() == ["2 cores of a"]
    assert found("A100") == []
    assert probes_like(tmp_path, ["other"], ()) == {}


@pytest.mark.parametrize(
    ("device", "kind", "is_it"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100", True),
        ("NVIDIA A100-SXM4-80GB", "A10", False),
        ("NVIDIA A10G", "A10", False),
        ("NVIDIA GeForce RTX 5090", "GeForce-RTX-5090", True),
        ("NVIDIA GeForce RTX 3080 Ti", "GeForce-RTX-3080", False),
        ("NVIDIA GeForce RTX 3080 Ti", "GeForce-RTX-3080-Ti", True),
        ("NVIDIA L40S", "L4", False),
        ("2 cores", "A100", False),
    ],
)
def test_kinds_of_gpu_are_told_apart(device: str, kind: str, is_it: bool) -> None:
    assert is_of_kind(device, kind) is is_it


def test_a_cluster_goes_by_probes_of_its_own_kind_of_device(tmp_path: Path) -> None:
    times = {"2 cores of a": 4, "Tesla T4 of a": 3, "NVIDIA A100-SXM4-80GB of a": 1}
    times["NVIDIA A100-SXM4-80GB of b"] = 2
    for machine, time in times.items():
        write_probe(tmp_path, replace(PROBE, kind="k", machine=machine, time=time))

    def found(gpu: str | None) -> list[str]:
        return [probe.machine for probe in probes_for(tmp_path, ["k"], gpu, 2).values()]

    assert found("A100") == ["NVIDIA A100-SXM4-80GB of b"]
    assert found("T4") == ["Tesla T4 of a"]
    assert found(None) == ["2 cores of a"]
    assert found("H100") == []
    assert probes_for(tmp_path, ["k"], None, 1) == {}


def test_rows_add_up_to_the_whole(plan: WrittenPlan) -> None:
    on_gpus = replace(done(36), result=replace(done(36).result, device=A100))  # type: ignore[type-var]
    left = forecast(plan, records(plan, on_gpus), devices=Devices(count=2, unit="GPU"))
    rows = by_row(plan, left)
    assert {row: len(runs) for row, runs in rows.items()} == {"Supervised": 3, "RML": 4}
    sums = [total(runs, Devices(count=2, unit="GPU"), at_once=2) for runs in rows.values()]
    all_ = total(left, Devices(count=2, unit="GPU"), at_once=2)
    assert sums[0].device_hours == pytest.approx(3 * 2 * 36 / 3600)
    assert sums[0].wall_seconds == 72
    assert (sums[1].num_unknown, all_.num_unknown) == (4, 4)
    assert all_.device_hours == sum(one.device_hours for one in sums)
    assert all_.sources == ("runs of its kind",)


@pytest.mark.parametrize(
    ("seconds", "at_once", "wall"),
    [([], 3, 0), ([5], 3, 5), ([3, 3, 3], 2, 6), ([1, 1, 4], 2, 4), ([2, 2, 3, 3], 2, 5)],
)
def test_wall_time_with_room_for_some(seconds: list[float], at_once: int, wall: float) -> None:
    assert wall_seconds(seconds, at_once) == wall


def test_devices_are_gpus_where_a_run_gets_some() -> None:
    two = ResourcesConfig(workers=2, cpus_per_worker=3)
    assert Devices.of(two, 4, [A100]) == Devices(count=2, unit="GPU", workers=2, kinds=(A100,))
    assert Devices.of(two, gpus_there=0) == Devices(count=6, unit="core", workers=2)
    half = Devices.of(ResourcesConfig(gpus_per_worker=0.5), gpus_there=1)
    assert half.hours(7200) == 1


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("2.5/h", "10.00"),
        ("2.5", "10.00"),
        ("2.5 EUR/h", "10.00 EUR"),
        ("$2.5/hour", "10.00 $"),
        ("250/h", "1,000.00"),
    ],
)
def test_prices(text: str, shown: str) -> None:
    assert Price.parse(text).of(4) == shown


@pytest.mark.parametrize("text", ["", "free", "2,5/h", "2.5/day", "-1/h", "$2 EUR/h"])
def test_what_is_no_price(text: str) -> None:
    with pytest.raises(ConfigError, match="expected what one device costs per hour"):
        Price.parse(text)


def test_kinds_tell_what_a_step_has_to_do_from_what_is_learnt_in_it() -> None:
    config = tiny_config("rml")
    same = [
        replace(config, seed=7),
        replace(config, schedule=ScheduleConfig(warm_up_steps=1, stage_steps=(1, 1))),
        replace(config, optimiser=replace(config.optimiser, lr=0.5)),
    ]
    assert {kind_of(one) for one in same} == {kind_of(config)}
    others = [
        tiny_config("iml"),
        replace(config, batch=BatchConfig(labelled=4, unlabelled=6)),
        replace(config, evaluation=replace(config.evaluation, every_steps=7)),
    ]
    assert len({kind_of(one) for one in (config, *others)}) == 4


def test_probes_are_kept_by_machine_and_measured_again_when_damaged(tmp_path: Path) -> None:
    write_probe(tmp_path, replace(PROBE, kind="rml-1", machine="A100 of a/b"))
    write_probe(tmp_path, replace(PROBE, kind="rml-2", machine="1 cores of x"))
    found = read_probes(tmp_path, "A100 of a/b", ["rml-1", "rml-2", "rml-1"])
    assert list(found) == ["rml-1"]
    assert found["rml-1"].stage_s == 3
    (file,) = (tmp_path / "probes").glob("rml-2*")
    file.write_text("{")
    assert read_probes(tmp_path, "1 cores of x", ["rml-2"]) == {}
    assert not file.exists()


def test_an_evaluation_within_a_stage_costs_too(plan: WrittenPlan) -> None:
    stages = plan.runs[-1].stages
    often = replace(PROBE, evaluation_every=2)
    assert [stage.last_step for stage in stages] == [4, 8]
    assert often.seconds(stages, 0, warm_up_steps=4) == 4 + 12 + 4 * 10
    assert often.seconds(stages, 6, warm_up_steps=4) == 6 + 10


def test_the_size_of_a_finished_run_is_that_of_its_folder(
    plan: WrittenPlan, tmp_path: Path
) -> None:
    first = plan.runs[0]
    second = plan.runs[-1]
    for run, size in ((first, 30), (second, 50)):
        folder = tmp_path / "runs" / run.run_id / "checkpoints"
        folder.mkdir(parents=True)
        (folder / "a").write_bytes(b"x" * size)
    sizes = bytes_of_kinds(str(tmp_path), plan.runs, records(plan, done(1)))
    assert sizes == {first.kind: 30}
    left = forecast(plan, records(plan, done(1)), bytes_of_kind=sizes, devices=CORE)
    assert total(left, CORE, 1).num_bytes is None
    assert total(by_row(plan, left)["Supervised"], CORE, 1).num_bytes == 90
