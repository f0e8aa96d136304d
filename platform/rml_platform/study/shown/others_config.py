"""Numbers that others made, as files beside a study have them."""

import math

from rml_trainers.configuration import configuration, require


@configuration
class PublishedConfig:
    """A number that a publication printed, in the unit of the table."""

    row: str
    column: str
    mean: float
    std: float | None = None
    source: str = ""
    """Where it stands, for example "paper, Table 1"."""
    protocol: str = ""
    """Evaluation protocol as far as the source tells."""
    note: str = ""
    """What a reader must know about it; becomes a footnote."""

    def __post_init__(self) -> None:
        require(self.row != "", "row", self.row, "a name for the row")
        require(math.isfinite(self.mean), "mean", str(self.mean), "a number")
        good = self.std is None or (math.isfinite(self.std) and self.std >= 0)
        require(good, "std", str(self.std), "zero or more")


@configuration
class PublicationsConfig:
    """A YAML file of published numbers."""

    numbers: tuple[PublishedConfig, ...]


@configuration
class ImportedConfig:
    """The score of one run of another tool, in the unit of the table."""

    run: str
    """What that tool calls the run."""
    row: str
    column: str
    seed: int
    value: float
    protocol: str
    """Id of the evaluation protocol, as rml's tables write it where it is the same."""
    split: str = ""
    """Hash of the split, as `rml plan` shows it; without it runs are never paired with ours."""
    file: str = ""
    """Name of the file that it was read from."""

    def __post_init__(self) -> None:
        for name in ("run", "row", "protocol"):
            require(getattr(self, name) != "", name, "", "not empty")
        require(math.isfinite(self.value), "value", str(self.value), "a number")
