"""`python -m rml_benchmarks overhead`: what a grid costs beyond its training, beside Ray's own
recipe, and how long a launch takes to its first step.

The contenders carry out equally many tiny cells one after the other: a bare loop, `direct` and
`train` through `launch`, and the recipe that Ray documents for tuning with Ray Train (a function
trainable that fits a TorchTrainer with a TuneReportCallback; settings as they are by default). What
a further cell costs is the time from the end of the first cell to the end of the last, divided: the
start of Ray and of everything else is in none of it, and what slows the machine for minutes slows
one contender as much as the next.
"""

import contextlib
import functools
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from rml_benchmarks.measuring.publishing import Result
from rml_benchmarks.measuring.tables import Table
from rml_benchmarks.part import Bench
from rml_benchmarks.parts.product.cell import NUM_CELLS, Cells, train_bare
from rml_platform.launch.session.ray_environment import ENVIRONMENT, LOOPBACK
from rml_trainers.config import RunConfig
from rml_trainers.data.splitting.splits import Split

OURS = ("direct", "train")
BARE = "bare loop"
RECIPE = "Ray's recipe"
WITHIN_S = 300.0
"""How long a launch may take to its first step before it counts as broken."""
COMMAND = "from rml_platform.cli import main; main()"
FIRST = """
name: bench_first_step
base:
  data: {{name: scenes, size_px: [32, 48], num_train: 10, num_val: 3}}
  split: {{num_labelled: 4}}
  method: {{name: rml, min_cells: 1}}
  network: {{backbone: test_resnet, weights: none}}
  geometry: {{crop_px: [24, 32]}}
  batch: {{labelled: 2, unlabelled: 2}}
  schedule: {{warm_up_steps: 10, stage_steps: [10]}}
  runtime: {{log_every_steps: 1}}
seeds: [{seed}]
"""


def run(bench: Bench) -> Iterator[Result]:
    """Further cells against Ray's recipe, then the first step against loading torch."""
    folder = bench.folder / "overhead"
    folder.mkdir()
    cells = Cells(folder)
    contenders: dict[str, Contender] = {
        BARE: lambda: bare(cells, folder),
        RECIPE: lambda: recipe(cells, folder),
        **{execution: functools.partial(launched, cells, folder, execution) for execution in OURS},
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as many as a cell that gets one core
    cells.bare(0)
    rounds = [
        {name: carry_out() for name, carry_out in contenders.items()}
        for _ in range(bench.num_rounds(1))
    ]
    torch.set_num_threads(threads)
    yield further_cells(rounds)
    yield first_step(folder, bench.num_rounds(1))


@dataclass(frozen=True)
class Took:
    """Seconds that the cells of a contender took."""

    further_s: float
    """From the end of one to the end of the next."""
    whole_s: float
    """All of them, with the start of everything around them."""


Contender = Callable[[], Took]


def _took(begin: float, ends: Iterable[float]) -> Took:
    """Of Unix times."""
    ordered = sorted(ends)
    assert len(ordered) == NUM_CELLS, ordered
    further_s = (ordered[-1] - ordered[0]) / (NUM_CELLS - 1)
    return Took(further_s, time.time() - begin)


def further_cells(rounds: Sequence[Mapping[str, Took]]) -> Table:
    """What each cell after the first takes, beyond its training and as a share of the recipe's."""
    rows = [
        (
            name,
            median(took[name].further_s for took in rounds),
            median(took[name].further_s - took[BARE].further_s for took in rounds),
            median(took[name].further_s / took[RECIPE].further_s for took in rounds),
            median(took[name].whole_s for took in rounds),
        )
        for name in rounds[0]
    ]
    return Table(
        title=f"Cost of a further cell, of {NUM_CELLS} ({len(rounds)} rounds)",
        columns=("contender", "each (s)", "beyond training (s)", f"× {RECIPE}", "all (s)"),
        rows=tuple(rows),
        note="Wanted: `direct` at most 0.15 s beyond training, `train` at most half of the recipe. "
        f"Load of the machine: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
    )


def bare(cells: Cells, folder: Path) -> Took:
    """A loop in this process."""
    begin = time.time()
    ends = []
    for run in cells.plan("direct", NUM_CELLS).runs:
        train_bare(run.config, run.split, run.prepared_folder, folder / "bare" / run.run_id)
        ends.append(time.time())
    return _took(begin, ends)


def launched(cells: Cells, folder: Path, execution: str) -> Took:
    """A launch; the results tell when their cells ended."""
    begin = time.time()
    before = set(folder.glob("out/runs/*/result.json"))
    cells.launched(execution, NUM_CELLS)(0)
    results = set(folder.glob("out/runs/*/result.json")) - before
    return _took(begin, (result.stat().st_mtime for result in results))


def first_step(folder: Path, num_rounds: int) -> Table:
    """From the start of `rml launch` to the report of the first step of its first cell; the images
    are prepared before."""
    file = folder / "first.yaml"
    _launch_to_first_step(file, folder, 1000)  # prepares the images, makes MLflow's tables
    torch_s = list[float]()
    launch_s = list[float]()
    for seed in range(num_rounds):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        torch_s.append(time.monotonic() - begin)
        launch_s.append(_launch_to_first_step(file, folder, seed))
    own = median(launch_s)
    ratio = median(ours / its for ours, its in zip(launch_s, torch_s, strict=True))
    rows = [
        ("import torch in a new process", median(torch_s), 1.0),
        ("rml launch to its first step", own, ratio),
    ]
    return Table(
        title="First step of a launch",
        columns=("", "s", "× import torch"),
        rows=tuple(rows),
        note="Wanted: at most 8 s on an idle machine. "
        f"Load of this one: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores.",
    )


def _launch_to_first_step(file: Path, folder: Path, seed: int) -> float:
    """Seconds; how long it takes to stop the launch afterwards is none of it."""
    file.write_text(FIRST.format(seed=seed))
    out = folder / "first"
    before = set(out.glob("runs/*"))
    words = [sys.executable, "-c", COMMAND, "launch", str(file), "--out", str(out)]
    begin = time.monotonic()
    launch = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until = begin + WITHIN_S
    while not _has_stepped(set(out.glob("runs/*")) - before):
        if launch.poll() is not None or time.monotonic() > until:
            launch.kill()
            raise RuntimeError(f"rml launch {file} made no step")
        time.sleep(0.02)
    took = time.monotonic() - begin
    launch.send_signal(signal.SIGTERM)
    launch.wait()
    return took


def _has_stepped(runs: set[Path]) -> bool:
    beats = [run / "heartbeat.json" for run in runs]
    return any(json.loads(beat.read_text())["step"] > 0 for beat in beats if beat.is_file())


def recipe(cells: Cells, folder: Path) -> Took:
    """The same cells as Ray's documentation would have them tuned, in a Ray started for them."""
    import ray

    begin = time.time()
    runs = [
        (run.run_id, run.config, run.split, run.prepared_folder)
        for run in cells.plan("direct", NUM_CELLS).runs
    ]
    place = folder / f"recipe-{runs[0][0]}"
    (place / "ends").mkdir(parents=True)
    with _as_ray_is_by_default():
        ray.init(address="local", num_cpus=2, log_to_driver=False, dashboard_host=LOOPBACK)
        try:
            _tune(runs, place)
        finally:
            ray.shutdown()
    return _took(begin, (end.stat().st_mtime for end in (place / "ends").iterdir()))


@contextlib.contextmanager
def _as_ray_is_by_default() -> Iterator[None]:
    """Without what earlier launches of this process told Ray; it only prints less, and leaves no
    token in the home folder."""
    ours = {name: os.environ.pop(name) for name in ENVIRONMENT if name in os.environ}
    quiet = {"RAY_AIR_NEW_OUTPUT": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ.update(quiet)
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    try:
        yield
    finally:
        for name in quiet:
            del os.environ[name]
        os.environ.update(ours)


def _tune(runs: list[tuple[str, RunConfig, Split, Path]], folder: Path) -> None:
    """From "Hyperparameter tuning with Ray Tune" in Ray Train's user guides."""
    from ray import train, tune
    from ray.train.torch import TorchTrainer
    from ray.tune.integration.ray_train import TuneReportCallback

    def train_loop_per_worker(config: dict[str, int]) -> None:
        torch.set_num_threads(1)
        run_id, run_config, split, prepared = runs[config["cell"]]
        evaluations = train_bare(run_config, split, prepared, folder / "work" / run_id)
        train.report({"miou": evaluations[0].miou})

    def train_driver_fn(config: dict[str, int]) -> None:
        trainer = TorchTrainer(
            train_loop_per_worker,
            train_loop_config=config,
            scaling_config=train.ScalingConfig(num_workers=1),
            run_config=train.RunConfig(
                name=f"train-trial_id={tune.get_context().get_trial_id()}",
                storage_path=str(folder / "train"),
                callbacks=[TuneReportCallback()],
            ),
        )
        trainer.fit()
        (folder / "ends" / str(config["cell"])).touch()

    tuner = tune.Tuner(
        tune.with_resources(train_driver_fn, {"CPU": 0.01}),
        param_space={"cell": tune.grid_search(list(range(len(runs))))},
        tune_config=tune.TuneConfig(max_concurrent_trials=1),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), verbose=0),
    )
    results = tuner.fit()
    assert not results.errors, results.errors
