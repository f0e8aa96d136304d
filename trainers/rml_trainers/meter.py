"""Sums of what steps report, kept on the device and read only at report time."""

import torch
from torch import Tensor

from rml_trainers.distributed import rank, sum_over_workers
from rml_trainers.errors import NonFiniteLossError
from rml_trainers.methods.method import StepResult
from rml_trainers.metrics import mean_iou


class Meter:
    """Means of scalars and sums of confusion matrices since the last report; part of the checkpoint."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}

    def add(self, result: StepResult) -> None:
        """Add a step; nothing is read back."""
        values = {f"scalar/{name}": value.detach().double() for name, value in result.scalars.items()}
        values |= {f"confusion/{name}": value for name, value in result.confusions.items()}
        values["count"] = torch.ones((), dtype=torch.float64, device=result.loss.device)
        for name, value in values.items():
            if name in self._sums:
                self._sums[name] += value
            else:
                self._sums[name] = value.clone()

    def read(self, step: int, *, with_confusions: bool = True) -> dict[str, float]:
        """Means over steps and workers, then start afresh. Waits for the device.

        Without confusions these go on summing: few crops give a noisy mIoU, and a mean of noisy mIoUs is not the mIoU.

        Raises:
            NonFiniteLossError: the loss was NaN or infinite in at least one of the steps.
        """
        taken = {n: v for n, v in self._sums.items() if with_confusions or not n.startswith("confusion/")}
        for name in sorted(taken):
            sum_over_workers(taken[name])
        count = float(taken["count"])
        means = {n.removeprefix("scalar/"): float(v) / count for n, v in taken.items() if n.startswith("scalar/")}
        for name, confusion in taken.items():
            if name.startswith("confusion/"):
                means[f"{name.removeprefix('confusion/')}_miou"] = mean_iou(confusion.cpu().numpy())
        self._sums = {name: value for name, value in self._sums.items() if name not in taken}
        self._check(means["loss"], step)
        return means

    def check(self, step: int) -> None:
        """Raise NonFiniteLossError if the loss went wrong since the last report. Waits for the device."""
        if "scalar/loss" in self._sums:
            self._check(float(self._sums["scalar/loss"]), step)

    @staticmethod
    def _check(loss: float, step: int) -> None:
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise NonFiniteLossError(
                f"the loss became {loss} in the steps up to {step}; nothing was saved since the last good checkpoint. "
                "Lower optimiser.lr, set optimiser.gradient_clip, or use precision: float32"
            )

    def gather(self) -> None:
        """Bring the sums of all workers to rank 0, whose checkpoint is then the whole state; no read-back."""
        for name in sorted(self._sums):
            joint = sum_over_workers(self._sums[name])
            self._sums[name] = joint if rank() == 0 else torch.zeros_like(joint)

    def tensors(self) -> dict[str, Tensor]:
        """State for exact resume; `gather` comes first."""
        return dict(self._sums)

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        own = torch.Tensor.clone if rank() == 0 else torch.zeros_like
        self._sums = {name: own(tensor) for name, tensor in tensors.items()}
