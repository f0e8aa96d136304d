"""Numbers that others made, as files beside a study have them."""

import math

from rml_dashboards.contract.planned import PlannedImport, ReportedNumber
from rml_trainers.configuration import configuration, require


@configuration
class PublishedConfig(ReportedNumber):
    """A number that a publication printed, with its place in the table."""

    row: str
    column: str

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
class ImportedConfig(PlannedImport):
    """The score of one run of another tool, checked as a study file has it."""

    def __post_init__(self) -> None:
        for name in ("run", "row", "protocol"):
            require(getattr(self, name) != "", name, "", "not empty")
        require(math.isfinite(self.value), "value", str(self.value), "a number")
