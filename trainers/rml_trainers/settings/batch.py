"""How many images a step takes, and in how many pieces."""

from rml_trainers.configuration import configuration, require


@configuration
class BatchConfig:
    """Images per step over all workers together (the number of workers never changes the batch)."""

    labelled: int = 4
    unlabelled: int = 4
    accumulate: int = 1
    """Micro-batches that each worker's images are cut into for the students' forwards and
    backwards. Labels, mixing and means over pixels stay those of the whole batch. BatchNorm in
    training mode sees one micro-batch at a time, and dropout draws for each: that changes the
    result a little, so
    this is part of the run id."""

    def __post_init__(self) -> None:
        require(self.labelled >= 1, "labelled", self.labelled, "at least 1")
        require(self.unlabelled >= 1, "unlabelled", self.unlabelled, "at least 1")
        require(self.accumulate >= 1, "accumulate", self.accumulate, "at least 1")
