"""Keys of former steps, a ring for every class: what a class is to be told from."""

from collections.abc import Sequence

import torch
from torch import Tensor

from rml_trainers.runtime.distributed import gathered


class MemoryBank:
    """The latest keys of each class, on the device, all of them of length 1.

    Every worker holds the same: keys of all are put in, in the order of ranks. Nothing is read back
    to the host, and no shape depends on what is found.

    Args:
        sizes: most keys of each class; the oldest go first.
        width: channels of a key.
    """

    def __init__(self, sizes: Sequence[int], width: int, device: torch.device) -> None:
        self._sizes = torch.tensor(sizes, device=device)
        self._first = self._sizes.cumsum(0) - self._sizes
        self._nowhere = sum(sizes)
        """Row for what is not kept, behind all others."""
        self._keys = torch.zeros(self._nowhere + 1, width, device=device)
        self._num_added = torch.zeros_like(self._sizes)

    @property
    def num_kept(self) -> Tensor:
        """int64 [K], keys of each class."""
        return torch.minimum(self._num_added, self._sizes)

    def add(self, keys: Tensor, belongs: Tensor, most: int) -> None:
        """Put in keys of this step, each for all classes that it belongs to.

        Args:
            keys: [N, D] of length 1, as many in every worker.
            belongs: bool [N, K].
            most: number of classes that a key can belong to at most.
        """
        keys = gathered(keys.float())
        belongs = gathered(belongs.to(torch.uint8)).bool()
        place = belongs.cumsum(dim=0)
        new = place[-1]
        kept = belongs & (place > new - self._sizes)  # of more than there is room for, the last
        row = self._first + (self._num_added + place - 1) % self._sizes
        rows = torch.where(kept, row, self._nowhere).sort(dim=1).values
        for of_each in rows[:, :most].unbind(dim=1):
            self._keys.index_copy_(0, of_each, keys)
        self._num_added += new

    def draw(self, num: int) -> Tensor:
        """[K, num, D]: keys of each class, drawn with replacement; of no meaning where it has
        none."""
        num_kept = self.num_kept[:, None]
        share = torch.rand(len(num_kept), num, device=num_kept.device)
        place = torch.minimum((share * num_kept).long(), num_kept - 1).clamp(min=0)
        rows = self._first[:, None] + place
        return self._keys.index_select(0, rows.flatten()).view(*rows.shape, -1)

    def tensors(self) -> dict[str, Tensor]:
        """Only the rows that are filled; reads back how many those are."""
        return {"keys": self._keys[self._filled()], "num_added": self._num_added}

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Take back what `tensors` gave."""
        self._num_added = tensors["num_added"].clone()
        self._keys[self._filled()] = tensors["keys"]

    def _filled(self) -> Tensor:
        """Rows with a key in them."""
        rows = torch.arange(self._nowhere, device=self._keys.device)
        ends = self._first + self._sizes
        of_class = torch.searchsorted(ends, rows, right=True)
        return rows[rows - self._first[of_class] < self.num_kept[of_class]]
