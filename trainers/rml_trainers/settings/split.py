"""Which training images have labels."""

from typing import Literal

from rml_trainers.configuration import configuration, require


@configuration
class SplitConfig:
    """Which training images have labels. Exactly one of `num_labelled` and `fraction` is given."""

    family: Literal["french", "dmt", "stratified", "lists"] = "french"
    """Recipe (French et al.; DMT; `stratified`, drawn so that every class is there when it can be;
    or two text files of names)."""
    num_labelled: int | None = None
    fraction: float | None = None
    """Fraction of the training images that have labels, in (0, 1]; the number is rounded half
    up."""
    seed: int = 12345
    """The family's own seed. French et al. use 12345, 23456, 34567, 45678, 56789; DMT 0, 1, 2."""
    labelled_list: str | None = None
    """Family `lists`: text file of bare names, one a line."""
    unlabelled_list: str | None = None
    """Family `lists`: text file of the unlabelled names; default: every other training image."""
    pool_includes_labelled: bool = False
    """French et al. put the labelled images into the unlabelled pool too; everyone else leaves them
    out."""

    label_noise: float = 0.0
    """Share of the class regions of the labelled masks that bear a wrong class on purpose, in
    [0, 1]: what a method loses by it says how robust it is. Never of what is scored."""

    def __post_init__(self) -> None:
        require(0 <= self.label_noise <= 1, "label_noise", self.label_noise, "a share in [0, 1]")
        if self.family == "lists":
            require(
                self.labelled_list is not None,
                "labelled_list",
                self.labelled_list,
                "a file (family is 'lists')",
            )
            return
        given = (self.num_labelled is not None) + (self.fraction is not None)
        require(
            given == 1,
            "num_labelled / fraction",
            (self.num_labelled, self.fraction),
            "exactly one of the two",
        )
        if self.num_labelled is not None:
            require(
                self.num_labelled >= 1,
                "num_labelled",
                self.num_labelled,
                "at least 1 labelled image",
            )
        if self.fraction is not None:
            require(0 < self.fraction <= 1, "fraction", self.fraction, "a share in (0, 1]")
