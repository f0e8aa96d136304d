"""Maps that are not kept for the backward pass but computed again when a gradient asks for them.

Who makes such a map says so with `remember`. Whoever then wants to keep that very map for its own
gradient, as a convolution keeps its input, is given the way to compute it instead, and need not
know.
"""

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Recipe:
    """How to compute a map again: what is kept in its place."""

    compute: Callable[[], Tensor]


class _Maps:
    """The maps made under one `recomputing_maps`, found by their memory while it is theirs."""

    def __init__(self) -> None:
        self._known = WeakKeyDictionary[torch.UntypedStorage, tuple[Looks, Recipe]]()

    def add(self, made: Tensor, recipe: Recipe) -> None:
        self._known[made.untyped_storage()] = _looks(made), recipe

    def keep(self, tensor: Tensor) -> Tensor | Recipe:
        """The tensor itself, unless it is a known map that nobody has changed since it was made."""
        known = self._known.get(tensor.untyped_storage())
        if known is None:
            return tensor
        looks, recipe = known
        return recipe if _looks(tensor) == looks else tensor


Looks = tuple[int, object, torch.Size, tuple[int, ...]]


def _looks(tensor: Tensor) -> Looks:
    """What two views of the same memory differ in, and how often it has been written to."""
    return tensor._version, tensor.storage_offset(), tensor.shape, tensor.stride()


_maps: ContextVar[_Maps | None] = ContextVar("maps", default=None)


@contextlib.contextmanager
def recomputing_maps() -> Iterator[None]:
    """Forwards under this keep recipes instead of the maps that their layers `remember`."""
    maps = _Maps()
    token = _maps.set(maps)
    try:
        with torch.autograd.graph.saved_tensors_hooks(maps.keep, _again):
            yield
    finally:
        _maps.reset(token)


def _again(kept: Tensor | Recipe) -> Tensor:
    return kept.compute() if isinstance(kept, Recipe) else kept


def maps_are_recomputed() -> bool:
    """Whether a forward now is one under `recomputing_maps` that a gradient will be asked of."""
    return _maps.get() is not None and torch.is_grad_enabled()


def remember(made: Tensor, recipe: Recipe) -> None:
    """Let the recipe be kept instead of this map, which nobody has kept yet."""
    maps = _maps.get()
    assert maps is not None, "asked of `maps_are_recomputed` before"
    maps.add(made, recipe)


def made_from(source: Tensor, make: Callable[[Tensor], Tensor]) -> Tensor:
    """`make(source)`; under `recomputing_maps`, made again from the source where a gradient asks
    for it."""
    made = make(source)
    maps = _maps.get()
    if maps is not None and made.requires_grad:
        maps.add(made, Recipe(partial(_made_again, make, maps.keep(source.detach()))))
    return made


def _made_again(make: Callable[[Tensor], Tensor], source: Tensor | Recipe) -> Tensor:
    return make(_again(source))


def recompute_upsampling(network: nn.Module) -> None:
    """Let every `nn.Upsample` make its map again where a gradient asks for it."""
    for layer in network.modules():
        if type(layer) is nn.Upsample:
            layer.forward = partial(_upsampled, layer)  # type: ignore[method-assign]


def _upsampled(layer: nn.Upsample, maps: Tensor) -> Tensor:
    return made_from(maps, partial(nn.Upsample.forward, layer))
