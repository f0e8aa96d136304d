"""A study made concrete before any GPU is asked for: data prepared, splits drawn, runs named,
everything checked."""

import hashlib
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rml_platform.planning.feasible import (
    check_batch_statistics,
    check_labels,
    check_scorable,
    check_sync_batchnorm,
    tell_account,
)
from rml_platform.planning.machine import Machine
from rml_platform.planning.run_id import run_id
from rml_platform.study.cells import (
    Cell,
    Repeat,
    Study,
    bad_cells_error,
    expand,
    repeats,
)
from rml_trainers.config import DataConfig, RunConfig
from rml_trainers.data.loading.batch_recipe import check_workers
from rml_trainers.data.prepared.cache import PreparedData
from rml_trainers.data.prepared.prepare import cache_folder, ensure_prepared
from rml_trainers.data.splitting.holdout import hold_out
from rml_trainers.data.splitting.splits import Split, make_split
from rml_trainers.data.splitting.stratified import ClassPixels
from rml_trainers.errors import ConfigError, DeviceError, RmlError
from rml_trainers.scoring.protocols import check_canvas
from rml_trainers.training.assembly import batch_recipe
from rml_trainers.training.warnings import untrained_weights

OnPrepare = Callable[[str, int, int], None]
"""Told the data set's name, images done and images in all, while data are prepared."""


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """One run, whichever cells it fills."""

    run_id: str
    cells: tuple[Cell, ...]
    config: RunConfig
    split: Split
    data_hash: str
    prepared_folder: Path
    class_names: tuple[str, ...] = ()
    """Of the images, in the order of their numbers."""
    repeats: Repeat | None = None
    """What it repeats, with other rounding; then it fills no cell."""
    repeat_of: str = ""
    """Id of the run that it repeats."""

    @property
    def split_hash(self) -> str:
        return self.split.hash


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Every run of a study, each once, in the order of the table."""

    study: Study
    runs: tuple[PlannedRun, ...]
    warnings: tuple[str, ...] = ()
    """Things a person should know before launching, each once."""
    accounts: tuple[str, ...] = ()
    """What each data set holds, a line each."""

    @property
    def cells(self) -> tuple[tuple[Cell, str], ...]:
        """Every cell with the id of the run that fills it."""
        return tuple((cell, run.run_id) for run in self.runs for cell in run.cells)


def make_plan(
    study: Study,
    *,
    data_root: Path | None,
    cache_root: Path,
    machine: Machine | None = None,
    on_prepare: OnPrepare | None = None,
) -> Plan:
    """Resolve a study into runs. `machine` is where they will run; None when that is a cluster yet
    to be asked.

    Raises ConfigError that lists every cell that cannot run, DataError when the data set itself is
    at fault.
    """
    cells = expand(study)
    if machine is not None:
        check_machine(study, machine)
    prepared = _prepare_each(
        {cell.config.data for cell in cells}, data_root, cache_root, on_prepare
    )
    gpus = study.resources.gpus(1 if machine is None else machine.gpus)  # a cluster may have some
    planner = _Planner(prepared, study.resources.workers, gpus, data_root, cache_root)
    by_id: dict[str, PlannedRun] = {}
    bad: list[tuple[str, str]] = []
    for cell in cells:
        try:
            run = planner.run_of(cell)
        except RmlError as error:
            bad.append((str(error), cell.name))
            continue
        earlier = by_id.get(run.run_id)
        cells_of_run = (*earlier.cells, cell) if earlier else (cell,)
        by_id[run.run_id] = replace(run, cells=cells_of_run)
    if bad:
        raise bad_cells_error(study.source, bad, len(cells))
    runs = (*by_id.values(), *_repeats(study, planner))
    told = [tell_account(data) for data in prepared.values()]
    return Plan(
        study=study,
        runs=runs,
        warnings=(*(text for one in told for text in one.warnings), *_warnings(runs, prepared)),
        accounts=tuple(one.summary for one in told),
    )


def _repeats(study: Study, planner: "_Planner") -> list[PlannedRun]:
    """The runs that measure the study's noise floor. Their ids follow from those that they repeat,
    because what they differ in is a part of no id."""
    found = []
    for repeat in repeats(study):
        run = planner.run_of(repeat.of)
        digest = hashlib.sha256(repeat.how.encode()).hexdigest()[:4]
        found.append(
            replace(
                run,
                run_id=f"{run.run_id}-repeat-{digest}",
                cells=(),
                config=repeat.config,
                repeats=repeat,
                repeat_of=run.run_id,
            )
        )
    return found


def plan_run(
    config: RunConfig, *, data_root: Path | None, cache_root: Path, on_prepare: OnPrepare | None
) -> PlannedRun:
    """The plan of a single run outside any study. Raises ConfigError or DataError."""
    prepared = _prepare_each({config.data}, data_root, cache_root, on_prepare)
    cell = Cell(row=config.method.name, column="", seed=config.seed, config=config)
    return _Planner(prepared, 1, 0, data_root, cache_root).run_of(cell)


def check_machine(study: Study, machine: Machine) -> None:
    """Raise ConfigError or DeviceError when one run of the study asks for more than the machine
    has."""
    resources = study.resources
    wanted = resources.workers * resources.cpus_per_worker
    asks = f"{study.source}: resources: one run asks for"
    if wanted > machine.cores:
        workers = f"{resources.workers} workers × {resources.cpus_per_worker:g} cores"
        raise ConfigError(
            f"{asks} {workers} = {wanted:g} cores; this machine has {machine.cores}. Lower "
            "resources.workers or "
            "resources.cpus_per_worker, or give the address of a cluster (--address)"
        )
    gpus = resources.workers * resources.gpus(machine.gpus)
    if gpus > machine.gpus:
        raise DeviceError(
            f"{asks} {gpus:g} GPUs; this machine has {machine.gpus}. Lower resources.workers or "
            "resources.gpus_per_worker, or give the address of a cluster (--address)"
        )


def _prepare_each(
    configs: set[DataConfig], data_root: Path | None, cache_root: Path, on_prepare: OnPrepare | None
) -> dict[DataConfig, PreparedData]:
    prepared = {}
    for config in sorted(configs, key=repr):

        def tell(done: int, total: int, name: str = config.name) -> None:
            if on_prepare is not None:
                on_prepare(name, done, total)

        prepared[config] = ensure_prepared(config, data_root, cache_root, on_progress=tell)
        check_scorable(prepared[config])
    return prepared


class _Planner:
    """Names the runs of cells. What many cells have in common (a split, what is checked about its
    images) is worked out once: a study has thousands of cells and a handful of splits."""

    def __init__(
        self,
        prepared: Mapping[DataConfig, PreparedData],
        workers: int,
        gpus: float,
        data_root: Path | None,
        cache_root: Path,
    ) -> None:
        """`gpus`: that each of the workers of a run is given."""
        self._prepared = prepared
        self._workers = workers
        self._gpus = gpus
        self._data_root = data_root
        self._folders = {config: cache_folder(config, cache_root) for config in prepared}
        self._hashes = {config: data.content_hash for config, data in prepared.items()}
        self._splits: dict[Hashable, Split] = {}
        self._sound_batches = set[Hashable]()

    def run_of(self, cell: Cell) -> PlannedRun:
        """The run that fills a cell. Raises ConfigError or DataError where it cannot be."""
        config = cell.config
        data = self._prepared[config.data]
        split = self._split(config, data)
        check_sync_batchnorm(config, self._workers, self._gpus)
        self._check_batches(config, data)
        data_hash = self._hashes[config.data]
        name = run_id(
            config, split_hash=split.hash, data_hash=data_hash, num_labelled=len(split.labelled)
        )
        return PlannedRun(
            run_id=name,
            cells=(cell,),
            config=config,
            split=split,
            data_hash=data_hash,
            prepared_folder=self._folders[config.data],
            class_names=data.class_names,
        )

    def _check_batches(self, config: RunConfig, data: PreparedData) -> None:
        """Raise ConfigError for batches that workers cannot share or networks cannot take."""
        networks = (config.network, config.peer_network, config.noise, config.sync_batchnorm)
        key = (config.data, config.method, config.batch, config.geometry, networks)
        if key not in self._sound_batches:
            check_workers(batch_recipe(config), self._workers)
            check_batch_statistics(config, data.num_classes, self._workers)
            self._sound_batches.add(key)

    def _split(self, config: RunConfig, data: PreparedData) -> Split:
        """The split of a run whose images can be trained on and scored."""
        key = (config.data, config.split, config.method.name, config.evaluation)
        if key not in self._splits:
            split = checked_split(
                config,
                data.names("train"),
                self._data_root,
                data.names_without_label(),
                data.class_pixels,
            )
            rest, held_out = hold_out(split, config.evaluation.num_holdout)
            check_canvas(config.evaluation, data, held_out)
            check_labels(data, rest, held_out)
            self._splits[key] = split
        return self._splits[key]


def checked_split(
    config: RunConfig,
    names: Sequence[str],
    data_root: Path | None,
    without_label: Collection[str] = (),
    class_pixels: ClassPixels | None = None,
) -> Split:
    """Split of a run over its training names. Raises ConfigError or DataError where the run cannot
    use it."""
    split = make_split(
        names,
        config.split,
        data_root=data_root,
        without_label=without_label,
        class_pixels=class_pixels,
    )
    if config.method.uses_unlabelled and not split.unlabelled:
        raise ConfigError(
            f"split: all {len(split.labelled)} training images are labelled, so "
            f"{config.method.name} has none to learn "
            "from; label fewer, set split.pool_includes_labelled, or leave the cell out with the "
            "row's `columns`"
        )
    hold_out(split, config.evaluation.num_holdout)
    return split


def _warnings(
    runs: tuple[PlannedRun, ...], prepared: Mapping[DataConfig, PreparedData]
) -> tuple[str, ...]:
    """Classes that no labelled image shows, weights that no crop reaches: they cannot be learnt,
    which is worth knowing before days of training."""
    found: dict[str, None] = {}
    splits = {(run.config.data, run.config.split, run.split.hash): run.split for run in runs}
    for (data_config, split_config, _), split in splits.items():
        data = prepared[data_config]
        absent = np.flatnonzero(data.class_pixel_counts(split.labelled) == 0)
        if len(absent):
            names = ", ".join(data.class_names[k] for k in absent)
            what = f"{split_config.family}/{len(split.labelled)}/{split_config.seed}"
            found[f"{data_config.name}, split {what}: no labelled image shows {names}"] = None
    configs = {
        (c.data, c.student_networks, c.geometry, c.evaluation): c
        for c in (run.config for run in runs)
    }
    for config in configs.values():
        for warning in untrained_weights(config, prepared[config.data]):
            found[f"{config.data.name}, {warning}"] = None
    return tuple(found)
