"""A study whose images are not at hand: its cells, the runs that they share and what those cost, without run ids.

A run's id covers the content of its images and of its split, so it cannot be known before the images are there. Which
cells are one run can: those of equal configuration.
"""

from dataclasses import dataclass
from dataclasses import replace as with_fields
from typing import Any

from rml_platform.search_space import Cell, Study, expand
from rml_trainers.config import RunConfig, RuntimeConfig, replace


@dataclass(frozen=True, kw_only=True)
class OutlinedRun:
    """One run, whichever cells of its study it fills."""

    config: RunConfig
    """With the default `runtime`, which decides nothing about the result: equal configurations are one run."""
    cells: tuple[Cell, ...]

    def stand_in(self) -> tuple[RunConfig, str, str]:
        """Configuration, split hash and data hash as far as settings tell; two runs that differ never have the same.

        Files of weights need not be there: their names stand for what they hold.
        """
        config, peer = self.config, self.config.peer_network
        without = replace(config, network=_without_file(config.network), peer_network=peer and _without_file(peer))
        return without, repr(config.split), repr((config.data, config.student_networks))


@dataclass(frozen=True, kw_only=True)
class Outline:
    """Every run of a study, each once, in the order of the table."""

    study: Study
    runs: tuple[OutlinedRun, ...]
    missing: str
    """Which data are not there, and what to do about it."""

    @property
    def num_cells(self) -> int:
        return sum(len(run.cells) for run in self.runs)


def make_outline(study: Study, missing: str) -> Outline:
    """Expand a study and join its equal cells. Raises ConfigError that lists every cell that cannot run."""
    cells: dict[RunConfig, list[Cell]] = {}
    for cell in expand(study):
        cells.setdefault(identity_of(cell.config), []).append(cell)
    runs = tuple(OutlinedRun(config=config, cells=tuple(found)) for config, found in cells.items())
    return Outline(study=study, runs=runs, missing=missing)


def identity_of(config: RunConfig) -> RunConfig:
    """A configuration without what does not decide its result."""
    return replace(config, runtime=RuntimeConfig())


def _without_file(network: Any) -> Any:
    """A network's configuration that names no file."""
    if getattr(network, "weights_file", None) is None:
        return network
    return with_fields(network, weights="none", weights_file=None)
