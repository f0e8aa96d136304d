"""A study whose images are not at hand: its cells, the runs that they share and what those cost,
without run ids.

A run's id covers the content of its images, so it cannot be known before they are there. Which
cells are one run can: those of equal configuration. Splits of published sets (Cityscapes, VOC) can
too: their names ship with the program.
"""

from dataclasses import dataclass
from dataclasses import replace as with_fields
from pathlib import Path

from rml_platform.planning.cost import StageCost
from rml_platform.planning.plan import checked_split
from rml_platform.planning.workload import stage_costs
from rml_platform.study.cells import Cell, Study, bad_cells_error, expand, repeats
from rml_platform.study.study_file import CostConfig
from rml_trainers.config import RunConfig, RuntimeConfig, replace
from rml_trainers.data import DATASETS
from rml_trainers.data.splitting.splits import Split
from rml_trainers.errors import RmlError


@dataclass(frozen=True, kw_only=True)
class RunWithoutImages:
    """One run, whichever cells of its study it fills."""

    config: RunConfig
    """With the default `runtime`, which decides nothing about the result: equal configurations are
    one run."""
    cells: tuple[Cell, ...]
    split: Split | None
    """None where the names of the images are not known without them."""
    is_repeat: bool = False
    """Repeats another one with other rounding, and shares none of its stages."""

    def stages(self, cost: CostConfig | None) -> tuple[StageCost, ...]:
        """The stages of the run and their cost; which of them are shared is told as far as settings
        tell, and two runs that differ never share one by mistake.

        Files of weights need not be there: their names stand for what they hold.
        """
        config = self.config
        peer = self.config.peer_network
        without = replace(
            config,
            network=config.network.without_weights_file(),
            peer_network=peer and peer.without_weights_file(),
        )
        own = stage_costs(
            without,
            cost,
            split_hash=self.split.hash if self.split else repr(config.split),
            data_hash=repr((config.data, config.student_networks)),
        )
        return tuple(with_fields(stage, hash=None) for stage in own) if self.is_repeat else own


@dataclass(frozen=True, kw_only=True)
class PlanWithoutImages:
    """Every run of a study, each once, in the order of the table."""

    study: Study
    runs: tuple[RunWithoutImages, ...]
    missing: str
    """Which data are not there, and what to do about it."""

    @property
    def num_cells(self) -> int:
        return sum(len(run.cells) for run in self.runs)


def plan_without_images(
    study: Study, missing: str, data_root: Path | None = None
) -> PlanWithoutImages:
    """Expand a study, join its equal cells and draw the splits of published sets.

    Raises ConfigError that lists every cell that cannot run.
    """
    runs: dict[RunConfig, RunWithoutImages] = {}
    splits = _PublishedSplits(data_root)
    bad: list[tuple[str, str]] = []
    cells = expand(study)
    for cell in cells:
        config = identity_of(cell.config)
        try:
            run = runs.get(config) or RunWithoutImages(
                config=config, cells=(), split=splits.of(config)
            )
        except RmlError as error:
            bad.append((str(error), cell.name))
        else:
            runs[config] = with_fields(run, cells=(*run.cells, cell))
    if bad:
        raise bad_cells_error(study.source, bad, len(cells))
    again = [
        with_fields(runs[identity_of(one.of.config)], config=one.config, cells=(), is_repeat=True)
        for one in repeats(study)
    ]
    return PlanWithoutImages(study=study, runs=(*runs.values(), *again), missing=missing)


class _PublishedSplits:
    """Splits of published sets, each drawn once however many runs have it."""

    def __init__(self, data_root: Path | None) -> None:
        self._data_root = data_root
        self._known: dict[object, Split | None] = {}

    def of(self, config: RunConfig) -> Split | None:
        """None where it is not known without the images. Raises ConfigError or DataError."""
        key = (config.data, config.split, config.method.name, config.evaluation)
        if key not in self._known:
            self._known[key] = self._draw(config)
        return self._known[key]

    def _draw(self, config: RunConfig) -> Split | None:
        names = DATASETS[config.data.name].published_names(config.data, "train")
        if config.split.family == "stratified":
            return None  # needs the masks
        return None if names is None else checked_split(config, names, self._data_root)


def identity_of(config: RunConfig) -> RunConfig:
    """A configuration without what does not decide its result."""
    return replace(config, runtime=RuntimeConfig())
