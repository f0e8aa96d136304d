"""Wall time of training steps."""

import time

import torch


class Clock:
    """Wall time per step since the last moment that was not training."""

    def start(self, step: int) -> None:
        self._step = step
        self._time = time.perf_counter()

    def seconds_per_step(self, step: int, device: torch.device) -> float:
        """Mean since `start`; 0 when no step was made."""
        if step == self._step:
            return 0.0
        if device.type == "cuda":
            torch.cuda.synchronize(
                device
            )  # report time only: otherwise we would time the queue, not the work
        return (time.perf_counter() - self._time) / (step - self._step)
