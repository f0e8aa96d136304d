"""What every part of the benchmark is given."""

from dataclasses import dataclass
from pathlib import Path

import torch

from rml_benchmarks.measuring.arithmetic import matrix_product
from rml_benchmarks.measuring.timing import Yardstick
from rml_benchmarks.settings import Setting
from rml_trainers.runtime.device import choose_device, compute_dtype

LADDER = ("supervised", "iml", "rml")
"""Methods whose steps are held against their floors."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """One call of the benchmark."""

    setting: Setting
    folder: Path
    """Scratch folder; prepared images in it are shared by all contenders."""
    rounds: int | None = None
    """Timed rounds that were asked for; None: each part's own number."""
    methods: tuple[str, ...] = LADDER
    """Those of `LADDER` that `step` and `floor` measure."""
    num_runs: int = 10_000
    """Runs of the largest store that `records` reads; a multiple of 100."""
    trace_file: Path | None = None
    """Receives the profiler's trace of `trace`, for chrome://tracing or Perfetto."""
    data_root: Path | None = None
    """Folder that holds real data sets (camvid/, …); without it parts that want them use drawn
    images."""

    @property
    def device(self) -> torch.device:
        return choose_device("auto")

    @property
    def dtype(self) -> torch.dtype:
        """Of our networks' matrix products."""
        return compute_dtype(self.setting.precision, self.device)

    def num_rounds(self, default: int) -> int:
        """Timed rounds of a part."""
        return default if self.rounds is None else self.rounds

    def yardstick(self) -> Yardstick:
        """The device's rate of matrix products in the networks' precision."""
        return matrix_product(self.device, self.dtype)
