"""Sums of what steps report, kept on the device and read only at report time."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from rml_trainers.errors import NonFiniteLossError
from rml_trainers.methods.method import StepResult
from rml_trainers.runtime.distributed import rank, sum_over_workers, world_size
from rml_trainers.scoring.metrics import iou_by_class, mean_iou


class Meter:
    """Means of scalars and sums of confusion matrices since the last report; part of the
    checkpoint.

    Args:
        class_names: K names, in the order of the rows of the confusion matrices.
    """

    def __init__(self, class_names: Sequence[str]) -> None:
        self._class_names = tuple(class_names)
        self._names: tuple[str, ...] = ()
        self._scalars: Tensor | None = None
        """float64 [N + 1]: a sum for each name, then the number of steps."""
        self._confusions: dict[str, Tensor] = {}

    def add(self, result: StepResult) -> None:
        """Add a step; nothing is read back. All scalars in one go: on a GPU each operation costs
        its launch."""
        names = tuple(sorted(result.scalars))
        values = torch.stack(
            [*(result.scalars[name].detach() for name in names), result.loss.new_ones(())]
        ).double()
        if self._scalars is None:
            self._names = names
            self._scalars = values
        else:
            assert names == self._names, "a stage reports the same scalars in every step"
            self._scalars += values
        for name, counts in result.confusions.items():
            if name in self._confusions:
                self._confusions[name] += counts
            else:
                self._confusions[name] = counts.clone()

    def read(self, step: int, *, with_confusions: bool = True) -> dict[str, float]:
        """Means over steps and workers, then start afresh. Waits for the device.

        Without confusions these go on summing: few crops give a noisy mIoU, and a mean of noisy
        mIoUs is not the mIoU.

        Returns:
            By name. Of the confusion matrix `pseudo_label_1`: `pseudo_label_1_miou` and, of each
            class, `pseudo_label_1_iou/<class>`, NaN where the class did not occur.
        Raises:
            NonFiniteLossError: the loss was NaN or infinite in at least one of the steps.
        """
        assert self._scalars is not None, "at least one step comes first"
        sums = sum_over_workers(self._scalars).tolist()
        num_steps = round(sums[-1] / world_size())
        means = {name: value / sums[-1] for name, value in zip(self._names, sums, strict=False)}
        self._scalars = None
        if with_confusions:
            for name, confusion in sorted(self._confusions.items()):
                means |= self._scores(name, sum_over_workers(confusion))
            self._confusions = {}
        self._check(means["loss"], step, num_steps)
        return means

    def _scores(self, name: str, confusion: Tensor) -> dict[str, float]:
        counts = confusion.cpu().numpy()
        by_class = zip(self._class_names, iou_by_class(counts).tolist(), strict=True)
        of_classes = {f"{name}_iou/{class_name}": iou for class_name, iou in by_class}
        return {f"{name}_miou": mean_iou(counts), **of_classes}

    def check(self, step: int) -> None:
        """Raise NonFiniteLossError if the loss went wrong since the last report. Waits for the
        device."""
        if self._scalars is not None:
            loss = float(self._scalars[self._names.index("loss")])
            self._check(loss, step, int(self._scalars[-1]))

    @staticmethod
    def _check(loss: float, step: int, num_steps: int) -> None:
        """`num_steps`: how many steps have passed since it was finite."""
        if not math.isfinite(loss):
            error = NonFiniteLossError(
                f"the loss became {loss} in the steps up to {step}; nothing was saved since the "
                "last good checkpoint. "
                "Lower optimiser.lr, set optimiser.gradient_clip, or use precision: float32"
            )
            error.first_step = step - num_steps + 1
            error.last_step = step
            raise error

    def gather(self) -> None:
        """Bring the sums of all workers to rank 0, whose checkpoint is then the whole state; no
        read-back."""
        self.load_tensors(
            {name: sum_over_workers(tensor) for name, tensor in sorted(self.tensors().items())}
        )

    def tensors(self) -> dict[str, Tensor]:
        """State for exact resume; `gather` comes first."""
        kept = {f"confusion/{name}": counts for name, counts in self._confusions.items()}
        if self._scalars is not None:
            *sums, count = (value.clone() for value in self._scalars)
            kept |= {
                f"scalar/{name}": value for name, value in zip(self._names, sums, strict=True)
            } | {"count": count}
        return kept

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        own = {
            name: tensor if rank() == 0 else torch.zeros_like(tensor)
            for name, tensor in tensors.items()
        }
        self._names = tuple(
            sorted(name.removeprefix("scalar/") for name in own if name.startswith("scalar/"))
        )
        self._scalars = None
        if "count" in own:
            self._scalars = torch.stack(
                [*(own[f"scalar/{name}"] for name in self._names), own["count"]]
            )
        self._confusions = {
            n.removeprefix("confusion/"): t.clone()
            for n, t in own.items()
            if n.startswith("confusion/")
        }
