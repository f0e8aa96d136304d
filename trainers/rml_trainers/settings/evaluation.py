"""What is scored, how an image goes through a network for it, and which score counts."""

from typing import Literal

from rml_trainers.configuration import configuration, require

SCORED_NETWORKS = ("student_1", "student_2", "teacher_1", "teacher_2", "ensemble")
"""Everything of a run that can be scored; `ensemble` is the mean of the mean teachers."""


@configuration
class EvaluationConfig:
    """What is scored, and how. All of it is part of the protocol id, except what is said not to
    change a score."""

    networks: tuple[
        Literal["student_1", "student_2", "teacher_1", "teacher_2", "ensemble"], ...
    ] = ("teacher_1",)
    """Networks to score; the first is the one that tables read. `ensemble` averages the teachers'
    probabilities."""
    every_steps: int = 0
    """Extra evaluations during training, for curves and for `moment` (0: only at the end of each
    stage)."""
    batch: int = 8
    """Images, or windows, per forward; does not change the score."""
    inference: Literal["whole", "padded", "sliding"] = "whole"
    """`whole`: the image as it is; `padded`: zeros around it up to a canvas that all images share;
    `sliding`: windows, their probabilities averaged where they overlap."""
    inference_px: tuple[int, int] | None = None
    """Height and width of the canvas (`padded`) or of the window (`sliding`)."""
    window_stride: float = 2 / 3
    """Step from window to window, as a fraction of the window; the last one lies flush with the
    border."""
    moment: Literal["last", "best_holdout", "best_val"] = "last"
    """Which evaluation the final scores are. `last`: the last step's. `best_holdout`: the one at
    which the first of `networks` scores best on `num_holdout` labelled images that were kept out of
    training. `best_val`: the one at which it scores best on the validation images themselves. That
    selects on the test set, as DMT and most newer code does: only to compare with their numbers."""
    num_holdout: int = 0
    """`best_holdout`: labelled training images that are taken out of training altogether."""
    monitor_pseudo_labels: bool = False
    """Also measure the mIoU of the pseudo labels, and the IoU of each class, against the hidden
    truth of the unlabelled crops (paper, Fig. 4): over all crops between two evaluations where
    there are extra ones (`every_steps`), else between two reports."""
    monitor_coupling: Literal["off", "batch", "train_set"] = "batch"
    """Total variation distance between the soft outputs of two labelling networks (paper, Fig. 2):
    `batch` on the weak views of each step, which costs no forward; `train_set` also over all
    training images at every evaluation. Methods with one labelling network have nothing to
    measure."""

    def __post_init__(self) -> None:
        require(len(self.networks) >= 1, "networks", self.networks, "at least one network to score")
        require(
            len(set(self.networks)) == len(self.networks),
            "networks",
            self.networks,
            "no network twice",
        )
        require(self.every_steps >= 0, "every_steps", self.every_steps, "zero or more")
        require(self.batch >= 1, "batch", self.batch, "at least 1")
        self._check_inference()
        self._check_moment()

    def _check_inference(self) -> None:
        px = self.inference_px
        name = self.inference
        wanted = (
            "none (inference is 'whole')"
            if name == "whole"
            else f"[height, width] for inference {name!r}"
        )
        require((px is None) == (name == "whole"), "inference_px", px, wanted)
        require(px is None or min(px) >= 32, "inference_px", px, "at least 32 pixels each way")
        require(
            0 < self.window_stride <= 1,
            "window_stride",
            self.window_stride,
            "a share of the window in (0, 1]",
        )
        strides = name == "sliding" or self.window_stride == EvaluationConfig.window_stride
        require(
            strides,
            "window_stride",
            self.window_stride,
            f"its default: inference {name!r} has no windows",
        )

    def _check_moment(self) -> None:
        looks = self.moment == "last" or self.every_steps > 0
        require(
            looks,
            "every_steps",
            self.every_steps,
            f"more than 0: moment {self.moment!r} chooses among evaluations",
        )
        chosen = "more than 0" if self.moment == "best_holdout" else "0"
        held_out = (self.num_holdout > 0) == (
            self.moment == "best_holdout"
        ) and self.num_holdout >= 0
        require(held_out, "num_holdout", self.num_holdout, f"{chosen} for moment {self.moment!r}")

    @property
    def canvas_px(self) -> tuple[int, int] | None:
        """Size that all images are padded to; None where they are not."""
        return self.inference_px if self.inference == "padded" else None

    @property
    def stride_px(self) -> tuple[int, int]:
        """Pixels from window to window, down and across (`sliding`)."""
        assert self.inference_px is not None, "checked above"
        height, width = (max(1, round(self.window_stride * size)) for size in self.inference_px)
        return height, width
