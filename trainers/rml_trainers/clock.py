"""Wall time of training steps."""

import time

import torch


class Clock:
    """Wall time per step since the last moment that was not training."""

    def start(self, step: int) -> None:
        self._step, self._time = step, time.perf_counter()

    def seconds_per_step(self, step: int, device: torch.device) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize(device)  # report time only: otherwise we would time the queue, not the work
        return (time.perf_counter() - self._time) / max(1, step - self._step)
