"""Students whose forwards go together, and whose gradients workers exchange together."""

import contextlib
import warnings
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rml_trainers.networks.network import SegmentationOutput
from rml_trainers.runtime.distributed import world_size
from rml_trainers.students.forwards import Forward

RunAll = Callable[[Sequence[Forward], Sequence[Tensor]], tuple[SegmentationOutput, ...]]
"""`one_by_one` or `side_by_side`."""


class _Joint(nn.Module):
    """Several networks as one module, each with its own input."""

    def __init__(
        self, networks: Sequence[nn.Module], forwards: Sequence[Forward], run_all: RunAll
    ) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self._forwards = tuple(forwards)
        self._run_all = run_all

    def forward(self, *images: Tensor) -> tuple[SegmentationOutput, ...]:
        return self._run_all(self._forwards, images)


class StudentGroup:
    """One DDP wrapper for its students where there are several workers: gradients are exchanged
    bucket by bucket while the backward pass goes on.

    Every parameter has a gradient in every step, so the wrapper never searches for unused ones.
    `static_graph` would save nothing more, and the graph is not static: some methods use a head
    once more than the warm-up does, and of several micro-batches only the last exchanges.

    Args:
        students: all students of the run.
        numbers: those of the group, from 0.
        forwards: how each student of the run is called.
        run_all: how several forwards are run.
    """

    def __init__(
        self,
        students: nn.ModuleList,
        numbers: tuple[int, ...],
        forwards: Sequence[Forward],
        run_all: RunAll,
    ) -> None:
        self.numbers = numbers
        self._networks = [students[i] for i in numbers]
        self._module: nn.Module = _Joint(self._networks, [forwards[i] for i in numbers], run_all)
        if world_size() > 1:
            with warnings.catch_warnings():
                # torch 2.15 has a new name for `broadcast_buffers`, which torch 2.6 does not know.
                warnings.simplefilter("ignore", FutureWarning)
                self._module = DistributedDataParallel(
                    self._module, broadcast_buffers=False, gradient_as_bucket_view=True
                )

    def forward(self, images: Mapping[int, Tensor]) -> dict[int, SegmentationOutput]:
        """One forward per student of the group in training mode, from and to student numbers."""
        for network in self._networks:
            network.train()
        return dict(
            zip(self.numbers, self._module(*(images[i] for i in self.numbers)), strict=True)
        )

    def without_exchange(self) -> contextlib.AbstractContextManager[object]:
        """While this lasts, gradients add up in each worker alone."""
        if isinstance(self._module, DistributedDataParallel):
            return self._module.no_sync()
        return contextlib.nullcontext()
